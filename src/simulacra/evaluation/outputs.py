"""Where a command may write."""

from __future__ import annotations

import logging
from pathlib import Path

from simulacra.core import UserError
from simulacra.formats.base import Format

log = logging.getLogger(__name__)


def free(path: Path | str, overwrite: bool) -> None:
    """Make sure that nothing of a user's is replaced by what a command writes.

    Raises:
        UserError: If something is there and may not be replaced.
    """
    if not overwrite and Path(path).exists():
        raise UserError(f"{path} is there already: name another output, or set overwrite=true")


def check_output(path: str, form: Format, overwrite: bool) -> None:
    """As :func:`free` for all files that a format makes of a path, whose name should say the format.

    Raises:
        UserError: See :func:`free`.
    """
    for file in form.files(path):
        free(file, overwrite)
    ends = form.suffixes
    if ends and Path(path).suffix.lower() not in ends:
        log.warning(
            "%s will be a file of %s, though its name does not end in %s",
            path,
            type(form).__name__,
            " or ".join(ends),
        )
