"""The page of costs: time and memory of each model, how they grow, and the largest batch.

``python docs/tools/costs.py FOLDER`` runs ``simulacra benchmark`` in FOLDER for whatever is not there yet and
stores the figures in ``docs/assets/costs.json``. Building the site makes the page of them.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from simulacra.evaluation import config as tree
from simulacra.evaluation.fitting import data_for
from simulacra.training.generative import GenerativeModule

STORE = Path(__file__).parents[1] / "assets" / "costs.json"
PAIRS = (
    ("ds2_coarse", "ds2"),
    ("ds1_photons", "ds2"),
    ("jetnet30", "jetnet150"),
    ("ild_10x10 with data.view=cloud", "ild_cloud"),
    ("jetnet30 with data.view=image",),
    ("pxd_small",),
    ("toy_emissions", "toy_shower"),
    ("table",),
    ("events",),
    ("lhco",),
    ("jetclass",),
)
"""Data sets of a kind, of few and of many values: a model is measured on the first ones that it fits."""
WORDS = ("batch_sizes=[1,10,100]", "repeats=3", "seconds=4", "threads=1", "gib=24")
LONGEST = 240
"""Seconds after which a measurement is given up."""
HEADS = (
    "model",
    "data",
    "values per event",
    "ms, batch 1",
    "ms, batch 100",
    "outside",
    "with events",
    "MiB per event",
    "in 24 GiB",
    "with values",
)
HEAD = """---
hide: [navigation]
---

# Costs

What each model costs in its small size on one core, with untrained weights, from conditions to physical
units:

- *values per event*: cells or pixels, for clouds the real points of an event on average;
- *ms*: per event, in batches of 1 and of 100 (or of fewer, in brackets, where 100 take longer than 4 s);
- *outside*: share of the time outside the networks at batch 1;
- *with events*: power of the number of events with which the time of a batch grows, 1 where each costs the
  same, below where part of the cost is that of the call;
- *MiB per event* in memory at once, and the largest batch in 24 GiB; a dash where memory was not seen to
  grow;
- *with values*: power of the number of values with which the time of an event grows, from the first data
  set of a model to its second: 1 is linear, 2 quadratic. The two differ in more than their size, and part
  of the cost does not depend on it.

Times are of one run on one machine (CPU_NAME) beside other work: those of a few calls scatter by a factor of
two, so that the table shows orders of magnitude and laws, and no ranking. Memory of training is not here.
The number of events of a request changes neither time nor memory of an event, since events are made, written
and read in batches. Ranks and jobs divide the cost of generation, see
[large productions](guides/production.md).

`simulacra benchmark` measures any checkpoint like this, `docs/tools/costs.py` wrote the figures of this
page.
"""


def measured_on(model: str) -> tuple[str, ...]:
    """Data sets on which a model is measured."""
    fitting = data_for(model)
    for pair in PAIRS:
        found = tuple(name for name in pair if name in fitting)
        if len(found) == len(pair):
            return found
    return tuple(fitting[:1])


def generators() -> list[str]:
    """Models that generate events."""
    return [
        name
        for name in sorted(tree.choices("model"))
        if issubclass(get_class(tree.target("model", name)), GenerativeModule)
    ]


def measure(model: str, data: str, folder: Path) -> dict[str, Any] | None:
    """What ``simulacra benchmark`` says, None where it gives up."""
    path = folder / model / data.replace(" ", "_") / "benchmark.json"
    if not path.is_file():
        words = [f"model={model}", f"data={data}".replace(" with ", " "), f"output={path.parent}"]
        command = [sys.executable, "-m", "simulacra", "benchmark", *" ".join(words).split(), *WORDS]
        try:
            subprocess.run(command, check=True, timeout=LONGEST)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            print(f"{model} on {data}: {error}")  # noqa: T201
            return None
    return json.loads(path.read_text())


def kept(found: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of it."""
    run = [item for item in found["timings"] if "ms_per_event" in item]
    first, last = run[0], run[-1]
    return {
        "values": last["values_per_event"],
        "ms": {item["batch_size"]: item["ms_per_event"]["median"] for item in run},
        "outside": first["share_outside_networks"],
        "growth": found["growth"],
        "cpu": found["device"]["name"],
    }


def store(folder: Path) -> None:
    """Measure what is missing and store the figures of all."""
    found: dict[str, dict[str, Any]] = {}
    for model in generators():
        for data in measured_on(model):
            result = measure(model, data, folder)
            if result is not None:
                found.setdefault(model, {})[data] = kept(result)
    STORE.write_text(json.dumps(found, indent=1) + "\n")


def power(items: Sequence[dict[str, Any]]) -> str:
    """Power of the number of values with which the time of an event grows, from twice as many on."""
    if len(items) < 2 or items[1]["values"] < 2 * items[0]["values"]:
        return ""
    few, many = items
    batch = max(set(few["ms"]) & set(many["ms"]), key=int)
    times = many["ms"][batch] / few["ms"][batch]
    return f"{math.log(times) / math.log(many['values'] / few['values']):.2f}"


def row(model: str, data: str, item: dict[str, Any], law: str) -> str:
    """A line of the table."""
    grown, last = item["growth"], max(item["ms"], key=int)
    seen = grown is not None and grown["largest"] is not None
    dearest = "" if last == "1" else f"{item['ms'][last]:.3g}"
    cells = (
        f"[`{model}`](models.md#{model})",
        f"`{data.replace(' with data.', '`, `')}`",
        f"{item['values']:,.0f}",
        f"{item['ms']['1']:.3g}",
        dearest if last in {"1", "100"} else f"{dearest} ({last})",
        f"{100 * item['outside']:.0f} %",
        "" if grown is None else f"{grown['power']:.2f}",
        f"{grown['mib']:.2g}" if seen else "–",
        f"{grown['largest']:,}" if seen else "–",
        law,
    )
    return "| " + " | ".join(cells) + " |"


def page() -> str:
    """The page of what is stored."""
    found = json.loads(STORE.read_text())
    cpu = sorted({item["cpu"] for entry in found.values() for item in entry.values()})
    lines = ["| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|"]
    for model, entry in found.items():
        law = power(list(entry.values()))
        for number, (data, item) in enumerate(entry.items(), 1):
            lines.append(row(model, data, item, law if number == len(entry) else ""))
    return HEAD.replace("CPU_NAME", ", ".join(cpu)) + "\n" + "\n".join(lines) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The page among those of the site."""
    files.append(File.generated(config, "costs.md", content=page()))
    return files


if __name__ == "__main__":
    store(Path(sys.argv[1]))
