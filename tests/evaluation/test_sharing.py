"""Light checkpoints of finished runs, their cards, and the members of the zoo that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import simulacra
from simulacra.cli.export import place
from simulacra.cli.publish import publish
from simulacra.cli.sample import sample
from simulacra.core import UserError
from simulacra.data import build as build_data
from simulacra.evaluation import sharing
from simulacra.evaluation.card import card
from simulacra.evaluation.checkpoints import data_of, provenance
from simulacra.evaluation.config import choices, compose, folder
from simulacra.training import zoo
from simulacra.training.checkpoint import build, read
from support import composed, config_names, save, tiny
from toy_runs import QUALITY, write_run

HERE = "/home/somebody/secret"
EACH, ALL = 12e6, 35e6
"""Bytes of one member of the zoo, and of all, at most."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, whose checkpoint has all that training keeps and folders of its machine."""
    whole = tmp_path_factory.mktemp("runs") / "run"
    overrides = ["experiment=toy", f"data.root={HERE}/events", "hydra.verbose=true", "seed=3"]
    write_run(whole, data="ds1_photons", model="caloinn", overrides=overrides)
    data = composed("data", "data=ds1_photons")
    events = build_data(data)
    torch.manual_seed(0)
    module = build(tiny("caloinn"), events.spec).fit_transform(events.fit_batches())
    module.record.trained_range = events.trained_range()
    module.record.conditions = events.trained_conditions(module.given)
    module.record.provenance = {
        **events.provenance,
        "command": f"simulacra train data.root={HERE}/x",
    }
    data = {**data, "root": f"{HERE}/events", "files": {**data["files"], "train": [f"{HERE}/a.h5"]}}
    (whole / "checkpoints").mkdir()
    path = save(module, tiny("caloinn"), whole / "checkpoints", data)
    contents = {**torch.load(path, weights_only=True), "global_step": 17}
    for name in ("current_model_state", "averaging_state"):
        contents[name] = {key: value + 0 for key, value in contents["state_dict"].items()}
    contents["optimizer_states"] = [{"state": {0: torch.zeros(1000)}}]
    contents["simulacra"]["config"]["paths"] = {"outputs": HERE, "run": f"{HERE}/run"}
    torch.save(contents, whole / "checkpoints" / "best.ckpt")
    path.unlink()
    return whole


@pytest.fixture
def shared(run: Path, tmp_path: Path) -> Path:
    return Path(publish(asked(run, tmp_path))["checkpoint"])


def asked(run: Path, output: Path, *more: str) -> Any:
    return compose("publish", [f"run={run}", f"output={output}", *more])


def test_a_light_checkpoint_is_all_that_sampling_needs(run: Path, shared: Path) -> None:
    heavy, light = run / "checkpoints" / "best.ckpt", shared
    contents = torch.load(light, weights_only=True)
    assert set(contents) == {"state_dict", "simulacra", "shared"}
    assert light.stat().st_size < heavy.stat().st_size / 2
    first, second = (simulacra.load(path).sample(6, seed=4) for path in (heavy, light))
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.cond["incident_energy"], second.cond["incident_energy"])
    assert data_of(simulacra.load(light), {"checkpoint": str(light), "allow": []}).batch(
        2
    ).x.shape == (2, 368)


def test_nothing_of_the_machine_is_shared(shared: Path) -> None:
    page = shared.with_suffix(".md").read_text()
    assert HERE.encode() not in shared.read_bytes()
    assert b"secret" not in shared.read_bytes()
    assert HERE not in page
    assert "simulacra train experiment=toy data.root=events seed=3" in page
    assert "hydra" not in page.split("```bash")[2]


def test_the_same_run_gives_the_same_bytes(run: Path, shared: Path, tmp_path: Path) -> None:
    again = Path(publish(asked(run, tmp_path / "again"))["checkpoint"])
    assert again.read_bytes() == shared.read_bytes()


def test_the_card_says_what_the_run_found(shared: Path) -> None:
    page = shared.with_suffix(".md").read_text()
    assert page == card(shared, shared.name)
    assert "| AUC boosted | 0.647 ± 0.011 | 0.501 |" in page
    assert "| FPD | 0.00390 ± 0.00020 | 0.0012 |" in page
    assert f"on {QUALITY['test/events']:,.0f} generated events" in page
    assert "separation" not in page
    assert "17 steps" in page
    assert "embedded sample" in page
    assert "not stated" in page


def test_a_card_of_another_kind_of_checkpoint_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match="no light checkpoint"):
        card(run / "checkpoints" / "best.ckpt", "x")


def test_what_is_there_stays_unless_it_may_be_replaced(run: Path, shared: Path) -> None:
    before = shared.read_bytes()
    with pytest.raises(UserError, match="is there already"):
        publish(asked(run, shared.parent, "licence=MIT"))
    assert shared.read_bytes() == before
    words = "events=showers of a test beam"
    publish(asked(run, shared.parent, "licence=MIT", words, "overwrite=true"))
    page = shared.with_suffix(".md").read_text()
    assert "weights: MIT" in page
    assert "`ds1_photons`, showers of a test beam." in page


@pytest.mark.parametrize("name", ["../up", "a/b", "", "A", ".hidden"])
def test_a_name_is_no_path(run: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is called like"):
        sharing.share(run, name)


def test_a_run_that_is_not_finished_is_refused_in_one_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no metrics\.json"):
        sharing.share(tmp_path)
    write_run(tmp_path / "early")
    with pytest.raises(UserError, match=r"no checkpoints/best\.ckpt"):
        sharing.share(tmp_path / "early")


def test_damage_to_what_is_shared_is_found(shared: Path) -> None:
    contents = read(shared)
    contents["shared"]["figures"]["w1_mean"] = {"value": "small"}
    with pytest.raises(UserError, match="entry 'shared'"):
        sharing.shared(contents, "it")


@pytest.fixture
def stocked(shared: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a member of a zoo that has no other."""
    monkeypatch.setattr(zoo, "folder", lambda: shared.parent)
    return f"zoo:{shared.stem}"


def test_commands_take_a_member_of_the_zoo_by_its_name(stocked: str, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    sample(compose("sample", [f"checkpoint={stocked}", "n=3", f"output={output}"]))
    assert simulacra.dataset("ds1_photons").format.header(output).n == 3
    told = provenance({"checkpoint": stocked})
    assert told["simulacra_checkpoint"] == stocked
    assert len(str(told["simulacra_checkpoint_sha256"])) == 64
    config = {"checkpoint": stocked, "output": None, "contract": "plain", "format": "onnx"}
    assert place(config) == Path("caloinn-ds1_photons_plain_onnx")


def test_a_name_that_the_zoo_lacks_is_answered_with_the_nearest(stocked: str) -> None:
    with pytest.raises(UserError, match="did you mean zoo:caloinn-ds1_photons"):
        simulacra.load("zoo:caloinn-ds1_photon")
    with pytest.raises(UserError, match="it has caloinn-ds1_photons"):
        simulacra.load("zoo:nothing")


def test_the_sweep_of_the_zoo_names_experiments_that_exist() -> None:
    found = OmegaConf.load(folder("sweeps") / "zoo.yaml").hydra.sweeper.params.experiment.split(",")
    assert set(found) <= set(config_names("experiment"))
    for name in found:
        module = build(
            composed("model", f"experiment={name}"),
            build_data(composed("data", f"experiment={name}")).spec,
        )
        size = sum(value.numel() * value.element_size() for value in module.state_dict().values())
        assert size < EACH, name


def test_the_zoo_is_small() -> None:
    sizes = [(zoo.folder() / f"{name}.ckpt").stat().st_size for name in zoo.members()]
    assert 0 < sum(sizes) <= ALL


@pytest.mark.parametrize("name", zoo.members())
def test_every_member_of_the_zoo_samples_and_has_its_card(name: str) -> None:
    path = zoo.located(f"zoo:{name}")
    assert path.stat().st_size <= EACH
    assert path.with_suffix(".md").read_text() == card(path, f"zoo:{name}")
    contents = read(path)
    told = sharing.shared(contents, name)
    assert told is not None
    assert told.name == name
    assert told.experiment in choices("experiment")
    assert "classifier/boosted/auc" in told.figures
    assert told.licence
    assert "optimizer_states" not in contents
    embedded = contents["simulacra"]["provenance"]["source"] == "embedded sample"
    assert embedded or told.origin, "its card does not say what it learnt from"
    module = simulacra.load(f"zoo:{name}")
    batch = module.sample(3, seed=1)
    module.spec.validate(batch)
    data_of(module, {"checkpoint": name, "allow": []})
