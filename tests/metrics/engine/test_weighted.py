"""What weights do beyond the contract of scores: errors, floors, signs, and scores that need files."""

from __future__ import annotations

import math
import types
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.engine.test_suite import TABLE, Toy, events
from metrics.protocols.test_pxd import SPEC as SENSORS
from metrics.protocols.test_pxd import Files
from metrics.protocols.test_scans import TABLE as ONE
from metrics.protocols.test_scans import Seen, conditions
from metrics.protocols.test_scans import events as seen
from metrics.test_fpnd import SPEC as JETS
from metrics.test_fpnd import network
from simulacra.core import Batch, Conditions, UserError
from simulacra.evaluation.anomaly import anomaly_score
from simulacra.evaluation.files import different_conditions
from simulacra.formats.jetnet import toy_jets
from simulacra.metrics import Evaluator, evaluate
from simulacra.metrics.classifiers.boosted import boosted_score
from simulacra.metrics.classifiers.networks import dense
from simulacra.metrics.classifiers.posterior import log_posterior
from simulacra.metrics.classifiers.recipe import Recipe
from simulacra.metrics.distances.memorisation import memorisation
from simulacra.metrics.distances.prdc import prdc
from simulacra.metrics.engine.band import Band
from simulacra.metrics.engine.events import Kept
from simulacra.metrics.engine.response import peak, shortest
from simulacra.metrics.engine.score import NotRun, judged
from simulacra.metrics.engine.weighted import effective, moments, quantiles
from simulacra.metrics.protocols.jets_fpnd import activations, fpnd
from simulacra.metrics.protocols.pxd_images import (
    ImageDistance,
    frechet_distance,
    image_features,
    kernel_distance,
)
from simulacra.metrics.protocols.scans import Regions, scan
from simulacra.physics.pxd import PxdObservables

JUDGED = Toy(TABLE)


def weighted(batch: Batch, weight: Tensor) -> Batch:
    return replace(batch, weight=weight.double())


def weights(n: int, seed: int = 0) -> Tensor:
    return 0.2 + torch.rand(n, generator=torch.Generator().manual_seed(seed)).double()


def test_errors_and_floors_are_those_of_the_effective_number_of_events() -> None:
    few = torch.where(torch.arange(2000) % 10 == 0, 1.0, 1e-3)
    assert effective(few) == pytest.approx(200, rel=0.03)
    judge = Evaluator(events(3000, 0), JUDGED, truth=events(3000, 1), replicas=40)
    result = judge(weighted(events(2000, 2), few))
    found, histogram = result.metrics, result.histograms["first"]
    relative = np.sqrt(histogram.variances[1].sum()) / histogram.generated.sum()
    assert relative == pytest.approx(1 / math.sqrt(200), rel=0.05), "errors that plots show"
    expected = judge(events(200, 3)).metrics
    for key in ("w1/first", "separation/second", "w1_mean", "classifier/boosted/auc"):
        for twin, width in (("error", 0.5), ("floor", 0.35)):
            twins = [values[f"test/{key}/{twin}"] for values in (found, expected)]
            assert twins[0] == pytest.approx(twins[1], rel=width), (key, twin)
    counting = 19 / 4 * (1 / 3000 + 1 / 200)
    assert found["test/separation/second/floor"] == pytest.approx(counting, rel=0.4)
    key = next(
        key for key in expected if key.startswith("test/response/") and key.endswith("error")
    )
    assert found[key] == pytest.approx(expected[key], rel=0.5)


def test_scores_take_no_negative_weights_and_distances_do() -> None:
    batch = events(600, 1)
    signed = weighted(batch, torch.where(torch.arange(600) % 10 == 0, -1.0, 1.0))
    result = evaluate(events(600, 0), signed, JUDGED)
    assert (
        result.notes["test/boosted"]
        == "not run: it takes no negative weights, which 60 events have"
    )
    assert "take no such weights" in result.notes["test/weights"]
    keys = {key.split("/")[1] for key in result.metrics}
    assert {"w1", "w1_mean", "profile"} <= keys
    assert not keys & {"separation", "correlation", "response", "resolution", "classifier"}
    assert result.response == ()
    assert result.correlation is None
    values = (signed.weight[:, None] * batch.x.abs()).sum(0) / signed.weight.sum()
    np.testing.assert_allclose(result.profiles["columns"].generated, values, rtol=1e-6)
    with pytest.raises(NotRun, match="no negative weights"):
        scan(lambda c, s: seen(c, s), judged(seen_signed(), Seen(ONE)), *scanned())


def seen_signed() -> Batch:
    batch = seen(conditions(100, 0), 1)
    return weighted(batch, torch.linspace(-0.5, 1, 100))


def scanned() -> tuple:  # type: ignore[type-arg]
    field = ONE.conditions[0]
    return field, torch.tensor([2.0, 8.0, 32.0]), conditions(200, 5)


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        (torch.zeros(100), "sum to 0"),
        (torch.linspace(-2, 1, 100), "must sum to more than 0"),
        (torch.full((100,), torch.nan), "100 NaN"),
    ],
)
def test_weights_without_a_distribution_are_refused(weight: Tensor, text: str) -> None:
    with pytest.raises(UserError, match=text):
        evaluate(events(100, 0), weighted(events(100, 1), weight), JUDGED)


def test_events_of_weight_zero_keep_the_folds_of_the_others() -> None:
    """Copies of true events in other folds than these would be taken for the truth."""
    truth = events(1000, 0)
    generator = torch.Generator().manual_seed(4)
    some = weighted(truth, (torch.rand(1000, generator=generator) > 0.2).double())
    true, made = judged(truth, JUDGED), judged(some, JUDGED)
    assert len(made) == len(made.sample) < 850
    found = boosted_score(true, made, 0)["classifier/boosted/auc"]
    assert found.value == pytest.approx(0.5, abs=0.03)
    aligned = replace(made, sample=replace(made.sample, position=None))
    assert boosted_score(true, aligned, 0)["classifier/boosted/auc"].value < 0.45
    assert made.sample.between(100, 200).position[0] == 0


def test_events_that_are_left_out_are_not_read() -> None:
    batch = events(60, 0)
    kept = torch.tensor([0, 3, 4, 5, 30, 59])
    found = Kept(batch, kept)
    assert len(found) == 6
    assert torch.equal(found[range(6)].x, batch.x[kept])
    assert torch.equal(found[range(1, 5, 2)].x, batch.x[kept[1:5:2]])
    assert len(found[range(2, 2)]) == 0


def test_the_shortest_interval_of_weighted_values_is_that_of_copies() -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(1)).double() ** 3
    plain, none = shortest(values, 0.9)
    assert none is None
    same, _ = shortest(values, 0.9, torch.full((200,), 0.3).double() + 1e-13 * torch.arange(200))
    assert torch.equal(plain, same)
    weight = weights(200)
    doubled = weight * (1 + (torch.arange(200) % 2))
    copies = torch.arange(200).repeat_interleave(1 + torch.arange(200) % 2)
    first, second = peak(values, 0.9, doubled), peak(values[copies], 0.9, weight[copies])
    assert (first.mean, first.width) == pytest.approx((second.mean, second.width), rel=1e-9)
    assert first.mean_error > 1.02 * second.mean_error, "copies are more events"


def test_quantiles_and_moments_are_those_of_copies() -> None:
    values = torch.randn(300, 3, generator=torch.Generator().manual_seed(1)).double()
    counts = torch.randint(1, 5, (300,), generator=torch.Generator().manual_seed(2))
    copies = values.repeat_interleave(counts, 0)
    found = quantiles(values[:, 0], [0.1, 0.5, 0.77], counts.double())
    assert torch.equal(
        found, quantiles(copies[:, 0], [0.1, 0.5, 0.77], torch.ones(len(copies)).double())
    )
    expected = np.quantile(copies[:, 0].numpy(), [0.1, 0.5, 0.77], method="inverted_cdf")
    np.testing.assert_allclose(found, expected, atol=0.03)
    mean, covariance = moments(values, counts.double())
    np.testing.assert_allclose(mean, copies.mean(0), rtol=1e-9)
    np.testing.assert_allclose(covariance, np.cov(copies.numpy(), rowvar=False), rtol=0.01)


def test_neighbours_are_counted_so_that_figures_with_balls_take_no_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(200, 2, generator=generator) for _ in range(2))
    weight = weights(200)
    made, true = prdc(a, b, weights=(None, weight)), prdc(a, b, weights=(weight, None))
    assert [key for key, f in made.items() if math.isnan(f.value)] == ["recall"]
    assert sorted(k for k, f in true.items() if math.isnan(f.value)) == [
        "coverage",
        "density",
        "precision",
    ]
    with pytest.raises(NotRun, match="take no weights of both samples"):
        prdc(a, b, weights=(weight, weight))
    training = torch.randn(300, 2, generator=generator)
    found = memorisation(
        a.repeat(2, 1), b.repeat(2, 1), training, (weight.repeat(2), None, weights(300))
    )
    assert math.isnan(found["duplicates"].value)
    assert "takes no weights" in found["duplicates"].note
    copies = training.repeat_interleave(2, 0)
    doubled = (weights(300) * 2, weights(300).repeat_interleave(2))
    first, second = (
        memorisation(a.repeat(2, 1), b.repeat(2, 1), rows, (None, None, w))["share"].value
        for rows, w in ((training, doubled[0]), (copies, doubled[1]))
    )
    assert first == pytest.approx(second, rel=1e-12)


def test_distances_of_image_and_jet_features_weigh_their_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(400, 3, generator=generator).double() + 0.3 * i for i in range(2))
    counts = torch.where(b[:, 0] > 0.3, 3, 1)
    copies = b.repeat_interleave(counts, 0)
    plain, found, expected = (
        frechet_distance(a, b),
        frechet_distance(a, b, (None, counts.double())),
        frechet_distance(a, copies),
    )
    assert found == pytest.approx(expected, rel=0.02)
    assert plain != pytest.approx(expected, rel=0.2)
    found, plain = kernel_distance(a, b, 0, (None, counts.double())), kernel_distance(a, b)
    kept = b[torch.rand(400, generator=generator) < counts / 3]
    expected = kernel_distance(a, kept)
    assert found.value == pytest.approx(expected.value, rel=0.25)
    assert plain.value != pytest.approx(expected.value, rel=0.5)
    jets, net = toy_jets(JETS, 60, 1, 1).x, network()
    weight = torch.where(torch.arange(60) < 20, 2.0, 1.0).double()
    real = activations(toy_jets(JETS, 50, 2, 1).x, net)
    statistics = real.mean(0), np.cov(real, rowvar=False)
    copies = jets[torch.arange(60).repeat_interleave(weight.long())]
    first, second, plain = (
        fpnd(jets, net, *statistics, weight).value,
        fpnd(copies, net, *statistics).value,
        fpnd(jets, net, *statistics).value,
    )
    assert first == pytest.approx(second, rel=0.05)
    assert abs(first - second) < 0.5 * abs(plain - second)


def test_the_log_posterior_weighs_truth_and_samples() -> None:
    def normal(n: int, seed: int, mean: float = 0.0) -> Tensor:
        return torch.randn(n, 1, generator=torch.Generator().manual_seed(seed)) + mean

    samples = {"left": normal(2000, 0, -0.5), "right": normal(2000, 1, 0.5)}
    truth, score = (
        normal(2000, 2),
        partial(
            log_posterior,
            network=partial(dense, hidden=(32,)),
            recipe=Recipe(epochs=8, batch_size=200, learning_rate=3e-3),
        ),
    )
    tilted = torch.exp(truth[:, 0]).double()  # a normal distribution around 1
    found = score(samples, truth, reference_weight=tilted)
    expected = score(samples, normal(2000, 3, 1.0))
    for name in samples:
        assert found[name].value == pytest.approx(expected[name].value, abs=0.1)
    away = {"left": torch.exp(-samples["left"][:, 0]).double(), "right": None}  # around -1.5
    found = score(samples, truth, weights=away)
    expected = score({**samples, "left": normal(2000, 4, -1.5)}, truth)
    for name in samples:
        assert found[name].value == pytest.approx(expected[name].value, abs=0.15)


def test_scans_and_regions_compare_with_weighted_truth() -> None:
    base, field = seen(conditions(3000, 0), 1), ONE.conditions[0]
    ratio = base.x[:, 0] / base.cond["incident_energy"][:, 0]
    tilted = weighted(base, torch.exp((ratio - 1) / 0.1))  # the mean moves by one width
    grid = torch.tensor([2.0, 8.0, 32.0])

    def moved(asked: Conditions, seed: int) -> Batch:
        return seen(asked, seed, scale=1.1)

    plain, found = (
        scan(moved, judged(b, Seen(ONE)), field, grid, conditions(400, 5)).figures[
            "scan/incident_energy/deviation"
        ]
        for b in (base, tilted)
    )
    assert plain.value > 0.8
    assert found.value < 0.3
    regions = Regions(field.name, (1.0, 20.0), (), {"ratio": 0.1})
    other = seen(conditions(3000, 6), 7, scale=1.1)
    near, far = (regions(judged(b, Seen(ONE)), judged(other, Seen(ONE)), 0) for b in (tilted, base))
    key = "region/extrapolation/w1_mean"
    assert near[key].value < 0.5 * far[key].value


def test_bands_know_the_error_of_weighted_counts() -> None:
    counts = np.array([100.0, 50.0])
    few, many = (Band.counted([(counts, f * counts)] * 3) for f in (4.0, 1.0))
    np.testing.assert_allclose(few.error, 2 * many.error)


def test_anomalies_are_measured_among_weighted_usual_events() -> None:
    class Normal:
        given = ("incident_energy",)
        transform = types.SimpleNamespace(condition=lambda cond: None)

        def surprise(self, batch: Batch) -> Tensor:
            return batch.x[:, 0].double()

    batch, usual = events(20, 0), events(500, 1)
    counts = 1 + (usual.x[:, 0] > 0).long()
    copies = usual[torch.arange(500).repeat_interleave(counts)]
    found = anomaly_score(Normal(), batch, weighted(usual, counts))
    np.testing.assert_allclose(found, anomaly_score(Normal(), batch, copies), rtol=2e-3)
    assert not torch.allclose(found, anomaly_score(Normal(), batch, usual), rtol=0.05)
    none = Batch.cat([usual, weighted(events(50, 3), torch.zeros(50))])
    torch.testing.assert_close(
        anomaly_score(Normal(), batch, none), anomaly_score(Normal(), batch, usual)
    )


def test_conditions_of_weighted_files_are_compared_with_their_weights() -> None:
    asked = conditions(4000, 0)
    weight = asked.values["incident_energy"][:, 0]
    heavy = judged(weighted(seen(asked, 1), weight), Seen(ONE))
    kept = torch.rand(4000, generator=torch.Generator().manual_seed(1)) < weight / 100
    thinned = judged(seen(conditions(4000, 3)[torch.arange(4000)], 2), Seen(ONE))
    chosen = judged(seen(asked, 1)[kept.nonzero()[:, 0]], Seen(ONE))
    assert different_conditions(ONE, heavy, chosen)["incident_energy"] < 4
    assert different_conditions(ONE, heavy, thinned)["incident_energy"] > 10


def test_images_of_a_view_are_sums_over_weighted_events(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("jetnet30", "image")
    batch = module.batch(40, "train")
    counts = 1 + torch.arange(len(batch)) % 3
    copies = batch[torch.arange(len(batch)).repeat_interleave(counts)]
    observables = module.judged
    ((found, expected),) = (
        (image.values, observables.images(copies)[name].values)
        for name, image in observables.images(weighted(batch, counts)).items()
    )
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found, observables.images(batch)["jet"].values.to(found))


def test_every_image_of_a_weighted_event_has_its_weight() -> None:
    def pooled(images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images, 16).flatten(1)

    judge, weight = PxdObservables(SENSORS), weights(5)
    true, plain = judged(Files(6), judge), Files(5)[range(5)]
    made = judged(weighted(plain, weight), judge)
    found = ImageDistance(pooled, "pooled", images=14, size=32)(true, made, 0)
    features = [image_features(item.events, pooled, 14, 32) for item in (true, made)]
    rows = None, weight.repeat_interleave(3)[:14]
    assert found["fid/pooled"].value == pytest.approx(frechet_distance(*features, rows))
    assert found["kid/pooled"].value == pytest.approx(kernel_distance(*features, 0, rows).value)
