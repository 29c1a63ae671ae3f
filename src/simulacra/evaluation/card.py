"""Model cards: what a light checkpoint holds, as a page for those who want to use it.

The page is a function of the checkpoint alone, so that it can be made again and compared.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulacra.core import Field, UserError
from simulacra.evaluation.sharing import Shared, shared
from simulacra.tracking.compare import LABELS, label
from simulacra.tracking.page import with_error
from simulacra.training import checkpoint
from simulacra.training.module import Module

_PART = re.compile(r"(train|val|test)/")
_PACKAGES = ("simulacra", "torch", "python", "git_commit")


def card(path: Path, address: str, allow: Sequence[str] = ()) -> str:
    """The card of a light checkpoint, in Markdown.

    Args:
        path: The checkpoint.
        address: What ``simulacra.load`` is given, e.g. ``zoo:NAME``.
        allow: As for :func:`simulacra.training.checkpoint.load`.

    Raises:
        UserError: If it is no light checkpoint.
    """
    contents = checkpoint.read(path)
    told = shared(contents, str(path))
    if told is None:
        raise UserError(f"{path} is no light checkpoint: simulacra publish makes one of a run")
    module = checkpoint.load(path, allow=allow)
    parts = [
        f"# {told.name}",
        _summary(module),
        "## Use",
        _use(module, address),
        "## Conditions and what else belongs to an event",
        _table(("quantity", "unit", "trained range"), _conditions(module)),
        "## Test",
        _test(told),
        "## Training",
        _training(module, told),
        "## Size and licence",
        f"{numbers(module)} in {path.stat().st_size / 1e6:.1f} MB. "
        f"Licence of the weights: {told.licence or 'not stated'}.",
        "## Limits",
        _list(_limits(module)),
    ]
    return "\n\n".join(parts) + "\n"


def numbers(module: Module) -> str:
    """How many parameters a module has."""
    count = sum(parameter.numel() for parameter in module.parameters())
    used = sum(parameter.numel() for parameter in module.used_parameters())
    rest = "" if used == count else f", {used:,} of them used when it generates"
    return f"{count:,} parameters{rest}"


def described(module: Module) -> str:
    """The first paragraph of what a model's file says of it."""
    text = inspect.getdoc(inspect.getmodule(type(module))) or inspect.getdoc(type(module)) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.sub(r"(:\w+:)?`+~?([^`]*)`+", r"`\2`", first)


def ranges(module: Module) -> list[tuple[str, str, str]]:
    """Name, unit and trained range of what a module is given, or generates beside its events."""
    spec, known = module.spec, module.record.trained_range
    fields = [item for item in (*spec.conditions, *spec.event) if item.name in known]
    return [(item.name, item.unit, _range(item, known[item.name])) for item in fields]


def _summary(module: Module) -> str:
    spec, model = module.spec, module.record.config["model"]
    size = f", size `{model['size']}`" if model.get("size") else ""
    unit = f" [{spec.unit}]" if spec.unit else ""
    return (
        f"Model `{model.get('name')}`{size}, data `{spec.name}`: {spec.kind} of shape "
        f"{tuple(spec.shape)}{unit}.\n\n{described(module)}"
    )


def _use(module: Module, address: str) -> str:
    names = ", ".join(f"`{name}`" for name in module.given) or "nothing"
    return (
        "```python\nimport simulacra\n\n"
        f'model = simulacra.load("{address}")\n'
        "batch = model.sample(100, seed=1)  # physical units; conditions as in training\n"
        "```\n\n"
        f"```bash\nsimulacra sample checkpoint={address} n=100 output=events.h5\n```\n\n"
        f"It is given {names}."
    )


def _conditions(module: Module) -> list[tuple[str, str, str]]:
    return [(f"`{name}`", unit, text) for name, unit, text in ranges(module)]


def _range(field: Field, bounds: tuple[float, float]) -> str:
    low, high = bounds
    if field.classes is not None:
        return ", ".join(field.classes[round(low) : round(high) + 1])
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _test(told: Shared) -> str:
    rows = [
        (
            label(key),
            with_error(item.value, item.error),
            "" if item.floor is None else f"{item.floor:.3g}",
        )
        for key in [*LABELS, *sorted(told.figures.keys() - LABELS)]
        if (item := told.figures.get(key)) is not None
    ]
    events = "" if told.events is None else f" on {told.events:,} generated events"
    return (
        f"Test of the training run{events}. The floor is the same figure for true events of an independent "
        "sample in place of the generated ones.\n\n" + _table(("figure", "value", "floor"), rows)
    )


def _training(module: Module, told: Shared) -> str:
    origin = module.record.provenance
    files = [
        f"`{key.rpartition('/')[2]}` ({key.partition('/')[0]}), SHA-256 `{value}`"
        for key, value in origin.items()
        if _PART.match(key)
    ]
    versions = ", ".join(f"{key} {origin[key]}" for key in _PACKAGES if key in origin)
    follows = (
        "" if told.experiment is None else f" It follows `conf/experiment/{told.experiment}.yaml`."
    )
    held = "" if told.origin is None else f", {told.origin}"
    return (
        f"```bash\n{told.command}\n```\n\n{told.steps:,} steps of the optimizer, seed "
        f"{module.record.config.get('seed')}; {versions}.{follows}\n\n"
        f"Events: {origin.get('source', 'not stated')} of `{origin.get('data', module.spec.name)}`{held}.\n\n"
        + _list(files)
    )


def _limits(module: Module) -> list[str]:
    origin, model = module.record.provenance, module.record.config["model"]
    found = ["Outside the trained ranges above it extrapolates; sampling there warns."]
    if origin.get("source") == "embedded sample":
        found.append(
            "It was trained on the sample that comes with the package, a simulation of its own in the format "
            "of the public files: none of its figures is a score on the public files."
        )
    if model.get("size") not in (None, "published"):
        found.append(
            f"Its size is `{model['size']}`, not that of the publication: published figures do not hold "
            "for it."
        )
    return found


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def title(contents: Mapping[str, Any]) -> str:
    """The first headline figures of a light checkpoint, for a line of a list; nothing of another one."""
    told = shared(contents, "a member of the zoo")
    figures = {} if told is None else told.figures
    shown = [
        f"{label(key)} {with_error(figures[key].value, figures[key].error)}"
        for key in LABELS
        if key in figures
    ]
    return ", ".join(shown[:3])
