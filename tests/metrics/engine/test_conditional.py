"""Figures in bins of what is asked for, against loops and what is known of Gaussians."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from simulacra.core import Batch, Field, Prior, Spec
from simulacra.metrics.engine.binning import Binning
from simulacra.metrics.engine.conditional import Conditional, inside, quartiles
from simulacra.metrics.engine.response import deviations
from simulacra.metrics.engine.score import Judged, NotRun, judged
from simulacra.physics.base import Axis, ObservableSet, ResponseBin

ENERGY = Field("incident_energy", "GeV", low=1.0, high=100.0, log=True, role="energy")
SPEC = Spec(
    "toy", "table", (3,), "GeV", tuple(Field(f"f{i}") for i in range(3)), (ENERGY,),
    prior=(Prior("incident_energy", "loguniform", (1.0, 100.0)),),
)  # fmt: skip


class Toy(ObservableSet):
    """Two numbers per event, of which the second is a pair, and a response."""

    def __call__(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"first": batch.x[:, 0], "pair": batch.x[:, 1:]}

    def axes(self) -> dict[str, Axis]:
        return {name: Axis(name) for name in ("first", "pair")}

    def features(self, batch: Batch) -> torch.Tensor:
        return batch.x

    def response(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        energy = batch.cond["incident_energy"][:, 0]
        return energy, energy * (1 + 0.1 * batch.x[:, 0])


class Jets(Toy):
    """The same without a response, but with a transverse momentum."""

    def __call__(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {**super().__call__(batch), "pt": batch.cond["incident_energy"][:, 0]}

    def axes(self) -> dict[str, Axis]:
        return {**super().axes(), "pt": Axis("pt")}

    def response(self, batch: Batch) -> None:  # type: ignore[override]
        return None


def events(n: int, seed: int, above: float | None = None, scale: float = 1.0) -> Batch:
    """Standard normal numbers, scaled for energies above a value."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator)
    energy = SPEC.prior[0].draw(n, generator)
    if above is not None:
        x = torch.where(energy > above, x * scale, x)
    return Batch(x, {"incident_energy": energy})


def item(*args, judge: type[Toy] = Toy, **options) -> Judged:  # type: ignore[no-untyped-def]
    return judged(events(*args, **options), judge(SPEC))


BINS = (ResponseBin(1.0, 10.0, "low"), ResponseBin(10.0, 100.1, "high"))


def test_a_bin_holds_the_mean_distance_of_its_events() -> None:
    p, q = item(900, 0), item(800, 1, 10.0, 1.5)
    scales = {"first": 1.1, "pair": 0.9}
    found = Conditional(BINS, scales)(p, q, 0)
    for bin_ in BINS:
        parts = []
        for judge in (p, q):
            batch = judge.events[range(len(judge))]
            energy = batch.cond["incident_energy"][:, 0]
            parts.append(batch.x[(energy >= bin_.low) & (energy < bin_.high)].double())
        distances = [
            wasserstein_distance(parts[0][:, 0], parts[1][:, 0]) / 1.1,
            wasserstein_distance(parts[0][:, 1:].flatten(), parts[1][:, 1:].flatten()) / 0.9,
        ]
        figure = found[f"conditional/{bin_.name}/w1_mean"]
        assert figure.value == pytest.approx(sum(distances) / 2, rel=1e-6)
        assert figure.error is not None
        assert 0 < figure.error < 0.1
    floor = Conditional(BINS, scales)(p, item(800, 2), 0)
    low, high = (found[f"conditional/{name}/w1_mean"] for name in ("low", "high"))
    # E|1.5 x| - E|x| = 0.5 sqrt(2 / pi), over scales of about 1
    assert high.value == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=0.25)
    assert high.value > 4 * floor["conditional/high/w1_mean"].value
    assert low.value < 2 * floor["conditional/low/w1_mean"].value


def test_largest_deviations_are_those_of_the_worst_bin() -> None:
    p, q = item(900, 0), item(800, 1, 10.0, 1.5)
    values, errors = deviations(p.sample, q.sample, BINS, 1.0)
    found = Conditional(BINS, {"first": 1.0})(p, q, 0)
    for name, kind in (("linearity", "response"), ("resolution", "resolution")):
        worst = max(BINS, key=lambda bin_: abs(values[f"{kind}/{bin_.name}"])).name
        figure = found[f"conditional/{name}"]
        assert figure.value == pytest.approx(abs(values[f"{kind}/{worst}"]))
        assert figure.error == pytest.approx(errors[f"{kind}/{worst}"])
    assert found["conditional/resolution"].value == pytest.approx(0.5, abs=0.1)


def test_bins_come_from_the_response_or_the_momentum_of_jets() -> None:
    p = item(900, 0)
    binning = Binning.of(p.sample, Toy(SPEC))
    score = Conditional.of(p.sample, binning)
    assert [bin_.name for bin_ in score.bins] == [bin_.name for bin_, _ in binning.response]
    jets = item(900, 0, judge=Jets)
    score = Conditional.of(jets.sample, Binning.of(jets.sample, Jets(SPEC)))
    assert len(score.bins) == 4
    assert [inside(jets.sample, bin_, "pt").events for bin_ in score.bins] == [225] * 4
    found = score(jets, item(800, 1, judge=Jets), 0)
    assert len(found) == 4, "no response, no linearity"
    assert all(key.startswith("conditional/pt_") for key in found)
    with pytest.raises(NotRun, match="no bin"):
        score(item(20, 0, judge=Jets), jets, 0)


def test_quartiles_reach_to_the_ends() -> None:
    bins = quartiles(torch.arange(101.0), "pt")
    assert [(bin_.low, bin_.high) for bin_ in bins] == [
        (-math.inf, 25), (25, 50), (50, 75), (75, math.inf),
    ]  # fmt: skip
    assert [bin_.name for bin_ in bins] == [
        "pt_below_25", "pt_25_to_50", "pt_50_to_75", "pt_above_75",
    ]  # fmt: skip


def test_the_order_of_events_does_not_matter() -> None:
    p, batch = item(500, 0), events(400, 1)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    first, second = (
        Conditional(BINS, {"first": 1.0, "pair": 1.0})(p, judged(b, Toy(SPEC)), 0)
        for b in (batch, batch[order])
    )
    for key, figure in first.items():
        assert figure.value == pytest.approx(second[key].value, rel=1e-9), key
