"""Checkpoints: damaged bytes, odd contents, and contents that would run something."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from faults import hurt
from faults.calls import digest, format_of
from faults.case import Case, Ended, Job, Place, command, ended_well, refused
from faults.families.evil import INTERPOLATIONS, TARGETS, Payload, pickled, targets
from faults.stock import JUDGED, KINDS, train

Contents = dict[str, Any]
DAMAGES, SPREAD = 20, 6


def sample(path: Path, *overrides: object) -> Job:
    """Sixty-four events, as the stock has them from the whole checkpoint."""
    return command("sample", f"checkpoint={path}", "n=64", "output=g.hdf5", *overrides)


def same_sample(place: Place, ended: Ended) -> str | None:
    """The events are those of the undamaged checkpoint."""
    found = digest(format_of(KINDS["ds1"].overrides), place.work / "g.hdf5")
    return None if found == place.stock.sampled else "other events than of the whole checkpoint"


def use(name: str, path: Path, place: Place) -> Job:
    """A command that takes a checkpoint."""
    reference = place.stock.file("ds1")
    jobs: dict[str, Callable[[], Job]] = {
        "sample": lambda: sample(path),
        "load": lambda: Job((str(path),), call="faults.calls.load"),
        "evaluate": lambda: command(
            "evaluate", f"reference={reference}", f"checkpoint={path}", *JUDGED, "output=judged",
            "scan.points=2", "scan.events=10",
        ),
        "benchmark": lambda: command(
            "benchmark", f"checkpoint={path}", "batch_sizes=[1]", "repeats=1", "output=timed"
        ),
        "init": lambda: train("model=caloinn", f"init={path}"),
        "apply": lambda: command("apply", f"checkpoint={path}", f"input={reference}", "output=a.hdf5"),
    }  # fmt: skip
    place.whole(place.work / "g.hdf5")
    place.whole(place.work / "a.hdf5")
    return jobs[name]()


USES = ("sample", "load", "evaluate", "benchmark", "init", "apply")


def damaged() -> Iterator[Case]:
    """What disks and networks do to a checkpoint."""
    kinds: dict[str, hurt.Hurt] = {}
    for number in range(DAMAGES):
        kinds[f"flipped_{number}"] = hurt.flipped
    for number in range(SPREAD):
        kinds[f"zeroed_{number}"] = hurt.zeroed
        kinds[f"scribbled_{number}"] = hurt.scribbled
    kinds |= {"exchanged": hurt.exchanged, "longer": hurt.longer}
    kinds |= {f"cut_{fraction}": hurt.cut(fraction) for fraction in hurt.FRACTIONS}
    kinds |= {name: hurt.replaced(contents) for name, contents in hurt.FOREIGN.items()}
    for name, damage in kinds.items():
        yield _damage_case(name, damage)
    for way in USES[1:]:
        for name in ("flipped_0", "zeroed_0", "cut_0.5", "html", "one_byte"):
            yield _damage_case(name, kinds[name], way)


def _damage_case(name: str, damage: hurt.Hurt, way: str = "sample") -> Case:
    case = Case(f"{way}-{name}", "checkpoints", f"{name}, {way}", lambda place: Job(()))

    def make(place: Place) -> Job:
        path = place.work / "damaged.ckpt"
        path.write_bytes(place.stock.checkpoint().read_bytes())
        damage(path, random.Random(case.seed))
        return use(way, path, place)

    judge = same_sample if way == "sample" else _unless_unread(name)
    return Case(case.name, case.family, case.injected, make, judge)


def _unless_unread(name: str) -> Callable[[Place, Ended], str | None]:
    """One bit may lie between the entries of the archive, where nothing is."""
    return ended_well if name == "flipped_0" else refused


def _set(*keys: str, value: Any) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        holder: Any = contents
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = value

    return change


def _without(*keys: str) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        holder: Any = contents
        for key in keys[:-1]:
            holder = holder[key]
        del holder[keys[-1]]

    return change


def _weights(
    function: Callable[[torch.Tensor], Any], every: bool = True
) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        state = contents["state_dict"]
        names = [
            name for name, value in state.items() if value.is_floating_point() and value.numel()
        ]
        for name in names if every else names[-1:]:
            state[name] = function(state[name])

    return change


def _one(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(weights: torch.Tensor) -> torch.Tensor:
        changed = weights.clone()
        changed.view(-1)[0] = value
        return changed

    return change


def _deep(contents: Contents) -> None:
    node: Contents = {}
    for _ in range(400):
        node = {"x": node}
    contents["simulacra"]["config"]["model"]["given"] = node


def _cyclic(contents: Contents) -> None:
    contents["simulacra"]["config"]["model"]["given"] = contents["simulacra"]["config"]


S = "simulacra"
REFUSED: dict[str, Callable[[Contents], None]] = {
    **{f"entry_is_{n}": _set(S, value=v) for n, v in {"none": None, "list": [1], "text": "x",
    "number": 3}.items()},
    **{f"state_is_{n}": _set("state_dict", value=v) for n, v in {"none": None, "list": [1],
    "text": "x"}.items()},
    **{f"version_{n}": _set(S, "format_version", value=v)
       for n, v in {"minus_1": -1, "0": 0, "99": 99, "text": "2", "none": None, "half": 2.5}.items()},
    **{f"no_{key}": _without(S, key) for key in ("spec", "config", "format_version")},
    **{f"{key}_is_{n}": _set(S, key, value=v) for key in ("spec", "config", "trained_range", "provenance")
       for n, v in {"none": None, "list": [1, 2], "text": "x"}.items()},
    **{f"spec_{key}_is_{n}": _set(S, "spec", key, value=v) for key, n, v in [
        ("shape", "huge", [10**12]), ("shape", "negative", [-368]), ("shape", "nothing", []), ("shape",
        "text", "many"),
        ("shape", "none", None), ("kind", "unknown", "sphere"), ("kind", "none", None), ("name", "none",
        None),
        ("conditions", "none", None), ("conditions", "text", "x"), ("conditions", "empty", []),
        ("geometry", "none", None), ("geometry", "text", "x"), ("sample_batch", "0", 0),
        ("sample_batch", "negative", -4), ("sample_batch", "text", "many"), ("threshold", "text", "x"),
        ("threshold", "nan", float("nan")), ("cut", "none", None), ("prior", "text", "x"), ("unit",
        "number", 3),
    ]},
    **{f"model_is_{n}": _set(S, "config", "model", value=v) for n, v in {
        "none": None, "list": [1], "text": "x", "empty": {}, "no_target": {"name": "x"},
        "a_metric": {"_target_": "simulacra.metrics.distances.frechet.feature_distances"},
        "a_transform": {"_target_": "simulacra.transforms.showers.ShowerTransform"},
        "unknown": {"_target_": "simulacra.models.gone.Gone"}, "a_number": {"_target_": 7},
    }.items()},
    "unknown_argument": _set(S, "config", "model", "colour", value="red"),
    "given_is_a_number": _set(S, "config", "model", "given", value=7),
    "transform_is_none": _set(S, "config", "model", "transform", value=None),
    "partial": _set(S, "config", "model", "_partial_", value=True),
    "not_recursive": _set(S, "config", "model", "_recursive_", value=False),
    "arguments": _set(S, "config", "model", "_args_", value=[1, 2]),
    "deep": _deep,
    "cyclic": _cyclic,
    "nan_weights": _weights(lambda w: w * float("nan")),
    "one_nan_weight": _weights(_one(float("nan")), every=False),
    "infinite_weight": _weights(_one(float("inf")), every=False),
    "text_for_weights": _weights(lambda w: "x", every=False),
    "shapeless_weights": _weights(lambda w: w.flatten()[:1], every=False),
    "complex_weights": _weights(lambda w: w.to(torch.complex64), every=False),
    "sparse_weights": _weights(lambda w: w.to_sparse(), every=False),
    "missing_weight": lambda c: c["state_dict"].popitem() and None,
    "extra_weight": _set("state_dict", "extra", value=torch.zeros(3)),
    "prefixed_weights": lambda c: c.update(state_dict={f"module.{k}": v for k, v in c["state_dict"].items()}),
    "no_weights": _set("state_dict", value={}),
    "range_inverted": _set(S, "trained_range", "incident_energy", value=[9e9, 1.0]),
    "range_nan": _set(S, "trained_range", "incident_energy", value=[float("nan"), float("nan")]),
    "range_text": _set(S, "trained_range", "incident_energy", value=["a", "b"]),
    "range_of_three": _set(S, "trained_range", "incident_energy", value=[1.0, 2.0, 3.0]),
    "range_of_numbers_for_names": _set(S, "trained_range", value={3: [1.0, 2.0]}),
    "range_outside": _set(S, "trained_range", "incident_energy", value=[1e12, 2e12]),
    "data_is_none": _set(S, "config", "data", value=None),
    "data_is_text": _set(S, "config", "data", value="x"),
    "data_without_target": _without(S, "config", "data", "_target_"),
}  # fmt: skip
"""Contents that are wrong."""
TAKEN: dict[str, Callable[[Contents], None]] = {
    "as_it_is": lambda c: None,
    "extra_entry": _set("notes", value="x"),
    "extra_entry_of_ours": _set(S, "notes", value={"a": [1, 2]}),
    "double_weights": _weights(lambda w: w.double()),
    "optimizer_gone": lambda c: c.pop("optimizer_states") and None,
}
"""Contents from which the same events come."""


def change_case(name: str, change: Callable[[Contents], None], way: str, judge: Any) -> Case:
    """A checkpoint whose contents are changed."""

    def make(place: Place) -> Job:
        path = place.work / "changed.ckpt"
        contents = torch.load(place.stock.checkpoint(), weights_only=True)
        change(contents)
        torch.save(contents, path)
        return use(way, path, place)

    accept = ("right",) if name in TAKEN else ("clear", "right")
    return Case(f"{way}-{name}", "checkpoints", name.replace("_", " "), make, judge, accept)


def contents() -> Iterator[Case]:
    """Odd contents of a whole archive."""
    for name, change in {**REFUSED, **TAKEN}.items():
        yield change_case(name, change, "sample", same_sample)
    for number, (name, change) in enumerate(REFUSED.items()):
        yield change_case(name, change, USES[1 + number % (len(USES) - 1)], ended_well)


PLACES: dict[str, tuple[str, ...]] = {
    "embedded": (S, "config", "data", "published", "embedded"),
    "data": (S, "config", "data"),
    "spec_of_data": (S, "config", "data", "format", "spec"),
    "given": (S, "config", "model", "given"),
    "transform": (S, "config", "model", "transform"),
    "optimizer": (S, "config", "model", "optim"),
    "model": (S, "config", "model"),
    "name": (S, "config", "model", "name"),
    "conditions": (S, "spec", "conditions"),
    "provenance": (S, "provenance", "data"),
    "weights": ("state_dict", "extra"),
}
"""Where a node may stand."""


def evil() -> Iterator[Case]:
    """Contents that name what must not be called."""
    places = list(PLACES)
    for number, target in enumerate(TARGETS):
        for step in range(3):
            where = ("embedded", "given", places[number % len(places)])[step]
            if step == 2 and where in ("embedded", "given"):
                where = "transform"
            yield _evil_case(
                f"{target}-in-{where}", where, lambda place, t=target: targets(place)[t]
            )
    for number, (name, text) in enumerate(INTERPOLATIONS.items()):
        for where in ("embedded", "given", "name", places[number % len(places)] + "_too"):
            yield _evil_case(f"{name}-in-{where}", where.removesuffix("_too"), text)


def _evil_case(name: str, where: str, node: Callable[[Place], Any]) -> Case:
    ways = ("sample", "evaluate", "init", "load")

    def make(place: Place) -> Job:
        path = place.work / "evil.ckpt"
        contents = torch.load(place.stock.checkpoint(), weights_only=True)
        _set(*PLACES[where], value=node(place))(contents)
        torch.save(contents, path)
        return use(ways[len(name) % len(ways)], path, place)

    return Case(name, "evil", f"a checkpoint with {name.replace('-', ' ')}", make)


def pickles() -> Iterator[Case]:
    """Archives and pickles with objects of other classes."""
    for way in USES:

        def make(place: Place, way: str = way) -> Job:
            return use(way, pickled(place), place)

        yield Case(f"pickle-{way}", "evil", "a pickle that touches a file", make, refused)

        def archived(place: Place, way: str = way) -> Job:
            path = place.work / "evil.ckpt"
            contents = torch.load(place.stock.checkpoint(), weights_only=True)
            contents["simulacra"]["notes"] = Payload(place.flag)
            torch.save(contents, path)
            return use(way, path, place)

        yield Case(
            f"archive-{way}", "evil", "an object of another class in the archive", archived, refused
        )


def cases() -> list[Case]:
    """All of the family."""
    return [*damaged(), *contents(), *evil(), *pickles()]
