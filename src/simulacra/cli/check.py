"""``simulacra check FILE``: what a file of events, a checkpoint or an exported generator holds."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from simulacra.core import FormatError, UserError
from simulacra.deploy.export import sidecar
from simulacra.evaluation import build, card, saved
from simulacra.evaluation.fitting import data_for, models_for
from simulacra.evaluation.inspection import Inspection, inspect_file
from simulacra.evaluation.inspection_pages import pages
from simulacra.evaluation.outputs import free
from simulacra.evaluation.recognition import Known, named, recognise
from simulacra.evaluation.schema import Check
from simulacra.formats.census import NOT_FINITE
from simulacra.formats.cleaning import HINT
from simulacra.formats.hdf5_contents import contents
from simulacra.running.signals import interruptible
from simulacra.tasks import folds
from simulacra.tracking.draw import save
from simulacra.training import checkpoint, served, zoo

log = logging.getLogger(__name__)

CHECKPOINTS = (".ckpt", ".pt", *served.SUFFIXES)


def check(cfg: DictConfig) -> dict[str, Any]:
    """Check as configured (``conf/check.yaml``).

    Returns:
        Number of events and of sound ones, or of parameters, or of members of the zoo.

    Raises:
        UserError: If the file is of no known kind, is damaged, or holds events that a reader refuses; these
            are counted first.
    """
    config = saved.resolve(cfg, Check)
    given = config["file"]
    if given is None:
        raise UserError("checking needs a file: simulacra check FILE")
    path = Path(given)
    with interruptible():
        if given == zoo.PREFIX:
            return members()
        if zoo.named(given) is not None or path.suffix.lower() in CHECKPOINTS:
            return trained(given, config["allow"])
        if path.name == sidecar.JSON or (path / sidecar.JSON).is_file():
            return exported(path.parent if path.name == sidecar.JSON else path)
        known = [named(build.build_data(config), given)] if config.get("data") else recognise(given)
        return events(known, given, config)


def events(known: list[Known], path: str, config: dict[str, Any]) -> dict[str, Any]:
    """Tell what a file of events holds, and draw it where that is asked for.

    Raises:
        FormatError: If it holds events that a reader refuses.
    """
    first, output = known[0], config["output"]
    if output is not None:
        free(Path(output), config["overwrite"])
    found = inspect_file(first.form, path, first.info.n, 0 if output is None else config["events"])
    lines = [
        headline(first, path),
        *arrays(first, path),
        *seen(found),
        *others(known[1:]),
        *(fitting(found) if config["models"] else ()),
        *origin(path),
    ]
    print("\n".join(lines))
    if found.changed is not None:
        log.warning("%s: %s", path, found.changed)
    if output is not None:
        drawn = pages(first, found, path)
        save(drawn, Path(output))
        print(f"wrote {output}: {len(drawn)} pages of {len(found.positions):,} events")
    refuse(found, path, config["clean"])
    return {"events": found.n, "sound": found.sound}


def refuse(found: Inspection, path: str, clean: bool = False) -> None:
    """Stop at events that training and evaluation do not take.

    Args:
        found: What a file holds.
        path: The file.
        clean: Whether what public evaluations cut may be there.

    Raises:
        FormatError: If there are some.
    """
    kinds = [kind for kind in found.refused if kind == NOT_FINITE or not clean]
    if kinds:
        told = "; ".join(f"{kind} in events {found.strange[kind]}" for kind in kinds)
        hint = "" if NOT_FINITE in kinds else f"; {HINT}"
        raise FormatError(f"{path} is not what {found.spec.name} promises: {told}{hint}")


def headline(known: Known, path: str) -> str:
    """File, number of events, data set."""
    spec = known.form.spec
    unit = f" [{spec.unit}]" if spec.unit else ""
    kind = type(known.form).__name__
    whose = f"data={known.name}" if known.observables is not None else "no data set of ours"
    return (
        f"{path}: {known.info.n:,} events, {whose} ({kind}): {spec.kind} of shape "
        f"{tuple(spec.shape)}{unit}"
    )


def arrays(known: Known, path: str) -> list[str]:
    """Keys with shapes and types; those that the format does not read are marked."""
    held = contents(path)
    if held is None:
        return [f"  key {key} {shape}" for key, shape in known.info.shapes.items()]
    read = {key.strip("/") for key in known.info.shapes}
    return [
        f"  key {key} {shape} {kind}{'' if key in read else ', not read'}"
        for key, (shape, kind) in held.arrays.items()
    ]


def seen(found: Inspection) -> list[str]:
    """Ranges, numbers of each event, what is strange."""
    lines = [f"  {name}: {text}" for name, text in found.fields.items()]
    lines += [f"  {item.label}: {item}" for item in found.numbers.values()]
    if found.weights is not None:
        low, high, total = found.weights
        lines.append(f"  event weights: {low:.4g} to {high:.4g}, sum {total:.6g}")
    lines += [
        f"  events {'with ' if kind in found.refused else ''}{kind}: {tally}"
        for kind, tally in found.strange.items()
    ]
    return [*lines, *(f"  note: {text}" for text in found.remarks)]


def others(known: Iterable[Known]) -> list[str]:
    """Further data sets that read the file."""
    names = [item.name for item in known]
    return [f"  also read by data={', '.join(names)}"] if names else []


def fitting(found: Inspection) -> list[str]:
    """Models that can be trained on it."""
    return [f"  models that fit: {', '.join(models_for(found.spec)) or 'none'}"]


def origin(path: str) -> list[str]:
    """What the file says of where it comes from."""
    held = contents(path)
    notes = {} if held is None else held.notes
    return [f"  {key}: {text}" for key, text in notes.items()]


def trained(path: str, allow: list[str]) -> dict[str, Any]:
    """Tell what a checkpoint holds."""
    module = folds.load(path, allow=tuple(allow))
    spec, record = module.spec, module.record
    model = record.config.get("model") or {}
    name, size = str(model.get("name")), model.get("size")
    unit = f" [{spec.unit}]" if spec.unit else ""
    lines = [
        f"{path}: {name}{f' ({size})' if size else ''} of {spec.name}, {spec.kind} of shape "
        f"{tuple(spec.shape)}{unit}",
        f"  {card.described(module)}",
        f"  {card.numbers(module)}, given {', '.join(module.given) or 'nothing'}",
        *(f"  trained range of {n}: {t}{f' {u}' if u else ''}" for n, u, t in card.ranges(module)),
        f"  data sets that fit: {', '.join(data_for(name)) or 'not known'}",
        *(f"  {key}: {text}" for key, text in record.provenance.items()),
    ]
    if not served.is_list(path):
        told = card.title(checkpoint.read(path))
        lines += [f"  test: {told}"] if told else []
    print("\n".join(lines))
    return {"parameters": sum(item.numel() for item in module.parameters())}


def exported(folder: Path) -> dict[str, Any]:
    """Tell what an exported generator takes and gives."""
    found = sidecar.read(folder)
    print(f"{folder}: an exported generator\n  " + "\n  ".join(found.lines().splitlines()))
    return {"inputs": len(found.inputs), "outputs": len(found.outputs)}


def members() -> dict[str, Any]:
    """List the zoo."""
    names = zoo.members()
    for name in names:
        path = zoo.located(f"{zoo.PREFIX}{name}")
        told = card.title(checkpoint.read(path))
        print(f"{zoo.PREFIX}{name}  {path.stat().st_size / 1e6:.1f} MB  {told}")
    print(f"{len(names)} models in the zoo")
    return {"members": len(names)}
