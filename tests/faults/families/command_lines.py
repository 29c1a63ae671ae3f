"""Command lines: odd values for every key, odd paths, keys and commands that do not exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from faults.calls import digest, format_of
from faults.case import Case, Ended, Job, Judge, Place, command, ended_well, refused
from faults.stock import JUDGED, KINDS, train

NUMBERS = (
    "text", "1.5", "1e3", "-1", "0", "null", "true", "[3]", "{a: 1}", "''", "1e400",
    "99999999999999999999999", "nan",
    "inf", "0x10", "1_000", "' 5 '",
)  # fmt: skip
"""Where a whole number is meant."""
WORDS = (
    "3",
    "null",
    "[a]",
    "{a: 1}",
    "''",
    "true",
    "'a b'",
    "'x\ty'",
    "é",
    "a/../b",
    "'${oc.env:HOME}'",
    "???",
)
"""Where a word is meant."""
PIPE = "pipe"
PATHS = (
    "''", "null", "[a,b]", "{a: 1}", "true", "3", ".", "..", "~", "~nobody/x", PIPE,
    "'a b'", "a=b", "(1)", "[x", "x]", "{", "$HOME", "${x}", "é",
    "\\", "a\\=b", "-", "--", "'", '"', ",", "a,b", "x" * 300,
    "/".join(["d"] * 1500), "a\nb", "\x01", "*", "gone/x.hdf5", "#x", "%2e%2e", "file:///x", "http://localhost/x",
)  # fmt: skip
"""Where a path is meant."""


def _sample(place: Place, **changes: object) -> Job:
    chosen = {"checkpoint": place.stock.checkpoint(), "n": 8, "output": "g.hdf5", **changes}
    place.whole(place.work / "g.hdf5")
    return command("sample", *(f"{key}={value}" for key, value in chosen.items()))


def _evaluate(place: Place, **changes: object) -> Job:
    reference = place.stock.file("ds1")
    chosen = {"reference": reference, "generated": reference, "output": "judged", **changes}
    return command("evaluate", *JUDGED, *(f"{key}={value}" for key, value in chosen.items()))


def _train(place: Place, **changes: object) -> Job:
    return train("trainer.max_steps=4", *(f"{key}={value}" for key, value in changes.items()))


def _benchmark(place: Place, **changes: object) -> Job:
    chosen = {
        "checkpoint": place.stock.checkpoint(), "batch_sizes": "[1]", "repeats": 1, "output": "timed",
        **changes
    }  # fmt: skip
    return command("benchmark", *(f"{key}={value}" for key, value in chosen.items()))


def _apply(place: Place, **changes: object) -> Job:
    chosen = {
        "checkpoint": place.stock.checkpoint("dctrgan"), "input": place.stock.file("ds1"),
        "output": "a.hdf5", **changes
    }  # fmt: skip
    place.whole(place.work / "a.hdf5")
    return command("apply", *(f"{key}={value}" for key, value in chosen.items()))


def _compare(place: Place, **changes: object) -> Job:
    chosen = {"runs": place.stock.run(), "output": "table", **changes}
    return command("compare", *(f"{key}={value}" for key, value in chosen.items()))


def _reproduce(place: Place, **changes: object) -> Job:
    chosen = {"run": place.stock.run(), "paths.run": "again", **changes}
    return command("reproduce", *(f"{key}={value}" for key, value in chosen.items()))


Start = Callable[..., Job]
COUNTS: dict[str, tuple[Start, tuple[str, ...]]] = {
    "sample": (_sample, ("n", "batch_size", "seed", "posterior_draws")),
    "evaluate": (
        _evaluate,
        ("seed", "evaluation.events", "evaluation.replicas", "evaluation.trainings"),
    ),
    "train": (
        _train,
        (
            "seed", "data.limit", "data.batch_size", "data.eval_batch_size", "data.workers",
            "trainer.max_epochs",
            "trainer.accumulate_grad_batches", "trainer.check_val_every_n_epoch", "trainer.threads",
            "trainer.log_every_n_steps", "model.blocks", "evaluation.events", "evaluation.replicas",
        ),
    ),
    "benchmark": (_benchmark, ("repeats", "threads", "batch_sizes", "seed", "events")),
    "apply": (_apply, ("batch_size", "seed")),
}  # fmt: skip
"""Keys of whole numbers."""
PER_KEY = {"sample": 17, "evaluate": 6, "train": 6, "benchmark": 6, "apply": 6}
"""Values per key, in turn; of the one command that costs least, all."""
TEXTS: dict[str, tuple[Start, tuple[str, ...]]] = {
    "sample": (_sample, ("device", "solver", "allow", "shard")),
    "evaluate": (_evaluate, ("data", "evaluation", "evaluation.level", "device")),
    "train": (
        _train,
        (
            "model", "data", "data.view", "trainer", "trainer.precision", "trainer.accelerator", "data.cache",
            "model.optim.optimizer.lr", "trainer.gradient_clip_val", "data.validation", "model.transform",
            "callbacks", "logger",
            "experiment", "sweep", "tags", "objective", "trainer.limit_train_batches", "trainer.strategy",
        ),
    ),
    "benchmark": (_benchmark, ("device", "model", "seconds")),
    "compare": (_compare, ("published",)),
    "reproduce": (_reproduce, ("overrides", "allow")),
}  # fmt: skip
PLACES: dict[str, tuple[Start, tuple[str, ...]]] = {
    "sample": (_sample, ("checkpoint", "output", "conditions")),
    "evaluate": (_evaluate, ("reference", "generated", "output", "truth", "training", "checkpoint",
    "ensemble")),
    "train": (_train, ("data.root", "data.files.train", "init", "resume", "paths.run", "paths.outputs")),
    "benchmark": (_benchmark, ("checkpoint", "output")),
    "apply": (_apply, ("checkpoint", "input", "output")),
    "compare": (_compare, ("runs", "output")),
    "reproduce": (_reproduce, ("run",)),
}  # fmt: skip
PLAIN = (
    "a b.hdf5", "epoch=3-step=9.hdf5", "(1).hdf5", "d's.hdf5", "é.hdf5", "a#b.hdf5", "a:b.hdf5", "&.hdf5",
    "$x.hdf5",
    "a-b+c.hdf5", "a@b%c.hdf5", "x~y.hdf5",
)  # fmt: skip
"""Names of files that are taken as they are."""
AMBIGUOUS = (
    "a,b.hdf5",
    "[x].hdf5",
    "{y}.hdf5",
    "${x}.hdf5",
    'q"q.hdf5',
    "back\\slash.hdf5",
    "null",
    "1e3",
    "true",
)
"""Names that may mean something else on a command line: taken or refused, never misread."""
MUST_BE_REFUSED = {
    "n": ("text", "1.5", "-1", "0", "true", "[3]", "{a: 1}", "1e400", "nan", "inf"),
    "seed": ("text", "1.5", "true", "[3]", "nan"),
    "batch_size": ("text", "1.5", "-1", "0", "true", "nan"),
    "evaluation.events": ("-1", "text", "1.5", "true"),
    "evaluation.replicas": ("-1", "text", "1.5"),
    "model.blocks": ("-1", "text", "1.5", "true"),
    "data.limit": ("-1", "text", "1.5", "true"),
}
"""Values of which no sense can be made."""


def _values(start: Start, where: str, key: str, values: tuple[str, ...]) -> Iterator[Case]:
    for value in values:
        judge: Judge = refused if value in MUST_BE_REFUSED.get(key, ()) else _pipe_is_there

        def make(place: Place, value: str = value) -> Job:
            os.mkfifo(place.work / PIPE)
            return start(place, **{key: value})

        name = f"{where}-{key}-{_short(value)}"
        yield Case(name, "commands", f"{where} {key}={value[:40]}", make, judge)


def _pipe_is_there(place: Place, ended: Ended) -> str | None:
    """What is no file, a device, say, is never replaced by one."""
    return None if (place.work / PIPE).is_fifo() else "a pipe was replaced by a file"


def _short(value: str) -> str:
    return "".join(c if c.isalnum() else f"x{ord(c):x}" for c in value[:24]) + f".{len(value)}"


def _some(values: tuple[str, ...], number: int, count: int) -> tuple[str, ...]:
    """``count`` of the values, others for each number."""
    return tuple(values[(number * count + i) % len(values)] for i in range(min(count, len(values))))


def odd_values() -> Iterator[Case]:
    """Every key with some odd values."""
    for where, (start, keys) in COUNTS.items():
        for number, key in enumerate(keys):
            yield from _values(start, where, key, _some(NUMBERS, number, PER_KEY[where]))
    for where, (start, keys) in TEXTS.items():
        for number, key in enumerate(keys):
            yield from _values(start, where, key, _some(WORDS, number, 4))
    for where, (start, keys) in PLACES.items():
        for number, key in enumerate(keys):
            count = len(PATHS) if (where, key) == ("sample", "output") else 7
            yield from _values(start, where, key, _some(PATHS, number, count))


def right_values() -> Iterator[Case]:
    """Other spellings of right values, which are taken."""
    counts = {
        "n": ("64.0", "64e0", "6.4e1"),
        "batch_size": ("4", "4e0", "1e2"),
        "seed": ("0", "0.0", "0e0"),
    }
    for key, values in counts.items():
        for value in values:
            yield Case(
                f"taken-{key}-{value}",
                "commands",
                f"sample {key}={value}",
                lambda place, key=key, value=value: _sample(place, **{"n": 64, key: value}),
                _sixty_four if key == "batch_size" else _as_stock,
                ("right",),
            )
    for name in (*PLAIN, *AMBIGUOUS):
        accept = ("right",) if name in PLAIN else ("clear", "right")
        for key in ("output", "checkpoint", "reference", "data.files.train"):
            yield Case(
                f"path-{key}-{_short(name)}", "commands", f"{key}={name}",
                _path(key, name), _path_taken(key, name), accept,
            )  # fmt: skip
    for tilde in ("~/t.hdf5", "~/a b/t.hdf5"):
        yield Case(
            f"path-home-{_short(tilde)}",
            "commands",
            f"reference={tilde}",
            _tilde(tilde),
            ended_well,
            ("right",),
        )
    yield Case("path-list", "commands", "a single file for a list", _single, ended_well, ("right",))


def _as_stock(place: Place, ended: Ended) -> str | None:
    found = digest(format_of(KINDS["ds1"].overrides), place.work / "g.hdf5")
    return None if found == place.stock.sampled else "other events than with the usual spelling"


def _sixty_four(place: Place, ended: Ended) -> str | None:
    return None if "64 events" in ended.stdout else "other events than asked for"


def _path(key: str, name: str) -> Callable[[Place], Job]:
    def make(place: Place) -> Job:
        if key == "output":
            return _sample(place, output=name)
        folder = place.work / "d"
        folder.mkdir()
        source = place.stock.checkpoint() if key == "checkpoint" else place.stock.file("ds1")
        (folder / name).write_bytes(source.read_bytes())
        if key == "checkpoint":
            return _sample(place, n=64, checkpoint=f"d/{name}")
        if key == "reference":
            return command("evaluate", f"reference=d/{name}")
        return train("model=caloinn", f"data.files.train=[d/{name}]")

    return make


def _path_taken(key: str, name: str) -> Judge:
    def judged(place: Place, ended: Ended) -> str | None:
        if key == "output" and not (place.work / name).exists():
            return f"wrote {sorted(path.name for path in place.work.iterdir())}, not {name!r}"
        return _sixty_four(place, ended) if key == "checkpoint" else None

    return judged


def _tilde(name: str) -> Callable[[Place], Job]:
    def make(place: Place) -> Job:
        target = place.home / name[2:]
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(place.stock.file("ds1").read_bytes())
        return command("evaluate", f"reference={name}")

    return make


def _single(place: Place) -> Job:
    return train("model=caloinn", f"data.files.train={place.stock.file('ds1')}")


LINES: tuple[tuple[str, ...], ...] = (
    ("trian",), ("sample",), ("evaluate",), ("apply",), ("compare",), ("benchmark",), ("reproduce",),
    ("--versio",), ("-x",), ("",),
    ("sample", "colour=red"), ("sample", "+colour=red"), ("sample", "++n=8"), ("sample", "~n"), ("sample",
    "n"), ("sample", "="),
    ("sample", "=3"), ("sample", "n="), ("sample", "n=3", "n=4"), ("sample", "--config-dir", "gone"),
    ("sample", "--config-name", "gone"),
    ("sample", "--multirun"), ("sample", "-m", "n=3,4"), ("sample", "n=3,4"), ("sample", "n=range(3)"),
    ("sample", "n=choice(3,4)"),
    ("sample", "-c", "job"), ("sample", "--cfg", "nothing"), ("sample", "--info", "nothing"), ("sample",
    "--package", "x"),
    ("train", "model=gone"), ("train", "data=gone"), ("train", "trainer=gone"), ("train", "debug=gone"),
    ("train", "experiment=gone"),
    ("train", "model/size=gone"), ("train", "model=caloinn", "data=jetnet30"), ("train", "model=epic_fm"),
    ("train", "model=caloinn,"),
    ("train", "trainer.max_epoch=3"), ("train", "model.optim.optimizer.rate=3"), ("train",
    "+model.colour=red"), ("train", "resume=gone"),
    ("train", "resume="), ("train", "resume=null", "model=gone"), ("train", "hydra.run.dir=/proc/x"),
    ("train", "hydra.job.chdir=true", "model=gone"),
    ("train", "hydra/launcher=gone"), ("train", "hydra/sweeper=gone"), ("train", "-m",
    "hydra/launcher=gone"), ("train", "sweeps=gone"),
    ("train", "--config-path", "x"), ("train", "data.view=gone"), ("train", "data=pair",
    "data/first=gone"), ("train", "allow=x", "model=gone"),
    ("evaluate", "data=gone", "reference=x"), ("evaluate", "evaluation=gone", "reference=x"), ("evaluate",
    "reference=[a,b]"),
    ("evaluate", "reference=x", "generated=y"), ("evaluate", "reference=x", "checkpoint=y"), ("evaluate",
    "reference=x", "ensemble=[y]"),
    ("compare", "runs=[]"), ("compare", "runs=*"), ("compare", "runs=null", "published=ds2"), ("compare",
    "runs=x", "published=gone"),
    ("benchmark", "model=gone", "data=ds2"), ("benchmark", "model=caloinn"), ("benchmark", "data=ds2"),
    ("reproduce", "run=gone"),
    ("reproduce", "run=null"), ("reproduce", "run=."), ("apply", "checkpoint=x", "input=x", "output=x"),
    ("train", "trainer.limit_train_batches=0", "trainer.limit_val_batches=0", "data.limit=64",
    "model/size=tiny"),
)  # fmt: skip
"""Whole command lines that ask for what is not there."""


def lines() -> Iterator[Case]:
    """Each is refused, or prints what it was asked for."""
    for number, line in enumerate(LINES):
        yield Case(
            f"line-{number}",
            "commands",
            "simulacra " + " ".join(line),
            lambda place, line=line: command(*line),
        )


def cases() -> list[Case]:
    """All of the family."""
    return [*odd_values(), *right_values(), *lines()]
