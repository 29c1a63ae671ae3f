r"""How far spectra at particle level are from the truth, and what they look like.

The distance is :math:`W_1` of weighted events over the standard deviation of the truth, of values that are
defined; its error is that of a bootstrap of the events of both samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from simulacra.metrics.distances.wasserstein import wasserstein
from simulacra.metrics.engine.columns import poisson_weights, spread
from simulacra.metrics.engine.weighted import deviation, mean
from simulacra.plotting.histogram import counted, histogram_page
from simulacra.studies.bench import Bench
from simulacra.studies.unfolding_cases import mask, observed

REPLICAS = 20
"""Bootstrap replicas behind each error."""
SHOWN = (0.002, 0.998)
"""Quantiles of the truth between which spectra are drawn."""


@dataclass(frozen=True)
class Spectrum:
    """Values of one observable ``(n,)`` that are defined, and their weights."""

    values: Tensor
    weight: Tensor


def spectra(bench: Bench, path: Path, names: Sequence[str]) -> dict[str, Spectrum]:
    """Spectra of the events of a file that have a particle level."""
    batch = bench.events(path)
    batch = batch[mask(bench.datamodule.native_spec, batch, "genuine")]
    weight, result = batch.weight_or_one().double(), {}
    for name, values in observed(bench, batch, names).items():
        known = torch.isfinite(values)
        result[name] = Spectrum(values[known].double(), weight[known])
    return result


def distances(
    bench: Bench, stage: str, truth: Path, unfolded: Mapping[str, Path]
) -> dict[str, float]:
    """``w1/<observable>`` and their mean ``w1_mean`` with ``…/error``, and ``mean/<observable>`` and
    ``sd/<observable>`` of what is unfolded.

    Args:
        bench: The bench.
        stage: Name of the stage.
        truth: File of true events.
        unfolded: By name of the observable the file that it is looked at in.
    """

    def work(folder: Path) -> dict[str, float]:
        read = cache(lambda path: spectra(bench, path, list(unfolded)))
        columns = {
            name: replicas(read(truth)[name], read(path)[name], bench.seed)
            for name, path in unfolded.items()
        }
        columns = {f"w1/{name}": values for name, values in columns.items()}
        columns["w1_mean"] = torch.stack(list(columns.values())).mean(0)
        figures = {key: float(values[0]) for key, values in columns.items()}
        errors = {f"{key}/error": spread(values[1:]) for key, values in columns.items()}
        moments = {
            f"{key}/{name}": float(take(read(path)[name].values, read(path)[name].weight))
            for name, path in unfolded.items()
            for key, take in (("mean", mean), ("sd", deviation))
        }
        return figures | errors | moments

    return bench.compute(stage, work, truth, dict(unfolded), bench.seed)


def replicas(truth: Spectrum, unfolded: Spectrum, seed: int) -> Tensor:
    """The distance, then that of bootstrap replicas, ``(1 + R,)``."""
    weights = [
        torch.cat([item.weight[None], poisson_weights(item.weight, REPLICAS, seed + side)])
        for side, item in enumerate((truth, unfolded))
    ]
    scale = deviation(truth.values, truth.weight)
    return wasserstein(truth.values, unfolded.values, *weights) / scale


def page(
    bench: Bench, truth: Path, unfolded: Sequence[Mapping[str, Path]], label: str, bins: int = 30
) -> Figure:
    """Spectra of the first of several results against the truth, with the band of all.

    Args:
        bench: The bench.
        truth: File of true events.
        unfolded: Results of replicas: by observable the file that it is looked at in.
        label: What the result is called.
        bins: Bins of each observable.
    """
    names, axes = list(unfolded[0]), bench.datamodule.observables.axes()
    read = cache(lambda path: spectra(bench, path, names))
    panels = []
    for name in names:
        true = read(truth)[name]
        low, high = np.quantile(true.values.numpy(), SHOWN)
        edges = np.linspace(low, high, bins + 1)
        contents = [_filled(read(item[name])[name], edges) for item in unfolded]
        shares = [n / (n.sum() or 1.0) for n, _ in contents]
        reference, variance = _filled(true, edges)
        panels.append(
            counted(
                axes[name].label, axes[name].unit, edges, reference, contents[0][0], False,
                networks=_band(shares), variances=(variance, contents[0][1]),
            )
        )  # fmt: skip
    several = len(unfolded) if len(unfolded) > 1 else 0
    return histogram_page(panels, labels=("truth", label), networks=several, several="replicas")


def _band(shares: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    if len(shares) < 2:
        return None
    return np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)


def _filled(spectrum: Spectrum, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted contents of the bins and their squared errors."""
    values, weight = spectrum.values.numpy(), spectrum.weight.numpy()
    return (
        np.histogram(values, edges, weights=weight)[0],
        np.histogram(values, edges, weights=weight**2)[0],
    )
