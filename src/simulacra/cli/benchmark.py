"""``simulacra benchmark``: time per event, parameters and memory of a generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from simulacra.cli.machine import whole_folder
from simulacra.core import UserError
from simulacra.core.units import factor
from simulacra.evaluation import build, saved
from simulacra.evaluation.checkpoints import generator_of, load, quickened
from simulacra.evaluation.facts import count, processor
from simulacra.evaluation.growth import Growth, growth
from simulacra.evaluation.memory import memory_of
from simulacra.evaluation.publish import write_json
from simulacra.evaluation.schema import Benchmark
from simulacra.evaluation.timing import GIB, Protocol, Stopwatch, Timing
from simulacra.formats.base import TIME
from simulacra.running.quiet import expected_warnings
from simulacra.running.signals import interruptible
from simulacra.running.train import prepare
from simulacra.tracking.geant4 import Geant4Time, geant4_time
from simulacra.tracking.identity import identity
from simulacra.training.generative import GenerativeModule
from simulacra.training.zoo import located

MEAN_OF = 10_000
"""Conditions over which the incident energy is averaged."""
COLUMNS = (
    "batch",
    "repeats",
    "ms/event",
    "quartiles",
    "min, max",
    "peak GiB",
    "outside",
    "x Geant4",
)


def benchmark(cfg: DictConfig) -> dict[str, Any]:
    """Measure as configured (``conf/benchmark.yaml``).

    Returns:
        Median time per event [ms] by batch size, ``ms/<batch size>``, and the file that was written.

    Raises:
        UserError: For a request that names no generator, or a device that is not there.
    """
    config = saved.resolve(cfg, Benchmark)
    protocol = asked(config)
    device = torch.device(config["device"])
    with expected_warnings(), interruptible(), threads(config["threads"]):
        module = quickened(measured(config).to(device), config)
        stopwatch = Stopwatch(module, protocol, memory_of(device))
        timings = stopwatch(config["batch_sizes"])
        if not (config["compile"] or config["graph"]):  # there networks are no calls of Python
            timings = [stopwatch.looked_at(item) for item in timings]
        geant4 = geant4_of(module, stopwatch)
        grown = growth(stopwatch.trials, config["gib"])
        found = record(module, config, protocol, timings, geant4, grown)
    name = "benchmark.json" if device.type == "cpu" else f"benchmark_{device.type}.json"
    path = place(config) / name
    with whole_folder(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, found)
    show(found, timings)
    if grown is not None:
        print(grown)
    best = min((item.quantiles[2] for item in timings if item.ms), default=None)
    closing = "no batch was run" if best is None else f"{best:.3g} ms per event at best"
    print(f"wrote {path}: {closing}{against(found['geant4'], best)}")
    return {
        "output": str(path),
        **{f"ms/{item.batch_size}": item.quantiles[2] for item in timings if item.ms},
    }


def asked(config: dict[str, Any]) -> Protocol:
    """The protocol, and whether the request makes sense."""
    untrained = "name" in (config.get("model") or {})  # a size alone is no model
    if (config["checkpoint"] is None) != untrained:
        raise UserError("benchmark needs either checkpoint=FILE or model=NAME with data=NAME")
    if untrained:
        if config.get("data") is None:
            raise UserError("an untrained model needs data=NAME, which says what it generates")
        if config.get("solver") is not None:
            raise UserError("solver= changes a checkpoint: set model.solver for an untrained model")
    if not config["batch_sizes"]:
        raise UserError("batch_sizes must name one size at least")
    return Protocol(config["repeats"], config["events"], config["seconds"], config["seed"])


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Torch's threads for the duration of a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measured(config: dict[str, Any]) -> GenerativeModule:
    """The generator of the checkpoint, or one with untrained weights whose transform knows the data."""
    if config["checkpoint"] is not None:
        return load(config)
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    datamodule = build.build_data(config)
    found = build.build_model(config, datamodule.spec)
    module = generator_of(found, f"model={config['model']['name']}")
    prepare(module, datamodule, {**config, "init": {"checkpoint": None}}, fresh=True)
    return module.eval()


def geant4_of(module: GenerativeModule, stopwatch: Stopwatch) -> Geant4Time | None:
    """Geant4's time at the mean incident energy of the conditions, where both are known."""
    field = module.spec.roles.get("energy")
    if field is None or field.name not in module.given:
        return None
    asked = stopwatch.conditions(MEAN_OF).values[field.name]
    energy = asked.mean().item() * factor(field.unit, "GeV")
    told = module.record.provenance
    if TIME in told:
        ms, error = (float(told[name]) * energy for name in (TIME, f"{TIME}_error"))
        source = "the production of the training events"
        return Geant4Time(ms, error, energy, module.spec.name, source, False)
    return geant4_time(module.spec.name, energy)


def record(
    module: GenerativeModule,
    config: dict[str, Any],
    protocol: Protocol,
    timings: Sequence[Timing],
    geant4: Geant4Time | None,
    grown: Growth | None,
) -> dict[str, Any]:
    """What ``benchmark.json`` holds, plain types only."""
    model = module.record.config.get("model", {})
    device = module.device
    return {
        "model": model.get("name", type(module).__name__),
        "size": model.get("size"),
        "data": module.spec.name,
        "weights": "untrained" if config["checkpoint"] is None else str(config["checkpoint"]),
        "solver": config.get("solver") or model.get("solver"),
        "parameters": {
            "training": count(item for item in module.parameters() if item.requires_grad),
            "generation": count(module.used_parameters()),
        },
        "device": {
            "type": device.type,
            "name": processor() if device.type == "cpu" else torch.cuda.get_device_name(device),
            "threads": torch.get_num_threads(),
            "precision": precision(module),
            "compile": config["compile"],
            "graph": config["graph"],
            "memory": "resident memory of the process"
            if device.type == "cpu"
            else "allocated by torch",
        },
        "protocol": {**asdict(protocol), "warm_up": 1, "conditions": drawn(module)},
        "geant4": None if geant4 is None else asdict(geant4),
        "timings": [entry(item, geant4) for item in timings],
        "growth": None if grown is None else asdict(grown),
        "identity": identity(),
    }


def drawn(module: GenerativeModule) -> str:
    """Where the conditions come from."""
    remembered = module.record.conditions is not None
    return "drawn as in training" if remembered else "drawn from the prior"


def entry(timing: Timing, geant4: Geant4Time | None) -> dict[str, Any]:
    """One batch size."""
    found: dict[str, Any] = {
        "batch_size": timing.batch_size,
        "events": timing.events,
        "repeats": len(timing.ms),
        "note": timing.note,
    }
    if timing.ms:
        names = ("min", "lower_quartile", "median", "upper_quartile", "max")
        found["ms_per_event"] = dict(zip(names, timing.quantiles, strict=True))
        found["ms_of_each_repeat"] = list(timing.ms)
        assert timing.peak is not None
        found["peak_memory_gib"] = timing.peak / GIB
        found["share_outside_networks"] = timing.outside
        found["values_per_event"] = timing.values
        found["geant4_over_this"] = None if geant4 is None else geant4.ms / timing.quantiles[2]
    return found


def precision(module: GenerativeModule) -> str:
    """Types of the weights, and whether a card may shorten the factors of matrix products."""
    types = sorted({str(item.dtype).removeprefix("torch.") for item in module.parameters()})
    short = module.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
    return ", ".join(types) + (" with TF32 products" if short else "")


def place(config: dict[str, Any]) -> Path:
    """The directory of the result."""
    if config["output"] is not None:
        return Path(config["output"])
    if config["checkpoint"] is not None:
        run = located(config["checkpoint"]).resolve().parent.parent
        if (run / saved.FILE).is_file():
            return run
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    return Path(config["paths"]["outputs"]) / "benchmark" / now


def show(found: dict[str, Any], timings: Sequence[Timing]) -> None:
    """Print the table."""
    device, parameters = found["device"], found["parameters"]
    size = "" if found["size"] is None else f" ({found['size']})"
    weights = ", untrained weights" if found["weights"] == "untrained" else ""
    table = Table(title=f"{found['model']}{size} on {found['data']}{weights}", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for timing, item in zip(timings, found["timings"], strict=True):
        if not timing.ms:
            table.add_row(f"{timing.batch_size:,}", "0", "not run")
            continue
        low, first, middle, third, high = (f"{value:.3g}" for value in timing.quantiles)
        ratio = item["geant4_over_this"]
        table.add_row(
            f"{timing.batch_size:,}",
            str(len(timing.ms)),
            middle,
            f"{first}, {third}",
            f"{low}, {high}",
            f"{item['peak_memory_gib']:.2f}",
            "" if timing.outside is None else f"{100 * timing.outside:.0f} %",
            "" if ratio is None else f"{ratio:.3g}",
        )
    Console().print(table)
    unit = "thread" if device["threads"] == 1 else "threads"
    lines = [
        f"{device['name']}, {device['threads']} {unit}, {device['precision']}, "
        f"torch {found['identity']['torch']}",
        f"parameters: {parameters['training']:,} in training, {parameters['generation']:,} in generation",
        *(f"batch {t.batch_size:,}: {t.note}" for t in timings if t.note),
    ]
    print("\n".join(lines))


def against(geant4: dict[str, Any] | None, best: float | None) -> str:
    """The ratio to Geant4's time, for the closing line."""
    if geant4 is None or best is None:
        return ""
    far = " (extrapolated)" if geant4["extrapolated"] else ""
    ratio = geant4["ms"] / best
    text = f"{ratio:.3g} times faster" if ratio >= 1 else f"{1 / ratio:.3g} times slower"
    return (
        f", {text} than Geant4's {geant4['ms']:.0f} ms{far} "
        f"at {geant4['energy']:.3g} GeV ({geant4['detector']})"
    )
