"""What a case may run beside the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from simulacra import data
from simulacra.core import Batch
from simulacra.evaluation.config import compose
from simulacra.formats.base import Format


def format_of(overrides: Sequence[str]) -> Format:
    """Reader and writer of a data set."""
    config = OmegaConf.to_container(compose("evaluate", list(overrides))["data"], resolve=True)
    assert isinstance(config, dict)
    return data.build(config).format


def digest(form: Format, path: Path) -> str:
    """SHA-256 over all events of a file."""
    found = hashlib.sha256()
    for batch in form.iterate(path):
        for value in values(batch):
            found.update(value)
    return found.hexdigest()


def values(batch: Batch) -> list[bytes]:
    """Bytes of everything in a batch."""
    parts = [batch.x, *(v for _, v in sorted(batch.cond.items()))]
    parts += [*(v for _, v in sorted(batch.event.items())), batch.mask, batch.weight]
    return [part.contiguous().numpy().tobytes() for part in parts if part is not None]


def read(arguments: Sequence[str]) -> None:
    """``evaluate data=... reference=FILE``, then the digest of what is read, beside the streams."""
    from simulacra.cli.main import main

    *overrides, path = arguments
    main(["evaluate", *overrides, f"reference={path}"])
    Path("../digest").write_text(digest(format_of(overrides), Path(path)))


def load(arguments: Sequence[str]) -> None:
    """``simulacra.load``, four events, and errors of users as the command line shows them."""
    import simulacra
    from simulacra.cli import errors

    with errors.one_sentence():
        module = simulacra.load(arguments[0])
        print(len(module.sample(4)))


def vanished(arguments: Sequence[str]) -> None:
    """A command line in a folder that is removed before it starts."""
    import shutil

    from simulacra.cli.main import main

    shutil.rmtree(Path.cwd())
    main(list(arguments))


def snippet(arguments: Sequence[str]) -> None:
    """Lines of Python, with the errors that this package raises on purpose shown as one sentence.

    On purpose are :class:`UserError`, and ``ValueError`` and ``TypeError`` that are raised in a file of the
    package itself; what comes up from a library is no answer to a user.
    """
    import sys
    import traceback

    import simulacra
    from simulacra.core import UserError

    home = str(Path(simulacra.__file__).parent)
    try:
        exec(
            arguments[0], {"simulacra": simulacra, "arguments": arguments[1:]}
        )  # the case's own lines
    except (UserError, ValueError, TypeError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        if not isinstance(error, UserError) and not last.filename.startswith(home):
            raise
        print(f"simulacra: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(1) from None
