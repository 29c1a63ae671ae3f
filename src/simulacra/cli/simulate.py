"""``simulacra simulate``: full and fast simulation of the same particles in Geant4."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from simulacra.cli.machine import whole_folder
from simulacra.core import Batch, UserError
from simulacra.core.detector import Detector, Gun
from simulacra.deploy.geant4 import comparison
from simulacra.deploy.geant4.build import detector_of
from simulacra.deploy.geant4.events import Simulated, digitised
from simulacra.deploy.geant4.fast import Request, both
from simulacra.deploy.geant4.simulation import Physics
from simulacra.deploy.primaries import Primaries, of_table, shot
from simulacra.evaluation import saved
from simulacra.evaluation.outputs import free
from simulacra.evaluation.publish import overrides, write_json
from simulacra.evaluation.schema import Simulate
from simulacra.formats.calochallenge import ENERGY
from simulacra.formats.produced import ProducedShowers, produced
from simulacra.plotting.histogram import histogram_pages
from simulacra.running.signals import interruptible
from simulacra.tracking.draw import Files
from simulacra.tracking.identity import command_line, identity
from simulacra.tracking.report import write_report

FILES = ("full.hdf5", "fast.hdf5")


def simulate(cfg: DictConfig) -> dict[str, Any]:
    """Simulate as configured (``conf/simulate.yaml``).

    Returns:
        All figures, and the directory with them, a report and both samples.

    Raises:
        UserError: If there is no checkpoint, Geant4 or its tables are missing, or the generator is none of
            this detector; then nothing is left behind.
    """
    config = saved.resolve(cfg, Simulate)
    if config["checkpoint"] is None:
        raise UserError("simulating needs checkpoint=FILE, the generator that is used")
    detector = detector_of(config)
    if config["particle"] is not None:
        detector = replace(detector, gun=replace(detector.gun, particle=config["particle"]))
    primaries = shot_or_read(config, detector)
    folder = place(config, detector)
    for name in (*FILES, "metrics.json"):
        free(folder / name, config["overwrite"])
    with interruptible():
        full, fast, times = both(request(config, detector, primaries))
        metrics = compare(config, detector, primaries, full, fast) | times
        with whole_folder(folder):
            folder.mkdir(parents=True, exist_ok=True)
            publish(folder, config, detector, primaries, (full, fast), metrics)
    print(
        f"wrote {folder}: visible energy fast over full {metrics['ratio/visible']:.3f} ± "
        f"{metrics['ratio/visible/error']:.3f}, {fast.generated:,} showers generated, "
        f"{metrics['ratio/time']:.3g} times faster"
    )
    return {"output": str(folder), **metrics}


def shot_or_read(config: dict[str, Any], detector: Detector) -> Primaries:
    """The particles of a file, or what the detector's gun shoots."""
    if config["primaries"] is not None:
        return of_table(Path(config["primaries"]), detector.gun.distance)
    numbers = np.random.default_rng(config["seed"])
    return shot(detector.gun, config["n"], numbers, config["most"])


def request(config: dict[str, Any], detector: Detector, primaries: Primaries) -> Request:
    """What is sent to the processes."""
    wanted = config["particles"] or sorted(set(map(str, primaries.particle)))
    return Request(
        detector,
        Physics(config["physics"], config["production_cut"]),
        primaries,
        {key: config.get(key) for key in ("checkpoint", "solver", "allow")},
        tuple(wanted),
        1e3 * config["threshold"],
        config["every"],
        config["seed"],
        config["threads"],
    )


def compare(
    config: dict[str, Any],
    detector: Detector,
    primaries: Primaries,
    full: Simulated,
    fast: Simulated,
) -> dict[str, float]:
    """Figures of both samples after noise and zero suppression."""
    numbers = np.random.default_rng([config["seed"], 1])
    seen = (
        replace(made, cells=digitised(made.cells, config["noise"], config["cut"], numbers))
        for made in (full, fast)
    )
    return comparison.figures(detector, primaries, *seen)


def place(config: dict[str, Any], detector: Detector) -> Path:
    """The directory of the result."""
    if config["output"] is not None:
        return Path(config["output"])
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    return Path(config["paths"]["outputs"]) / "simulate" / f"{now}_{detector.name}"


def publish(
    folder: Path,
    config: dict[str, Any],
    detector: Detector,
    primaries: Primaries,
    samples: tuple[Simulated, Simulated],
    metrics: dict[str, float],
) -> None:
    """Write both samples, figures, ``metrics.json`` and ``report.html``.

    The samples hold the energy of all particles of an event, which have no common direction.
    """
    format = ProducedShowers(produced(replace(detector, gun=Gun(energy=detector.gun.energy))))
    energy = np.bincount(primaries.event, primaries.energy, minlength=primaries.events)
    for name, made in zip(FILES, samples, strict=True):
        x = torch.from_numpy(made.cells).float().reshape(-1, *format.spec.shape)
        cond = {ENERGY: torch.from_numpy(energy)[:, None].float()}
        format.write(folder / name, Batch(x, cond), {"simulacra_seed": config["seed"]})
    write_json(folder / "metrics.json", dict(sorted(metrics.items())))
    files = Files.of(config["figures"])
    with files.styled():
        pages = [
            (f"{name}_{number}", page)
            for name, panels in comparison.panels(detector, primaries, *samples).items()
            for number, page in enumerate(
                histogram_pages(panels, comparison.LABELS, (primaries.events,) * 2), start=1
            )
        ]
    images = files.write(pages, folder / "figures")
    write_report(
        folder / "report.html",
        f"full and fast simulation in {detector.name}",
        metrics,
        images,
        config,
        {key: str(value) for key, value in identity().items()},
        overrides=overrides(),
        facts={"command": command_line(), "checkpoint": Path(str(config["checkpoint"]))},
    )
