import math
from dataclasses import replace

import pytest
import torch

from simulacra.core import Batch, Conditions, Field, Prior, Spec, UserError, regular_grid
from simulacra.core.units import factor


def grid_spec() -> Spec:
    return Spec(
        name="toy",
        kind="grid",
        shape=(3, 2, 2),
        unit="MeV",
        conditions=(Field("incident_energy", "MeV", low=1.0, high=100.0, log=True, role="energy"),),
        event=(Field("overflow", "MeV", dim=3),),
        geometry=regular_grid(3, (range(3), range(3))),
        threshold=0.5,
        cut=1.0,
        prior=(Prior("incident_energy", "loguniform", (1.0, 100.0)),),
    )


def grid_batch(n: int = 4) -> Batch:
    return Batch(
        torch.rand(n, 3, 2, 2),
        {"incident_energy": torch.full((n, 1), 9.0)},
        {"overflow": torch.zeros(n, 3)},
    )


def test_spec_survives_plain_data_and_a_checkpoint(tmp_path) -> None:
    spec = grid_spec()
    torch.save(spec.to_dict(), tmp_path / "spec.pt")
    assert Spec.from_dict(torch.load(tmp_path / "spec.pt", weights_only=True)) == spec


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ((3.0e38, 3.0e38), 0),  # their sum is infinite
        ((math.inf, -math.inf), 2),
        ((math.nan, 1.0), 1),
        ((-math.inf, 1.0), 1),
    ],
)
def test_values_are_finite_whatever_their_sum_is(values: tuple[float, float], wrong: int) -> None:
    batch = replace(grid_batch(), event={"overflow": torch.zeros(4, 3)})
    batch.event["overflow"][0, :2] = torch.tensor(values)
    if not wrong:
        return batch.validate()
    with pytest.raises(UserError, match=f"'overflow' holds {wrong} NaN or infinite values"):
        batch.validate()
    return None


def test_a_valid_batch_passes() -> None:
    grid_spec().validate(grid_batch())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": torch.rand(4, 3, 2, 3)}, "have shape"),
        ({"x": torch.full((4, 3, 2, 2), math.nan)}, "NaN"),
        ({"x": -torch.rand(4, 3, 2, 2) - 0.1}, "negative"),
        ({"cond": {}}, "'incident_energy'"),
        ({"event": {"overflow": torch.zeros(4, 2)}}, "3 components"),
        ({"cond": {"incident_energy": torch.ones(3, 1)}}, "3 entries for 4 events"),
        ({"cond": {"incident_energy": torch.ones(4)}}, "expected"),
        ({"weight": torch.ones(4, 1)}, "weights"),
        ({"weight": torch.ones(3)}, "weights"),
        ({"weight": torch.tensor([1.0, math.nan, 1.0, 1.0])}, "weights hold 1 NaN"),
        ({"weight": torch.tensor([1.0, -1.0, -2.0, 1.0])}, "2 negative values"),
    ],
)
def test_each_broken_promise_is_one_sentence(change: dict, sentence: str) -> None:
    good = grid_batch()
    parts = {"x": good.x, "cond": good.cond, "event": good.event, **change}
    with pytest.raises(UserError, match=sentence):
        grid_spec().validate(Batch(**parts))


def test_a_field_knows_its_nearest_allowed_values() -> None:
    given = torch.tensor([[-0.7], [0.4], [1.6], [9.0]])
    nearest = {
        Field("class", classes=("q", "g")): [0, 0, 1, 1],
        Field("count", low=1.0, high=4.0, integer=True): [1.0, 1.0, 2.0, 4.0],
        Field("mass", low=0.0): [0.0, 0.4, 1.6, 9.0],
    }
    for field, wanted in nearest.items():
        torch.testing.assert_close(field.nearest(given), torch.tensor(wanted)[:, None])


@pytest.mark.parametrize("value", [0.3, -1, 2, math.nan])
def test_what_is_no_class_is_refused(value: float) -> None:
    spec = Spec(
        name="toy",
        kind="table",
        shape=(1,),
        unit="",
        features=(Field("x"),),
        event=(Field("signal", classes=("no", "yes")),),
    )
    spec.validate(Batch(torch.zeros(2, 1), {}, {"signal": torch.tensor([[0], [1]])}))
    with pytest.raises(UserError, match=r"signal|NaN"):
        spec.validate(Batch(torch.zeros(2, 1), {}, {"signal": torch.full((2, 1), value)}))


def test_points_outside_the_mask_must_be_zero() -> None:
    mask = torch.tensor([[True, False]])
    with pytest.raises(UserError, match="outside the mask"):
        Batch(torch.ones(1, 2, 3), mask=mask).validate()
    Batch(torch.ones(1, 2, 3) * mask[..., None], mask=mask).validate()


def test_batches_slice_join_and_give_conditions() -> None:
    batch = grid_batch(6)
    both = Batch.cat([batch[:2], batch[2:]])
    assert torch.equal(both.x, batch.x)
    assert batch[[0, 3]].x.shape == (2, 3, 2, 2)
    assert batch.conditions(["overflow"]).values["overflow"].shape == (6, 3)
    with pytest.raises(UserError, match="theta"):
        batch.conditions(["theta"])
    assert len(Conditions(6)[2:5]) == 3


def test_weighted_events_join_with_others_of_weight_one() -> None:
    weighted = replace(grid_batch(2), weight=torch.tensor([0.5, 3.0]))
    joined = Batch.cat([grid_batch(3), weighted])
    assert joined.weight is not None
    assert joined.weight.tolist() == [1.0, 1.0, 1.0, 0.5, 3.0]
    grid_spec().validate(joined)
    assert Batch.cat([grid_batch(1), grid_batch(2)]).weight is None


def test_negative_weights_pass_where_the_spec_says_signed() -> None:
    signed = replace(grid_batch(2), weight=torch.tensor([0.5, -3.0]))
    grid_spec().with_(signed=True).validate(signed)


def test_conditions_need_n_rows() -> None:
    with pytest.raises(UserError, match="expected"):
        Conditions(3, {"incident_energy": torch.ones(2, 1)})


def test_priors_follow_their_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    discrete = Prior("e", "discrete", (1.0, 4.0), (3.0, 1.0)).draw(20_000, generator)
    assert float((discrete == 4.0).float().mean()) == pytest.approx(
        0.25, abs=4 * math.sqrt(0.25 * 0.75 / 20_000)
    )
    loguniform = Prior("e", "loguniform", (1.0, 100.0)).draw(20_000, generator)
    assert float(loguniform.log10().mean()) == pytest.approx(
        1.0, abs=4 * math.sqrt(4 / 12 / 20_000)
    )
    assert 1.0 <= float(loguniform.min()) <= float(loguniform.max()) <= 100.0
    uniform = Prior("e", "uniform", (10.0, 20.0)).draw(20_000, generator)
    assert float(uniform.mean()) == pytest.approx(15.0, abs=4 * 10 / math.sqrt(12 * 20_000))


def test_contradictory_specs_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Spec("s", "image", (1, 2, 2), "", conditions=(Field("a"),), event=(Field("a"),))
    with pytest.raises(ValueError, match="below the threshold"):
        Spec("s", "image", (1, 2, 2), "", threshold=2.0, cut=1.0)
    with pytest.raises(ValueError, match="prior for"):
        Spec("s", "image", (1, 2, 2), "", prior=(Prior("a", "uniform", (0.0, 1.0)),))
    with pytest.raises(ValueError, match="voxels"):
        Spec("s", "layers", (5,), "", geometry=regular_grid(1, (range(3), range(3))))
    with pytest.raises(ValueError, match="positive lower bound"):
        Field("e", log=True)
    with pytest.raises(UserError, match="the spec lacks 'kind'"):
        Spec.from_dict({"name": "x"})


def test_unit_factors() -> None:
    assert factor("GeV", "MeV") == 1000.0
    assert factor("deg", "rad") == pytest.approx(math.pi / 180)
    with pytest.raises(ValueError, match="cannot convert"):
        factor("GeV", "mm")
