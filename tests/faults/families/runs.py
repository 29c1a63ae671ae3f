"""Run directories of others: resumed, reproduced and compared after their files were damaged or made evil."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from faults import hurt
from faults.case import Case, Ended, Job, Place, command, ended_well, refused
from faults.families.evil import INTERPOLATIONS, TARGETS, targets

Change = Callable[[Place, Path], None]


def use(way: str, place: Place) -> Job:
    """A command that takes a run directory, here ``run``."""
    jobs: dict[str, Callable[[], Job]] = {
        "resume": lambda: command("train", "resume=run", "trainer.max_epochs=2"),
        "reproduce": lambda: command("reproduce", "run=run", "paths.run=again"),
        "compare": lambda: command("compare", "runs=run", "output=table"),
        "sample": lambda: command("sample", "checkpoint=run/checkpoints/last.ckpt", "n=8", "output=g.hdf5"),
        "benchmark": lambda: command(
            "benchmark", "checkpoint=run/checkpoints/last.ckpt", "batch_sizes=[1]", "repeats=1"
        ),
    }  # fmt: skip
    return jobs[way]()


def run_case(
    way: str, name: str, change: Change, judge: Any = ended_well, family: str = "runs"
) -> Case:
    """A run directory that is changed, then used."""

    def make(place: Place) -> Job:
        run = place.stock.copied_run(place.work / "run")
        change(place, run)
        return use(way, place)

    return Case(f"{way}-{name}", family, f"{way}: {name.replace('_', ' ')}", make, judge)


def text(name: str, contents: str | bytes) -> Change:
    """Something else in the place of a file."""

    def change(place: Place, run: Path) -> None:
        data = contents.encode() if isinstance(contents, str) else contents
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(data)

    return change


def damaged(name: str, damage: hurt.Hurt, seed: int) -> Change:
    """A damaged file."""
    return lambda place, run: damage(run / name, random.Random(seed))


def gone(name: str) -> Change:
    """A file that is not there."""
    return lambda place, run: (run / name).unlink(missing_ok=True)


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
)
YAML: dict[str, str | bytes] = {
    "bomb": BOMB,
    "bomb_of_mappings": "a0: &a0 {x: 1}\n" + "\n".join(
        f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}" for i in range(1, 9)
    ),
    "deep": "a: " + "[" * 20000 + "]" * 20000,
    "deep_blocks": "".join(" " * i + "a:\n" for i in range(3000)),
    "long": "a: " + "x" * 30_000_000,
    "merge_itself": "a: &a {<<: *a, b: 1}",
    "cyclic": "a: &a [*a]",
    "python_object": "a: !!python/object/apply:os.system ['touch FLAG']",
    "python_name": "a: !!python/name:os.system",
    "tag": "!evil {a: 1}",
    "empty": "",
    "null": "null",
    "list": "- 1\n- 2",
    "number": "3",
    "text": "only words",
    "tabs": "a:\n\tb: 1",
    "latin1": "a: Wärme".encode("latin-1"),
    "binary": bytes(range(256)),
    "nulls": bytes(500),
    "two_documents": "a: 1\n---\nb: 2",
    "twice": "seed: 1\nseed: 2",
    "numbers_as_keys": "1: 2\n3: 4",
    "dates_as_keys": "2020-01-01: 4",
    "lists_as_keys": "? [1, 2]\n: 3",
    "directive": "%YAML 9.9\n---\na: 1",
}  # fmt: skip
"""What may lie in the place of config.yaml."""


def configurations() -> Iterator[Case]:
    """Damaged config.yaml."""
    for number, (name, contents) in enumerate(YAML.items()):
        for way in ("resume", ("reproduce", "compare")[number % 2]):
            yield run_case(
                way, f"yaml_{name}", text("config.yaml", contents), refused_unless_compared(way)
            )
    for number in range(6):
        for way in ("resume", "compare"):
            yield run_case(
                way, f"config_flipped_{number}", damaged("config.yaml", hurt.flipped, number)
            )
    for fraction in (0.1, 0.6, 0.95):
        for way in ("resume", "reproduce", "compare"):
            yield run_case(
                way, f"config_cut_{fraction}", damaged("config.yaml", hurt.cut(fraction), 0)
            )
    for way in ("resume", "reproduce", "compare"):
        yield run_case(way, "no_config", gone("config.yaml"), refused_unless_compared(way))


def refused_unless_compared(way: str) -> Any:
    """A comparison may leave out what it cannot read, and say so."""
    return ended_well if way == "compare" else refused


def _field(*keys: str, value: Any) -> Change:
    def change(place: Place, run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        holder = config
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = value(place) if callable(value) else value
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return change


def _less(*keys: str) -> Change:
    def change(place: Place, run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        holder = config
        for key in keys[:-1]:
            holder = holder[key]
        del holder[keys[-1]]
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return change


ODD: dict[str, Change] = {
    **{f"no_{key}": _less(key) for key in ("data", "model", "trainer", "paths", "seed", "evaluation",
    "callbacks", "init")},
    **{f"{key}_is_{n}": _field(key, value=v) for key in ("data", "model", "trainer", "evaluation",
    "paths", "callbacks", "logger")
       for n, v in {"none": None, "text": "x", "list": [1]}.items()},
    "seed_is_text": _field("seed", value="x"),
    "seed_is_negative": _field("seed", value=-1),
    "precision": _field("trainer", "precision", value="8-true"),
    "epochs_is_text": _field("trainer", "max_epochs", value="x"),
    "run_is_a_number": _field("paths", "run", value=3),
    "run_is_none": _field("paths", "run", value=None),
    "run_elsewhere": _field("paths", "run", value=lambda place: str(place.outside / "run")),
    "outputs_elsewhere": _field("paths", "outputs", value=lambda place: str(place.outside)),
    "unknown_callback": _field("callbacks", "x", value={"_target_": "simulacra.callbacks.gone.Gone"}),
    "unknown_logger": _field("logger", "x",
    value={"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": "tb"}),
    "callback_that_is_none": _field("callbacks", "x", value={"_target_": "simulacra.core.Batch"}),
    "limit_is_negative": _field("data", "limit", value=-5),
    "batch_is_zero": _field("data", "batch_size", value=0),
    "file_is_gone": _field("data", "files", value={"train": ["gone.hdf5"], "val": None, "test": None}),
    "another_model": _field("model", "size", value=["tiny"]),
    "data_target": _field("data", "_target_", value="simulacra.data.table.TableData"),
}  # fmt: skip


def fields() -> Iterator[Case]:
    """Odd fields of config.yaml."""
    for number, (name, change) in enumerate(ODD.items()):
        yield run_case(("resume", "reproduce")[number % 2], name, change)


PLACES: dict[str, tuple[str, ...]] = {
    "given": ("model", "given"),
    "model": ("model", "optim"),
    "callback": ("callbacks", "x"),
    "logger": ("logger", "x"),
    "score": ("evaluation", "scores", "x"),
    "data": ("data", "published"),
    "trainer": ("trainer", "strategy"),
    "init": ("init",),
    "name": ("data", "name"),
    "run": ("paths", "run"),
    "tags": ("tags",),
}


def evil() -> Iterator[Case]:
    """Configurations that name what must not be called."""
    places = list(PLACES)
    for number, target in enumerate(TARGETS):
        for step in range(2):
            where = places[(2 * number + step) % len(places)]
            way = ("resume", "reproduce")[(number + step) % 2]
            change = _field(*PLACES[where], value=lambda place, t=target: targets(place)[t])
            yield run_case(way, f"{target}-in-{where}", change, family="evil")
    for number, (name, value) in enumerate(INTERPOLATIONS.items()):
        for step in range(2):
            where = places[(3 * number + step * 5) % len(places)]
            way = ("resume", "reproduce")[(number + step) % 2]
            change = _field(*PLACES[where], value=value)
            yield run_case(way, f"{name}-in-{where}", change, family="evil")


SMALL_FILES: dict[str, str | bytes] = {
    "empty": "", "words": "only words\n", "nulls": bytes(300), "latin1": "é,è\n".encode("latin-1"),
    "binary": bytes(range(256)),
    "open_quote": '"a,b\n1,2\n', "null": "null", "list": "[1, 2]", "number": "7", "deep": "[" * 100_000,
    "huge_number": '{"test/fpd": 1e999, "id": 1e999}', "nan": '{"test/fpd": NaN, "id": NaN}',
    "text_figures": '{"test/fpd": "x", "id": []}',
    "long_number": "9" * 5000,
}  # fmt: skip
CSV: dict[str, str] = {
    "no_step": "epoch,train/loss\n0,1\n",
    "ragged": "step,epoch,train/loss\n1,0,2,3,4\n2\n",
    "words_for_numbers": "step,epoch,train/loss\none,zero,two\n",
    "negative_steps": "step,epoch,train/loss\n-1,0,2\n",
    "twice_a_column": "step,step,train/loss\n1,2,3\n",
    "formula": "step,epoch,=HYPERLINK(\"x\")\n1,0,2\n",
    "fractions": "step,epoch,train/loss\n1.5,0,2\n",
    "nothing_but_a_header": "step,epoch,train/loss\n",
    "infinite": "step,epoch,train/loss\n1,0,inf\n2,0,nan\n",
}  # fmt: skip


def small_files() -> Iterator[Case]:
    """What lies beside the checkpoint."""
    for name, contents in {**SMALL_FILES, **CSV}.items():
        yield run_case("resume", f"metrics_csv_{name}", text("metrics.csv", contents))
    for name, contents in SMALL_FILES.items():
        yield run_case("resume", f"tracker_{name}", text("tracker.json", contents))
        yield run_case("compare", f"metrics_json_{name}", text("metrics.json", contents))
        yield run_case("compare", f"benchmark_json_{name}", text("benchmark.json", contents))
    for name in ("list", "nulls", "number", "deep", "binary"):
        yield run_case(
            "compare", f"overrides_{name}", text(".hydra/overrides.yaml", SMALL_FILES[name])
        )
        yield run_case("compare", f"notes_{name}", text("notes.json", SMALL_FILES[name]))
        yield run_case(
            "resume",
            f"checkpoint_{name}",
            text("checkpoints/last.ckpt", SMALL_FILES[name]),
            refused,
        )
        yield run_case("resume", f"best_{name}", text("checkpoints/best.ckpt", SMALL_FILES[name]))
    for way in ("resume", "reproduce", "compare", "sample"):
        yield run_case(way, "no_checkpoint", gone("checkpoints/last.ckpt"))
        yield run_case(
            way,
            "folder_as_config",
            _folder("config.yaml"),
            refused if way in ("resume", "reproduce") else ended_well,
        )
        yield run_case(way, "link_as_checkpoint", _loop("checkpoints/last.ckpt"))
    for name in (
        "metrics.json",
        "metrics.csv",
        "tracker.json",
        "notes.json",
        "report.html",
        "tables",
        "figures",
    ):
        for way in ("resume", "compare"):
            yield run_case(way, f"folder_as_{name}", _folder(name))
    odd = (
        {"test/fpd": -1.0},
        {"test/fpd": [1]},
        {"=cmd": 1.0},
        {"<script>": 1.0},
        {"test/fpd": True},
        {},
    )
    for number, figures in enumerate(odd):
        yield run_case("compare", f"figures_{number}", text("metrics.json", json.dumps(figures)))
    for number, damage in enumerate((hurt.flipped, hurt.zeroed, hurt.cut(0.5), hurt.scribbled)):
        for way in ("resume", "reproduce"):
            yield run_case(
                way,
                f"checkpoint_damaged_{number}",
                damaged("checkpoints/last.ckpt", damage, number),
            )
    for number, name in enumerate(("=1+1", "+1", "@x", "-x", "a\tb", "<b>", "a'b")):
        yield Case(
            f"compare-name_{number}", "runs", f"a run called {name}", _named(name), _no_formula
        )


def _folder(name: str) -> Change:
    def change(place: Place, run: Path) -> None:
        path = run / name
        if path.is_file():
            path.unlink()
        path.mkdir(exist_ok=True)

    return change


def _loop(name: str) -> Change:
    def change(place: Place, run: Path) -> None:
        (run / name).unlink()
        (run / name).symlink_to(run / name)

    return change


def _named(name: str) -> Callable[[Place], Job]:
    def make(place: Place) -> Job:
        place.stock.copied_run(place.work / "runs" / name)
        return command("compare", "runs=runs/*", "output=table")

    return make


def _no_formula(place: Place, ended: Ended) -> str | None:
    """No cell of the table begins as a formula does, and no page holds a name as markup."""
    import csv

    for path in place.work.glob("table/*.csv"):
        with path.open(newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        wrong = [
            c
            for c in cells
            if c[:1] in ("=", "@", "\t") or (c[:1] in ("+", "-") and not _number(c))
        ]
        if wrong:
            return f"{path.name} holds the formula {wrong[0]!r}"
    pages = "".join(path.read_text() for path in place.work.glob("table/*.html"))
    return "the page holds a name as markup" if "<b>" in pages.split("</style>")[-1] else None


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def cases() -> list[Case]:
    """All of the family."""
    return [*configurations(), *fields(), *evil(), *small_files()]
