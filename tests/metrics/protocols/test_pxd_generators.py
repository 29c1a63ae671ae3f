"""What the judge of pixel sensors sees of generators that are wrong in one way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simulacra.core import Batch, UserError
from simulacra.formats.pxd import pxd_small
from simulacra.metrics.engine.score import NotRun, judged
from simulacra.metrics.engine.suite import Evaluator
from simulacra.metrics.protocols.pxd import sensor_means, sensor_scores
from simulacra.metrics.protocols.pxd_features import NETS, sensor_features
from simulacra.metrics.protocols.pxd_features_training import KINDS, Plan, train
from simulacra.metrics.protocols.pxd_images import INCOMPARABLE, ImageDistance
from simulacra.nn.sensor_net import SensorNet, load_net, save_net
from simulacra.physics.correlation import spearman
from simulacra.physics.pxd import PxdObservables
from simulacra.plotting import figures

SENSORS = ["1.1.1", "1.5.1", "2.1.1", "2.7.1"]
SPEC = pxd_small(SENSORS)
CLUSTERS = ("cluster_size", "cluster_size_v", "cluster_charge", "clusters")


def events(n: int, seed: int) -> Batch:
    """Clusters of one to four cells whose number follows a rate that all sensors of an event share."""
    generator = torch.Generator().manual_seed(seed)
    rate = 25 * torch.exp(0.3 * torch.randn(n, 1, generator=generator)).expand(-1, len(SENSORS))
    number = torch.poisson(rate, generator=generator).long().flatten()
    stack = torch.repeat_interleave(torch.arange(len(number)), number)
    high, wide = SPEC.shape[1:]
    u = torch.randint(1, high - 1, (len(stack),), generator=generator)
    v = torch.randint(1, wide - 2, (len(stack),), generator=generator)
    charge = 20 + torch.empty(len(stack)).exponential_(1 / 40, generator=generator)
    x = torch.zeros(len(number), high * wide)
    x.index_put_((stack, u * wide + v), charge.round(), accumulate=True)
    second = torch.rand(len(stack), generator=generator) < 0.3
    beside = u[second] * wide + wide + v[second]
    x.index_put_((stack[second], beside), (charge[second] / 2).round(), accumulate=True)
    return Batch(x.view(n, *SPEC.shape))


def blurred(batch: Batch) -> Batch:
    """A third of each charge goes to the next column, where that gives a fired cell: no charge is lost."""
    given = (batch.x / 3).floor()
    given = torch.where(given >= SPEC.cut, given, 0.0)
    given[..., -1] = 0
    x = batch.x - given
    x[..., 1:] += given[..., :-1]
    return Batch(x)


def shuffled(batch: Batch, seed: int) -> Batch:
    """Each sensor from another event."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(batch), generator=generator) for _ in SENSORS]
    return Batch(torch.stack([batch.x[order, s] for s, order in enumerate(orders)], 1))


@pytest.fixture(scope="module")
def judge() -> Evaluator:
    scores = {
        "sensors": sensor_scores,
        "means": sensor_means,
        "images": ImageDistance(sensor_features("pxd_small"), "simulacra", 480, None),
    }
    observables = PxdObservables(SPEC)
    return Evaluator(events(150, 0), observables, truth=events(360, 1), scores=scores)


@pytest.fixture(scope="module")
def other() -> Batch:
    return events(150, 2)


def ratios(metrics: dict[str, float]) -> dict[str, float]:
    """Value over floor."""
    return {
        key.removeprefix("test/"): value / metrics[f"{key}/floor"]
        for key, value in metrics.items()
        if metrics.get(f"{key}/floor", 0) > 0
    }


def test_truth_is_at_its_floor(judge: Evaluator, other: Batch) -> None:
    result = judge(other)
    found = ratios(result.metrics)
    keys = ["sensor_correlation", "sensor_occupancy", "sensor_charge", "fid/simulacra"]
    keys += [f"w1/{name}" for name in (*CLUSTERS, "pixel_charge")]
    assert all(found[key] < 3 for key in keys), found
    assert result.metrics["test/sensor_correlation/error"] > 0
    assert INCOMPARABLE in result.notes["test/fid/simulacra"]


def test_blurred_clusters_are_seen_by_their_spectra_and_not_by_the_charge(
    judge: Evaluator, other: Batch
) -> None:
    plain, found = (judge(batch).metrics for batch in (other, blurred(other)))
    assert found["test/w1/total_charge"] == plain["test/w1/total_charge"]
    for name in ("cluster_size", "cluster_size_v"):
        assert found[f"test/w1/{name}"] > 10 * found[f"test/w1/{name}/floor"]
        assert found[f"test/separation/{name}"] > 10 * found[f"test/separation/{name}/floor"]
    assert found["test/fid/simulacra"] > 10 * plain["test/fid/simulacra"]
    assert found["test/kid/simulacra"] > 10 * found["test/kid/simulacra/error"]


def test_sensors_of_different_events_are_uncorrelated_and_all_else_is_right(
    judge: Evaluator, other: Batch
) -> None:
    result = judge(shuffled(other, 3))
    assert result.correlation is not None
    above = torch.triu_indices(4, 4, offset=1)
    true, made = (
        torch.from_numpy(matrix)[*above]
        for matrix in (result.correlation.reference, result.correlation.generated)
    )
    assert abs(float(made.mean())) < 0.1 < 0.5 < float(true.mean())
    assert ratios(result.metrics)["sensor_correlation"] > 5
    assert ratios(result.metrics)["sensor_occupancy"] < 3


def test_the_figure_shows_the_ranks_that_the_score_compares(judge: Evaluator, other: Batch) -> None:
    result = judge(other)
    assert result.correlation is not None
    occupancy = (other.x >= SPEC.cut).double().mean((2, 3))
    torch.testing.assert_close(torch.from_numpy(result.correlation.generated), spearman(occupancy))
    only = replace(result, histograms={}, profiles={}, images={})
    drawn = figures(only, "mine")["correlation"]
    titles = " ".join(ax.get_title() for ax in drawn.axes)
    value = result.metrics["test/sensor_correlation"]
    assert f"mean |difference| {value:.2g} ± " in titles
    assert "(floor " in titles
    inner = [child.get_ylabel() for ax in drawn.axes for child in ax.child_axes]
    assert inner == ["Spearman correlation", "Spearman correlation", "difference"]


def test_constant_and_equal_sensors_have_a_score() -> None:
    true, made = events(60, 0), events(60, 1)
    made.x[:, 1] = made.x[:1, 1]  # never varies
    made.x[:, 2] = made.x[:, 3]  # always alike: the matrix has no full rank
    pair = [judged(batch, PxdObservables(SPEC)) for batch in (true, made)]
    matrix = spearman((made.x >= SPEC.cut).double().mean((2, 3)))
    assert matrix[1].tolist() == [0] * 4
    assert float(matrix[2, 3]) == pytest.approx(1)
    figure = sensor_scores(*pair, 0)["sensor_correlation"]
    assert 0.2 < figure.value < 1
    with pytest.raises(UserError, match=r"finite values, 1 of 8"):
        spearman(torch.tensor([[1.0, 2.0], [3.0, torch.nan], [0.0, 1.0], [2.0, 2.0]]))


def test_means_of_sensors_are_relative_to_the_reference() -> None:
    true, observables = events(40, 0), PxdObservables(SPEC)
    made = Batch(true.x.clone())
    made.x[:, 0] *= 2  # charge of one sensor of four
    made.x[:, 1] = 0  # another is dead
    found = sensor_means(judged(true, observables), judged(made, observables), 0)
    assert found["sensor_occupancy"].value == pytest.approx(1 / 4)
    assert found["sensor_charge"].value == pytest.approx(1 / 3)  # a dead one has no mean charge
    weight = torch.arange(40) % 3
    heavy = judged(replace(events(40, 1), weight=weight.double()), observables)
    copied = judged(events(40, 1)[torch.repeat_interleave(torch.arange(40), weight)], observables)
    pair = [sensor_means(judged(true, observables), item, 0) for item in (heavy, copied)]
    assert pair[0]["sensor_charge"].value == pytest.approx(pair[1]["sensor_charge"].value)
    with pytest.raises(NotRun, match="1 sensors of the reference have no hit"):
        sensor_means(judged(made, observables), judged(true, observables), 0)


def test_features_of_an_event_are_computed_once(other: Batch) -> None:
    seen: list[int] = []

    def pooled(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return torch.nn.functional.avg_pool2d(images, 16).flatten(1)

    whole = judged(other, PxdObservables(SPEC))
    score = ImageDistance(pooled, "pooled", 10_000, None)
    first = score(whole.between(0, 50), whole.between(50, 150), 0)
    parts = whole.take(torch.arange(0, 150, 2)), whole.take(torch.arange(1, 150, 2))
    score(*parts, 0)
    assert len(seen) == 150
    plain = ImageDistance(pooled, "pooled", 10_000, None)
    again = plain(
        judged(other[range(50)], whole.observables),
        judged(other[range(50, 150)], whole.observables),
        0,
    )
    assert first["fid/pooled"].value == pytest.approx(again["fid/pooled"].value)


def test_networks_that_come_with_the_package_are_small_and_checked(tmp_path: Path) -> None:
    for name, shape in zip(NETS, ((250, 768), (32, 96)), strict=True):
        assert sensor_features(name)(torch.zeros(2, 1, *shape)).shape == (2, 64)
    with pytest.raises(UserError, match=r"'inception': choose one of pxd, pxd_small"):
        sensor_features("inception")
    net = SensorNet((4, len(KINDS)), (1, 2, 2, 2)).eval()
    save_net(net, tmp_path / "net.pt")
    x = 50 * torch.rand(3, 1, 32, 96)
    torch.testing.assert_close(load_net(tmp_path / "net.pt")(x), net(x))
    net.out.weight.data[0, 0] = torch.nan
    save_net(net, tmp_path / "net.pt")
    with pytest.raises(UserError, match="not finite"):
        load_net(tmp_path / "net.pt")
    torch.save({"state": {}}, tmp_path / "net.pt")
    with pytest.raises(UserError, match="holds no sensor network"):
        load_net(tmp_path / "net.pt")
    with pytest.raises(UserError, match="there is no file"):
        load_net(tmp_path / "none.pt")


def test_a_network_is_trained_the_same_twice(tmp_path: Path) -> None:
    plan = Plan(strides=(4, 2, 2, 2), events=1, steps=3, batch_size=8)
    spec = pxd_small(["1.1.1", "2.1.1"])
    shares = [train(spec, plan, tmp_path / f"{number}.pt") for number in range(2)]
    assert shares[0] == shares[1]
    assert set(shares[0]) == {"sensor", "kind", *(f"kind/{name}" for name in KINDS)}
    states = [load_net(tmp_path / f"{number}.pt").state_dict() for number in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
