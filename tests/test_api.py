"""The package as a notebook uses it."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import simulacra
from simulacra import api
from simulacra.core import Batch, Conditions, UserError, batch
from simulacra.data.base import EventDataModule
from simulacra.metrics import samples
from simulacra.training import generative
from simulacra.training.checkpoint import build
from simulacra.training.generative import GenerativeModule
from support import composed, save, tiny

E = "incident_energy"


@pytest.fixture(scope="module")
def photons() -> EventDataModule:
    return simulacra.dataset("ds1_photons", limit=400)


@pytest.fixture(scope="module")
def folder(photons: EventDataModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of an untrained model."""
    place = tmp_path_factory.mktemp("notebook")
    config = tiny("caloinn")
    module = build(config, photons.spec).fit_transform(photons.fit_batches())
    module.record.trained_range = photons.trained_range()
    save(module, config, place, composed("data", "data=ds1_photons")).rename(place / "best.ckpt")
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> GenerativeModule:
    found = simulacra.load(folder / "best.ckpt")
    assert isinstance(found, GenerativeModule)
    return found


@pytest.mark.parametrize("module", [api, samples, batch, generative])
def test_every_example_runs(module: object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


def public() -> Iterator[tuple[str, object]]:
    for name in simulacra.__all__:
        if name not in ("__version__", "metrics", "UserError"):
            yield name, getattr(simulacra, name)
    for name in ("fpd", "kpd", "w1", "separation", "prdc", "boosted"):
        yield f"metrics.{name}", getattr(simulacra.metrics, name)
    for name in ("numpy", "save", "awkward"):
        yield f"Batch.{name}", getattr(Batch, name)
    yield "Conditions.of", Conditions.of
    yield "sample", GenerativeModule.sample


@pytest.mark.parametrize(("name", "item"), list(public()))
def test_every_public_function_has_an_example(name: str, item: object) -> None:
    if isinstance(item, type):
        assert any(
            ">>>" in (getattr(value, "__doc__", None) or "") for value in vars(item).values()
        )
    else:
        assert ">>>" in (item.__doc__ or ""), name


def test_the_package_itself_is_light() -> None:
    code = (
        "import sys, simulacra; simulacra.__version__; dir(simulacra); "
        "assert not {'torch', 'numpy', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    with pytest.raises(AttributeError, match="no attribute 'fdp'"):
        simulacra.fdp  # noqa: B018
    assert (Path(importlib.import_module("simulacra").__file__ or "").parent / "py.typed").is_file()


def test_a_data_set_takes_settings_as_keywords_and_as_on_the_command_line(tmp_path: Path) -> None:
    simulacra.dataset("ds2").write_toy(tmp_path, 12)
    data = simulacra.dataset(
        "ds2", ["data.eval_batch_size=3"], root=tmp_path, batch_size=5, view="cloud"
    )
    assert data.loading.batch_size == 5
    assert data.loading.eval_batch_size == 3
    assert data.spec.kind == "cloud"
    assert data.sizes()["test"] == 12


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: simulacra.dataset("ds1_photon"), "did you mean 'ds1_photons'"),
        (
            lambda: simulacra.dataset("ds1_photons", roots="/"),
            "does not take roots=.*did you mean 'root'",
        ),
        (lambda: simulacra.dataset("ds1_photons", ["roots=/"]), "roots"),
        (lambda: simulacra.dataset("ds1_photons", view="clouds"), "no view 'clouds'"),
        (lambda: simulacra.dataset("ds1_photons", batch_size=0), "batch_size must be .* from 1"),
        (lambda: simulacra.dataset(7), "there is no data set 7"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_data_set_is_one_sentence(asked: object, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        asked()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_the_same_seed_gives_the_same_events(model: GenerativeModule) -> None:
    first, again, other = (model.sample(20, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.cond[E], again.cond[E])
    assert not torch.equal(first.x, other.x)
    same = model.sample(20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(first.x, same.x)


@pytest.mark.parametrize(
    "energy",
    [
        [1024.0, 2048.0, 4096.0],
        [1024, 2048, 4096],
        (1024.0, 2048, 4096.0),
        np.array([1024, 2048, 4096], dtype=np.uint16),
        np.array([1024, 2048, 4096], dtype=">f8"),
        np.array([4096.0, 2048.0, 1024.0])[::-1],
        torch.tensor([1024.0, 2048.0, 4096.0]),
        torch.tensor([[1024], [2048], [4096]]),
    ],
)
def test_conditions_may_be_given_as_people_have_them(
    energy: object, model: GenerativeModule
) -> None:
    expected = torch.tensor([[1024.0], [2048.0], [4096.0]])
    for found in (
        model.sample(3, incident_energy=energy, seed=0),
        model.sample({E: energy}, seed=0),
        model.sample(Conditions.of({E: energy}), seed=0),
    ):
        assert torch.equal(found.cond[E], expected)
        assert found.cond[E].dtype == torch.float32


def test_one_condition_holds_for_all_events(model: GenerativeModule) -> None:
    for energy in (2048, 2048.0, np.float32(2048), np.array(2048), torch.tensor(2048)):
        found = model.sample(np.int64(4), incident_energy=energy, seed=0)
        assert found.cond[E][:, 0].tolist() == [2048.0] * 4
    assert len(model.sample({E: 2048.0})) == 1
    assert len(model.sample(1e1)) == 10  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("cond", "options", "said"),
    [
        (3, {"energy": 1.0}, "knows no condition 'energy': .*incident_energy"),
        (3, {"incident_enrgy": 1.0}, "did you mean 'incident_energy'"),
        (3, {E: [1.0, 2.0]}, r"'incident_energy' has the shape \(2,\): 3 events"),
        (3, {E: np.ones((3, 2))}, "1 components per event, got 2"),
        (3, {E: np.ones((3, 1, 1))}, "3 events take one value"),
        (3, {E: "high"}, "must be numbers, got str"),
        (3, {E: [1.0, None, 2.0]}, "must be numbers"),
        (3, {E: [[1.0], [2.0, 3.0]]}, "rows of equal length"),
        (3, {E: True}, "must be numbers, got bool"),
        (3, {E: 1j}, "must be numbers, got complex"),
        (3, {E: torch.tensor(1j)}, "must be numbers, got complex"),
        (3, {E: torch.ones(3).to_sparse()}, "must be numbers, got a tensor of layout sparse"),
        (3, {E: float("nan")}, "NaN"),
        (3, {E: [1.0, float("inf"), 1.0]}, "infinite"),
        (3, {E: 0.0}, "above 0"),
        (3, {E: np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])}, "masked"),
        ({E: 1.0}, {E: 1.0}, "given twice"),
        ({}, {}, r"the conditions lack \['incident_energy'\]"),
        ({E: []}, {}, "at least 1"),
        (0, {}, "at least 1, got 0"),
        (-3, {}, "at least 1, got -3"),
        (2.5, {}, "at least 1, got 2.5"),
        ("ten", {}, "at least 1, got 'ten'"),
        (True, {}, "at least 1, got True"),
        (None, {}, "at least 1, got NoneType"),
        (np.ones(3), {}, "at least 1, got ndarray"),
        (3, {"seed": 1.5}, "whole number"),
        (3, {"seed": -1}, "whole number"),
        (3, {"seed": 2**64}, "whole number"),
        (3, {"seed": "one"}, "whole number"),
        (3, {"seed": 1, "generator": torch.Generator()}, "not from both"),
        (3, {"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(
    cond: object, options: dict[str, object], said: str, model: GenerativeModule
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        model.sample(cond, **options)  # type: ignore[call-overload]
    assert "\n" not in str(caught.value)


def test_classes_have_names(tmp_path: Path) -> None:
    data = simulacra.dataset("jetnet30", root=tmp_path, classes=["q", "t"])
    data.write_toy(tmp_path, 40)
    name = next(field.name for field in data.spec.conditions if field.classes)
    module = build(tiny("epic_fm"), data.spec).fit_transform(data.fit_batches())
    assert isinstance(module, GenerativeModule)
    truth = data.batch(2).conditions(module.given).values
    others = {key: value[0].tolist() for key, value in truth.items() if key != name}
    others = {key: value[0] if len(value) == 1 else [value] * 2 for key, value in others.items()}
    for asked in (["t", "q"], [1, 0], [1.0, 0.0]):
        found = module.sample(2, **{name: asked}, **others, seed=0)
        assert {**found.cond, **found.event}[name][:, 0].tolist() == [1, 0]
    for wrong, said in (("u", "one of q, t, got 'u'"), (2, "from 0 to 1"), (0.5, "from 0 to 1")):
        with pytest.raises(UserError, match=said):
            module.sample(2, **{name: wrong}, **others)


def test_a_batch_is_arrays_by_name(photons: EventDataModule) -> None:
    events = photons.batch(3)
    arrays = events.numpy()
    assert set(arrays) == {"x", E}
    assert np.array_equal(arrays["x"], events.x.numpy())
    with pytest.raises(UserError, match=r"batch\.numpy\(\)"):
        np.asarray(events)
    with pytest.raises(UserError, match="'mask'"):
        Batch(events.x, {"mask": events.cond[E]}).numpy()


def test_clouds_are_jagged_arrays() -> None:
    awkward = pytest.importorskip("awkward")
    x = torch.arange(12.0).reshape(2, 3, 2) + 1
    mask = torch.tensor([[True, False, True], [False, False, False]])
    cloud = Batch(x * mask[..., None], mask=mask)
    assert cloud.awkward().tolist() == [[[1.0, 2.0], [5.0, 6.0]], []]
    named = cloud.awkward(["eta", "phi"])
    assert isinstance(named, awkward.Array)
    assert named.phi.tolist() == [[2.0, 6.0], []]
    with pytest.raises(UserError, match="2 features, got 1 names"):
        cloud.awkward(["eta"])
    with pytest.raises(UserError, match="no clouds"):
        Batch(x[:, 0]).awkward()


def test_a_batch_is_saved_in_a_public_format(photons: EventDataModule, tmp_path: Path) -> None:
    events = photons.batch(7)
    events.save(tmp_path / "events.hdf5", format=photons.format)
    again = photons.format.read(tmp_path / "events.hdf5")
    assert torch.equal(again.x, events.x)
    with pytest.raises(UserError, match=r"simulacra\.dataset\('ds1_photons'\)\.format"):
        events.save(tmp_path / "events.hdf5", format="ds1_photons")  # type: ignore[arg-type]


def test_an_evaluation_in_memory_is_that_of_the_command(
    photons: EventDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulacra.cli.evaluate import evaluate
    from simulacra.evaluation.config import compose

    truth, made = photons.batch(100, "test"), photons.batch(90)
    for name, events in (("truth", truth), ("made", made)):
        events.save(tmp_path / f"{name}.hdf5", format=photons.format)
    files = tmp_path / "truth.hdf5", tmp_path / "made.hdf5"
    options = {"evaluation": "quick", "seed": 3, "overrides": ["evaluation.replicas=5"]}
    asked = ["evaluation=quick", "evaluation.replicas=5", "evaluation.draw=false", "seed=3"]
    places = [f"reference={files[0]}", f"generated={files[1]}", f"output={tmp_path / 'out'}"]
    expected = evaluate(compose("evaluate", ["data=ds1_photons", *places, *asked]))
    for pair in (files, (truth.numpy(), made)):
        found = simulacra.evaluate(*pair, "ds1_photons", **options)
        assert found.metrics.items() <= expected.items()
        assert set(expected) - set(found.metrics) == {"test/events"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: {"x": a["x"]}, r"generated needs arrays .* missing are \['incident_energy'\]"),
        (lambda a: {**a, "energy": a["x"]}, r"unknown are \['energy'\]"),
        (lambda a: {**a, "x": a["x"][:, :-1]}, "generated: .*shape"),
        (lambda a: {**a, "x": a["x"] * np.nan}, "generated: .*NaN"),
        (lambda a: {**a, E: a[E][:-1]}, r"has the shape \(19, 1\): 20 events"),
        (lambda a: {**a, "x": a["x"].astype(str)}, "must be numbers"),
        (lambda a: a["x"], "mapping of arrays named x, incident_energy"),
        (lambda a: "gone.hdf5", "gone.hdf5"),
        (lambda a: {key: value[:0] for key, value in a.items()}, "holds no events"),
        (lambda a: {key: value[:1] for key, value in a.items()}, "needs at least two events"),
        (lambda a: None, "one of them is None"),
    ],
)
def test_what_cannot_be_judged_is_one_sentence(
    change: object, said: str, photons: EventDataModule
) -> None:
    truth = photons.batch(20, "test")
    with pytest.raises(UserError, match=said) as caught:
        simulacra.evaluate(truth, change(truth.numpy()), photons, evaluation="quick")  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="data is the name of a data set"):
        simulacra.evaluate(truth, truth, truth)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="quik"):
        simulacra.evaluate(truth, truth, photons, evaluation="quik")


def test_parts_and_checkpoints_that_are_none_are_one_sentence(photons: EventDataModule) -> None:
    with pytest.raises(UserError, match="has the parts train, val, test, and no 'tset'"):
        photons.batch(3, "tset")
    with pytest.raises(UserError, match="a checkpoint is the path of a file, got NoneType"):
        simulacra.load(None)  # type: ignore[arg-type]
