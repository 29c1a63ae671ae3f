"""What an evaluation of a checkpoint adds to that of a file: scans over conditions at fixed noise, and scores
between and beyond the training's values.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure as Drawing

from simulacra.core import Batch, Conditions, IncompatibleError, UserError
from simulacra.data.base import EventDataModule
from simulacra.metrics import Evaluator
from simulacra.metrics.engine.score import Judged
from simulacra.metrics.protocols.scans import Regions, Scan, grid, scan
from simulacra.plotting.scan import event_page, scan_page
from simulacra.training.generative import GenerativeModule
from simulacra.training.record import log as outside

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generator:
    """A trained module with the data set in whose format it generates.

    Args:
        module: The module.
        datamodule: Its data set and view.
        batch_size: Events at once.
    """

    module: GenerativeModule
    datamodule: EventDataModule
    batch_size: int

    def __call__(self, asked: Conditions, seed: int) -> Batch:
        """Native events with the noise of a seed."""
        noise = torch.Generator(device=self.module.device).manual_seed(seed)
        batch = self.module.sample(asked, batch_size=self.batch_size, generator=noise)
        return self.datamodule.native(batch)

    def write(self, reference: str, events: int | None, path: Path, seed: int) -> float:
        """Generate with conditions and weights of the first events of a file (None: all) into a file.

        Returns:
            Time of generating per event [ms].

        Raises:
            IncompatibleError: If the model is given what the file does not hold.
        """
        form, noise = self.datamodule.format, torch.Generator(device=self.module.device)
        noise.manual_seed(seed)
        n = form.header(reference).n
        left = total = n if events is None else min(n, events)
        seconds = 0.0
        with form.writer(path, {"simulacra_conditions": Path(reference).name}) as writer:
            for native in form.iterate(reference, self.batch_size):
                batch = self.datamodule.shown(native)
                wanted = batch[: min(left, len(batch))]
                if not len(wanted):
                    break
                start = time.perf_counter()
                made = self.module.judged(wanted, batch_size=self.batch_size, generator=noise)
                seconds += time.perf_counter() - start
                writer.append(self.datamodule.native(made))
                left -= len(wanted)
        return 1e3 * seconds / max(total, 1)


def regions(generator: Generator, judge: Evaluator) -> dict[str, Regions]:
    """Scores within, between and beyond the training, for each numerical condition whose range is known."""
    record = generator.module.record
    held_out = (record.config.get("data") or {}).get("hold_out") or ()
    found = {}
    for field in generator.module.spec.conditions:
        if field.name in record.trained_range and not field.classes and field.dim == 1:
            held = held_out if field.role == "energy" else ()
            trained = record.trained_range[field.name]
            found[f"region_{field.name}"] = Regions(field.name, trained, held, judge.binning.scales)
    return found


def scans(
    generator: Generator, reference: Judged, config: Mapping[str, Any], seed: int
) -> dict[str, Scan]:
    """One scan per scalar condition of the model, by name of the condition."""
    module, size = generator.module, config["events"]
    fields = [field for field in module.spec.conditions if field.dim == 1]
    if not fields:
        return {}
    base = module.draw_conditions(size, torch.Generator().manual_seed(seed))
    found = {}
    for field in fields:
        trained = module.record.trained_range.get(field.name)
        if trained is None and not field.classes:
            continue
        known = [
            v
            for p in module.spec.prior
            if p.name == field.name and p.kind == "discrete"
            for v in p.values
        ]
        values = grid(field, trained or (0.0, 1.0), config["points"], config["beyond"], known)
        try:
            with _quiet():
                found[field.name] = scan(generator, reference, field, values, base, trained, seed)
        except UserError as reason:
            log.warning("no scan of %s: %s", field.name, reason)
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """A scan leaves the trained range on purpose."""
    before = outside.level
    outside.setLevel(logging.ERROR)
    try:
        yield
    finally:
        outside.setLevel(before)


def drawings(
    found: Mapping[str, Scan], reference: Judged, labels: tuple[str, str]
) -> dict[str, Drawing]:
    """A page of observables per scan, and one of an event on the way where the data have images.

    Args:
        found: The scans.
        reference: True events.
        labels: Names of truth and generated events.
    """
    observables, pages = reference.observables, {}
    for name, item in found.items():
        text = observables.asked if item.field.role == "energy" else ""
        pages[f"scan_{name}"] = scan_page(item, dict(observables.axes()), labels, text)
        if item.images[0]:
            pages[f"event_{name}"] = event_page(item, labels[1], text)
    return pages


def matching(datamodule: EventDataModule, own: EventDataModule) -> None:
    """A checkpoint is judged on the data set that it generates, whatever name that has.

    Raises:
        IncompatibleError: If the evaluation names another one.
    """
    one, two = (
        replace(module.native_spec, name="", prior=(), sample_batch=1)
        for module in (datamodule, own)
    )
    if datamodule.native_spec.name != own.native_spec.name and one != two:
        raise IncompatibleError(
            f"the checkpoint generates {own.native_spec.name}, not {datamodule.native_spec.name}: "
            f"take data={own.native_spec.name}"
        )
