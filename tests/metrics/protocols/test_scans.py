"""Scans and regions on a generator whose response is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Prior, Spec
from simulacra.metrics.engine.score import Judged, NotRun, judged
from simulacra.metrics.protocols.scans import Regions, grid, scan
from simulacra.physics.base import Axis, Image, ObservableSet
from simulacra.plotting.scan import event_page

ENERGY = Field("incident_energy", "GeV", low=1.0, high=100.0, log=True, role="energy")
TABLE = Spec(
    "toy", "table", (1,), "GeV", (Field("seen"),), (ENERGY,),
    prior=(Prior("incident_energy", "loguniform", (1.0, 100.0)),),
)  # fmt: skip


class Seen(ObservableSet):
    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return {"ratio": batch.x[:, 0] / batch.cond["incident_energy"][:, 0]}

    def axes(self) -> dict[str, Axis]:
        return {"ratio": Axis("ratio")}

    def features(self, batch: Batch) -> Tensor:
        return batch.x

    def response(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.cond["incident_energy"][:, 0], batch.x[:, 0]


def events(asked: Conditions, seed: int, scale: float = 1.0, width: float = 0.1) -> Batch:
    energy = asked.values["incident_energy"]
    noise = torch.randn(asked.n, 1, generator=torch.Generator().manual_seed(seed))
    return Batch(energy * scale * (1 + width * noise), dict(asked.values))


def conditions(n: int, seed: int) -> Conditions:
    generator = torch.Generator().manual_seed(seed)
    return Conditions(n, {"incident_energy": TABLE.prior[0].draw(n, generator)})


def truth(n: int = 4000) -> Judged:
    return judged(events(conditions(n, 0), 1), Seen(TABLE))


def test_a_grid_covers_training_and_a_margin() -> None:
    found = grid(ENERGY, (2.0, 50.0), 7, 0.5)
    assert found[0] == pytest.approx(2 / 1.5)
    assert found[-1] == pytest.approx(75)
    assert len(found) == 7
    assert bool((found.diff() > 0).all())
    known = grid(ENERGY, (2.0, 8.0), 7, 0.5, (1.0, 2.0, 4.0, 8.0))
    for value in (2.0, 4.0, 8.0, math.sqrt(8), math.sqrt(32), 12.0):
        assert float((known - value).abs().min()) < 1e-9
    assert grid(Field("kind", "", classes=("a", "b")), (0, 1), 7, 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("scale", [1.0, 1.1])
def test_the_deviation_is_the_shift_in_standard_deviations(scale: float) -> None:
    values = grid(ENERGY, (1.0, 100.0), 9, 0.2)
    found = scan(
        lambda asked, seed: events(asked, seed, scale), truth(), ENERGY, values, conditions(500, 3)
    )
    figure = found.figures["scan/incident_energy/deviation"]
    assert figure.floor is not None
    assert figure.error is not None
    if scale == 1.0:
        assert figure.value < 3 * figure.floor
    else:  # a tenth of a response whose relative width is a tenth
        assert figure.value == pytest.approx(1.0, abs=0.1)
        assert figure.value > 5 * figure.error
    assert found.figures["scan/incident_energy/falls"].value == 0


def test_energy_that_is_not_asked_for_falls_half_the_time() -> None:
    def deaf(asked: Conditions, seed: int) -> Batch:
        value = float(asked.values["incident_energy"][0])
        noise = torch.rand(
            asked.n, 1, generator=torch.Generator().manual_seed(seed + int(1e3 * value))
        )
        return Batch(noise, dict(asked.values))

    values = grid(ENERGY, (1.0, 100.0), 9, 0.0)
    found = scan(deaf, truth(), ENERGY, values, conditions(300, 3))
    assert found.figures["scan/incident_energy/falls"].value == pytest.approx(0.5, abs=0.05)


class Drawn(Seen):
    def images(self, batch: Batch) -> dict[str, Image]:
        edges = torch.arange(3.0), torch.arange(2.0)
        values = torch.stack([batch.x.sum(), batch.x.new_tensor(float(len(batch)))])[:, None]
        return {"sum": Image(values, edges, (Axis("row"), Axis("col", "mm")), "sum", "GeV")}


def test_one_event_is_shown_with_its_noise_along_the_condition() -> None:
    values = grid(ENERGY, (1.0, 100.0), 4, 0.0)
    reference = judged(events(conditions(400, 0), 1), Drawn(TABLE))
    found = scan(events, reference, ENERGY, values, conditions(50, 3), seed=7)
    ratios = [
        float(item["sum"].values[0]) / float(value)
        for item, value in zip(found.images, values, strict=True)
    ]
    assert ratios == pytest.approx([ratios[0]] * 4, rel=1e-4)  # one event of one noise
    assert {float(item["sum"].values[1]) for item in found.images} == {1.0}
    page = event_page(found)
    titles = [ax.get_title() for ax in page.axes if ax.get_title()]
    assert titles[0] == "sum, incident energy = 1 GeV"
    assert len(titles) == 4
    scales = {tuple(ax.collections[0].get_clim()) for ax in page.axes if ax.get_title()}
    assert len(scales) == 1


def test_regions_tell_where_a_generator_fails() -> None:
    reference = truth()
    asked = conditions(4000, 5)
    energy = asked.values["incident_energy"]
    made = events(asked, 6)
    wrong = Batch(torch.where(energy > 60, 1.5 * made.x, made.x), made.cond)
    regions = Regions("incident_energy", (1.0, 60.0), [(5.0, 10.0)], {"ratio": 0.1})
    found = regions(reference, judged(wrong, Seen(TABLE)), 0)
    for name in ("trained", "interpolation"):
        figure = found[f"region/{name}/w1_mean"]
        assert figure.floor is not None
        assert figure.value < 3 * figure.floor, name
    beyond = found["region/extrapolation/w1_mean"]
    assert beyond.value == pytest.approx(5.0, rel=0.1)
    assert beyond.error is not None
    assert beyond.value > 5 * beyond.error
    with pytest.raises(NotRun, match="no reference event"):
        Regions("incident_energy", (0.5, 200.0), (), {"ratio": 0.1})(reference, reference, 0)
