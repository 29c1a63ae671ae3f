"""The network classifiers: areas of known likelihood ratios, published layers, splits and inputs."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from simulacra.core import UserError
from simulacra.metrics.classifiers import inputs
from simulacra.metrics.classifiers import recipe as training
from simulacra.metrics.classifiers.inputs import FileRows, stored
from simulacra.metrics.classifiers.networks import NetworkScore, dense, network_test
from simulacra.metrics.classifiers.recipe import (
    Part,
    Recipe,
    Standardise,
    fit,
    outputs,
    sizes,
    split,
)
from simulacra.metrics.engine.score import NotRun, judged
from simulacra.nn.resnet import ConvNet3d, ResNet3d

SMALL = partial(dense, hidden=(32, 32))
QUICK = Recipe(epochs=8, batch_size=200, learning_rate=3e-3)
SPLIT = (3, 1, 1)


def normal(n: int, seed: int, shift: float = 0.0, features: int = 2) -> torch.Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed)) + shift


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def divergence(distance: float) -> float:
    """Jensen-Shannon divergence of two unit normals in bits, by numerical integration."""
    z = np.linspace(-8, 8 + distance, 20001)
    p, q = (np.exp(-((z - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0, distance))
    return np.trapezoid(p * np.log2(2 * p / (p + q)) + q * np.log2(2 * q / (p + q)), z) / 2


def test_network_reaches_the_area_of_the_likelihood_ratio() -> None:
    """Two unit normals at a distance of sqrt 2: Phi(d / sqrt 2) is the best area."""
    found = network_test(
        normal(3000, 0), normal(3000, 1, 1.0), SPLIT, seed=1, network=SMALL, recipe=QUICK
    )
    auc, jsd = found
    best = 0.5 * (1 + math.erf(math.sqrt(2) / 2))
    assert abs(auc.value - best) < 3 * (auc.error or 0) < 0.06
    assert abs(jsd.value - divergence(math.sqrt(2))) < 3 * (jsd.error or 0) < 0.15


def test_one_normal_against_a_shifted_one_in_one_dimension() -> None:
    pair = normal(2500, 0, features=1), normal(2500, 1, 1.0, features=1)
    auc, _ = network_test(*pair, SPLIT, seed=1, network=SMALL, recipe=QUICK)
    assert auc.value == pytest.approx(0.5 * (1 + math.erf(0.5)), abs=3 * (auc.error or 0))


def test_network_finds_nothing_in_equal_samples_and_is_repeatable() -> None:
    call = partial(
        network_test, normal(1500, 0), normal(1500, 1), SPLIT, network=SMALL, recipe=QUICK
    )
    auc, jsd = call(trainings=3, seed=1)
    assert auc.value == pytest.approx(0.5, abs=0.06)
    assert jsd.value < 0.02
    assert (auc.error or 0) > 0
    assert call(trainings=3, seed=1) == (auc, jsd)
    each = [call(seed=1 + number)[0] for number in range(3)]
    values, single = [figure.value for figure in each], np.mean([f.error**2 for f in each])
    assert auc.value == pytest.approx(np.mean(values))
    spread = auc.details["spread"]
    assert spread == pytest.approx(np.std(values, ddof=1))
    own = single / (1 + 300 / 1200)  # of the report part alone
    assert auc.error == pytest.approx(np.sqrt(max(own, spread**2) / 3 + own * 300 / 1200))


def test_the_error_of_several_trainings_is_the_spread_between_independent_samples() -> None:
    """The deviation over two trainings is 0 now and then."""
    recipe = Recipe(epochs=2, batch_size=200, learning_rate=3e-3)
    found = [
        network_test(
            normal(200, 2 * i), normal(200, 2 * i + 1), SPLIT, 2, network=SMALL, recipe=recipe
        )[0]
        for i in range(24)
    ]
    pulls = [(figure.value - 0.5) / (figure.error or 0) for figure in found]
    assert 0.4 < np.std(pulls) < 1.3
    published = [(figure.value - 0.5) / figure.details["spread"] for figure in found]
    assert np.std(published) > 1.5


def test_calibration_mends_outputs_that_are_too_sure_of_themselves() -> None:
    """Ten times the logit of the likelihood ratio, x - 1/2, orders events as well but overstates it."""

    def sure(_: int) -> nn.Module:
        layer = nn.Linear(1, 1)
        nn.init.constant_(layer.weight, 10.0)
        nn.init.constant_(layer.bias, -5.0)
        return layer

    pair = normal(4000, 1, 1.0, features=1), normal(4000, 0, features=1)
    recipe = Recipe(epochs=0)
    raw, mended = (
        network_test(*pair, SPLIT, network=sure, recipe=replace(recipe, calibrate=on))
        for on in (False, True)
    )
    assert raw[1].value < -1
    assert mended[1].value == pytest.approx(divergence(1.0), abs=3 * (mended[1].error or 0))
    assert mended[0].value == pytest.approx(raw[0].value, abs=0.01)


def test_the_epoch_with_the_best_accuracy_is_kept() -> None:
    """A network that answers the reverse from its third step on, at one step per epoch."""

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0))
            self.seen = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen += self.training
            return (x[:, :1] * self.weight - 0.5) * (1 if self.seen < 3 else -1)

    train, select, _ = split([normal(400, 0), normal(400, 1, 1.0)], SPLIT, rng())

    def weight(epochs: int, chosen: bool) -> float:
        network = Forgetful()
        fit(network, train, select, Recipe(epochs, 1000, 0.1, select=chosen), rng())
        return float(network.weight.detach())

    assert weight(5, True) in (weight(1, False), weight(2, False))
    assert weight(5, True) != weight(5, False)


def test_official_files_are_split_as_published() -> None:
    assert sizes(121_000, (80_000, 20_000, 21_000)) == (80_000, 20_000, 21_000)
    assert sizes(120_800, (80_000, 20_000, 20_800)) == (80_000, 20_000, 20_800)
    assert sizes(100_000, (60_000, 20_000, 20_000)) == (60_000, 20_000, 20_000)
    assert sizes(10_000, (8, 0, 2)) == (8000, 0, 2000)
    with pytest.raises(UserError, match="cannot be split"):
        sizes(4, (8, 1, 1))


def test_parts_hold_every_event_once_and_folds_report_on_all() -> None:
    classes = [torch.arange(50.0)[:, None], torch.arange(100.0, 170.0)[:, None]]
    parts = split(classes, SPLIT, rng())
    seen = torch.cat(
        [part.batch(torch.arange(len(part)), torch.device("cpu"))[0] for part in parts]
    )
    assert sorted(seen[:, 0].tolist()) == [*range(50), *range(100, 170)]
    reports = []
    for fold in range(10):
        _, select, report = split(classes, (8, 1, 1), rng(), turn=fold / 10)
        following = split(classes, (8, 1, 1), rng(), turn=(fold + 1) / 10)[1]
        assert following.row.tolist() == report.row.tolist()
        assert set(select.row[select.label == 0].tolist()).isdisjoint(
            report.row[report.label == 0].tolist()
        )
        reports += report.row[report.label == 1].tolist()
    assert sorted(reports) == list(range(70))


def test_labels_follow_their_inputs() -> None:
    classes = [torch.full((9, 1), float(k)) for k in range(3)]
    part, _, _ = split(classes, (1, 0, 0), rng())
    chosen = torch.randperm(27, generator=rng(1))[:20]
    values, labels, weight = part.batch(chosen, torch.device("cpu"))
    assert values[:, 0].tolist() == labels.tolist()
    assert weight is None
    assert values.dtype == torch.float64


def test_standardised_inputs_come_from_the_training_part() -> None:
    values = 5 + 3 * normal(2500, 0)
    part = Part([values], torch.zeros(2500, dtype=torch.int64), torch.arange(2500))
    scaled = Standardise.of(part)(values.double())
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(scaled.std(0, unbiased=False), torch.ones(2).double())
    network = fit(SMALL(2), part, part, Recipe(epochs=0, standardise=True), rng())
    assert isinstance(network[0], Standardise)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_published_networks_have_the_published_layers() -> None:
    assert count(dense(534)) == 534 * 2048 + 2 * 2048 * 2048 + 3 * 2048 + 2048 + 1
    found = ResNet3d(6481, image=(45, 16, 9))
    norms = sum(2 * c for c in [32] * 5 + [64] * 10 + [128] * 5) + 2
    first = 32 * 7**3 + 27 * 4 * 32 * 32
    stages = 27 * (32 * 64 + 3 * 64 * 64) + 27 * 4 * 64 * 64 + 27 * (64 * 128 + 3 * 128 * 128)
    shortcuts = 32 * 64 + 64 * 64 + 64 * 128
    assert count(found) == first + stages + shortcuts + norms + 130
    ild = ConvNet3d(27001, image=(30, 30, 30))
    convolutions = 16 * 125 + 16 + 3 * (16 * 16 * 27 + 16)
    assert count(ild) == convolutions + 129 * 128 + 128 + 128 * 64 + 64 + 64 * 32 + 32 + 33


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (partial(ResNet3d, planes=(4, 4, 4, 4)), (9, 8, 5)),
        (partial(ConvNet3d, channels=2), (14, 14, 14)),
    ],
)
def test_image_networks_see_every_input_and_refuse_others(network, shape) -> None:  # type: ignore[no-untyped-def]
    cells = math.prod(shape)
    torch.manual_seed(0)
    built = network(cells + 1, image=shape).double()
    x = torch.rand(6, cells + 1, dtype=torch.float64, requires_grad=True)
    built(x).square().sum().backward()
    assert x.grad is not None
    assert float((x.grad[:, 0].abs() > 0).double().mean()) == 1
    assert float((x.grad[:, 1:].abs().sum(0) > 0).double().mean()) > 0.9
    with pytest.raises(UserError, match=r"shape \(9, 9, 9\)"):
        ResNet3d(cells, image=(9, 9, 9))
    with pytest.raises(UserError, match="each side needs 14 cells"):
        ConvNet3d(1001, image=(10, 10, 10))


def test_a_resnet_finds_the_layer_that_is_wrong() -> None:
    def showers(seed: int, wrong: bool) -> torch.Tensor:
        x = torch.rand(240, 8, 8, 8, generator=rng(seed))
        x[:, 4] *= 3.0 if wrong else 1.0
        return torch.cat([torch.rand(240, 1, generator=rng(seed)), x.flatten(1)], dim=1)

    network = partial(ResNet3d, image=(8, 8, 8), planes=(4, 4, 4, 4))
    recipe = Recipe(epochs=5, batch_size=48, learning_rate=5e-3)
    auc, _ = network_test(
        showers(0, False), showers(1, True), SPLIT, network=network, recipe=recipe
    )
    assert auc.value > 0.9


def test_rows_of_a_file_are_those_of_the_tensor(toy, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    module = toy("ds1_photons")
    batch, observables = module.batch(30, "train"), module.observables
    whole = stored(batch, observables.cells)
    torch.testing.assert_close(whole, observables.cells(batch).float())
    monkeypatch.setattr(inputs, "IN_MEMORY", 1000)
    monkeypatch.setattr(inputs, "CHUNK_VALUES", 4000)
    kept = stored(batch, observables.cells)
    assert isinstance(kept, FileRows)
    assert len(kept) == len(batch)
    index = torch.tensor([7, 0, 29, 7])
    assert torch.equal(kept[index], whole[index])
    assert kept[torch.arange(0)].shape == (0, whole.shape[1])


def test_normed_and_plain_cells_of_showers(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("ds1_photons")
    batch = module.batch(20, "train")
    batch.x[:, 3] = 0.4 * module.spec.cut
    sample = judged(batch, module.observables)
    showers, incident = batch.x.double().numpy(), batch.cond["incident_energy"].double().numpy()
    cut = np.where(showers < module.spec.cut, 0, showers)
    ends = np.cumsum([0, *module.spec.geometry.sizes])
    layers = [slice(a, b) for a, b in pairwise(ends)]
    energy = np.stack([cut[:, part].sum(1) for part in layers], axis=1)
    shares = [showers[:, part] / (energy[:, [i]] + 1e-16) for i, part in enumerate(layers)]
    expected = np.concatenate([np.log10(incident), *shares, np.log10(energy + 1e-8)], axis=1)
    everything = torch.arange(len(batch))
    assert expected.shape[1] == 1 + 368 + 5
    np.testing.assert_allclose(inputs.low_normed(sample)[everything].numpy(), expected, rtol=2e-6)
    low = np.concatenate([np.log10(incident), cut / incident], axis=1)
    np.testing.assert_allclose(inputs.low(sample)[everything].numpy(), low, rtol=2e-6)
    plain = np.concatenate([incident, cut], axis=1)
    np.testing.assert_allclose(inputs.cells(sample)[everything].numpy(), plain, rtol=2e-6)


def test_observables_as_inputs(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("ild_10x10")
    batch = module.batch(20, "train")
    sample = judged(batch, module.observables)
    assert inputs.observables(sample, ["e_tot", "n_hit"]).shape == (len(batch), 2)
    found = inputs.observables(sample, ["e_tot", "n_hit"], ["m2_z"], asked=True)
    expected = module.observables(batch)
    assert found.shape == (len(batch), 4)
    torch.testing.assert_close(found[:, 1], expected["n_hit"].double())
    torch.testing.assert_close(found[:, 2], expected["m2_z"].sqrt().nan_to_num())
    torch.testing.assert_close(found[:, 3], module.observables.incident(batch))


def test_score_needs_10000_events_or_force_and_is_labelled(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("ds1_photons")
    pair = [judged(module.batch(30, part), module.observables) for part in ("train", "test")]
    score = NetworkScore("low", inputs.low, network=SMALL, recipe=Recipe(epochs=1))
    with pytest.raises(NotRun, match="too few events"):
        score(*pair, 0)
    for source in (inputs.low, inputs.high, inputs.low_normed):
        found = replace(score, inputs=source, force=True)(*pair, 0)
        assert set(found) == {"classifier/low/auc", "classifier/low/jsd"}
        assert all(figure.note == "too few events" for figure in found.values())
        assert [figure.floor for figure in found.values()] == [0.5, 0.0]
        assert 0 <= found["classifier/low/auc"].value <= 1


def test_a_last_batch_of_one_event_is_no_problem() -> None:
    part = split([normal(21, 0), normal(20, 1)], (1, 0, 0), rng())[0]
    network = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    fit(network, part, part, Recipe(epochs=1, batch_size=10), rng())
    assert outputs(network, part)[0].shape == (41, 1)
    assert training.accuracy(torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 1])) == 0.5
