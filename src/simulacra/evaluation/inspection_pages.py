"""Figures of one file of events by itself."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from simulacra.core import Spec
from simulacra.evaluation.inspection import Inspection, SoundEvents
from simulacra.evaluation.recognition import Known
from simulacra.metrics.engine.assemble import images
from simulacra.metrics.engine.binning import Binned, Binning
from simulacra.metrics.engine.sample import Sample, reduce
from simulacra.physics.base import ObservableSet
from simulacra.physics.table import TableObservables
from simulacra.plotting.figures import chosen
from simulacra.plotting.image import paired
from simulacra.plotting.single import Bars, mean_images, sample_pages


def pages(known: Known, found: Inspection, path: str) -> dict[str, Figure]:
    """Observables and mean images of the sound events that were kept, by name; nothing where there are none.

    Args:
        known: The format and its observables; without any, those of a table are drawn.
        found: What was found in the file.
        path: The file.
    """
    observables = known.observables or plain(found.spec)
    if observables is None or not len(found.positions):
        return {}
    sample = reduce(SoundEvents(known.form, path, found.positions), observables)
    title = f"{Path(path).name}, {found.spec.name}, {sample.events:,} events"
    drawn = {
        f"observables_{number}": page
        for number, page in enumerate(sample_pages(bars(sample, observables), title), start=1)
    }
    means = [paired(*pair) for pair in images(sample, sample).values()]
    if means:
        drawn["images"] = mean_images(means, title)
    return drawn


def plain(spec: Spec) -> ObservableSet | None:
    """Observables that need no data set."""
    return TableObservables(spec) if spec.kind == "table" else None


def bars(sample: Sample, observables: ObservableSet) -> list[Bars]:
    """Histograms of the observables that an evaluation would draw."""
    binning = Binning.of(sample, observables)
    binned, weight = Binned(sample, binning), sample.weight[None]
    found = []
    for name in chosen([name for name, column in sample.columns.items() if column.n]):
        counts = binned.counts(name).of(weight)[0, 1:-1]
        total = float(counts.sum()) or 1.0
        axis = binning.axes[name]
        edges = binning.edges[name].double().numpy()
        found.append(Bars(axis.label, axis.unit, edges, (counts / total).numpy(), axis.log))
    return found
