"""Rows that were learnt from are refused; folds weigh what they have not seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml

from simulacra.core import Batch, IncompatibleError, UserError
from simulacra.core.pair import FIRST, SECOND, of_sample
from simulacra.core.rows import folds_of, row_hashes
from simulacra.data.base import Loading
from simulacra.data.pair import PairDataModule
from simulacra.data.toy_samples import ToyGaussians, ToyJets
from simulacra.data.toys import ToyData
from simulacra.tasks import folds
from simulacra.tasks.dctrgan import DCTRGAN
from simulacra.tasks.folds import CrossFitted, Ensemble
from simulacra.training import checkpoint
from support import save, tiny

CONFIG = {"name": "pair"}


def jets(seed: int, n: int = 600) -> ToyData:
    return ToyData("toy", ToyJets(seed=seed), {"train": n, "test": 300}, Loading(64))


def pair(**options: int) -> PairDataModule:
    return PairDataModule(jets(0), jets(1), Loading(64), **options)


def trained(events: PairDataModule) -> DCTRGAN:
    """One epoch."""
    torch.manual_seed(0)
    module = checkpoint.build(tiny("dctrgan"), events.spec)
    assert isinstance(module, DCTRGAN)
    module.fit_transform(events.fit_batches())
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=events)
    return module


@pytest.fixture(scope="module")
def module() -> DCTRGAN:
    return trained(pair())


def test_rows_of_training_and_validation_are_refused_and_others_are_not(module: DCTRGAN) -> None:
    events = pair()
    for part in ("train", "val"):
        for number in (FIRST, SECOND):
            batch = of_sample(events.batch(10_000, part), number)
            for call in (module.weights, module.applied):
                wanted = (
                    f"{len(batch)} of {len(batch)} events are among those that this DCTRGAN was"
                )
                with pytest.raises(UserError, match=wanted) as error:
                    call(batch)
            assert "data.folds=5" in str(error.value)
            assert "\n" not in str(error.value)
        with pytest.raises(UserError, match="was trained on"):
            module.judged(events.batch(10_000, part))
    fresh = events.batch(10_000, "test")
    assert len(module.judged(fresh)) == 300
    one = Batch.cat([of_sample(fresh, SECOND), of_sample(events.batch(2), SECOND)])
    with pytest.raises(UserError, match=f"1 of {len(one)} events"):
        module.weights(one)


def test_other_weights_of_an_event_do_not_hide_it(module: DCTRGAN) -> None:
    batch = of_sample(pair().batch(50), FIRST)
    with pytest.raises(UserError, match="was trained on"):
        module.weights(replace(batch, weight=torch.rand(len(batch))))


def test_a_checkpoint_remembers_what_was_learnt(module: DCTRGAN, tmp_path: Path) -> None:
    loaded = checkpoint.load(save(module, tiny("dctrgan"), tmp_path, CONFIG))
    assert isinstance(loaded, DCTRGAN)
    assert set(loaded.record.learnt) == {"first", "second"}
    assert all(len(rows) == 600 for rows in loaded.record.learnt.values())
    events = pair()
    with pytest.raises(UserError, match="was trained on"):
        loaded.weights(of_sample(events.batch(50), SECOND))
    fresh = of_sample(events.batch(300, "test"), SECOND)
    assert torch.equal(loaded.weights(fresh), module.weights(fresh))


@pytest.mark.parametrize(
    "rows", [[1], torch.zeros(3), torch.tensor([2, 1]), torch.zeros(1, 1).long()]
)
def test_what_is_no_list_of_hashes_is_refused(
    rows: object, module: DCTRGAN, tmp_path: Path
) -> None:
    path = save(module, tiny("dctrgan"), tmp_path, CONFIG)
    contents = torch.load(path, weights_only=True)
    contents["simulacra"]["learnt"] = {"first": rows}
    torch.save(contents, path)
    with pytest.raises(UserError, match="holds no sorted hashes"):
        checkpoint.load(path)


def test_a_limit_leaves_the_other_rows_free() -> None:
    events = PairDataModule(jets(0), jets(1), Loading(64, limit=100))
    assert {name: len(rows) for name, rows in events.learnt().items()} == {
        "first": 50 + 60,
        "second": 50 + 60,
    }


def test_folds_part_all_rows_by_their_values() -> None:
    whole, parts = pair(), [pair(folds=3, fold=number) for number in range(3)]
    for name in ("train", "val"):
        every = row_hashes(whole.batch(10_000, name), ("label",))
        seen = [row_hashes(part.batch(10_000, name), ("label",)) for part in parts]
        for number, rows in enumerate(seen):
            assert set(rows.tolist()) == set(every[folds_of(every, 3) != number].tolist())
    assert all(len(part.batch(10_000, "test")) == 600 for part in parts)


@pytest.mark.parametrize("options", [{"folds": 5}, {"fold": 0}, {"folds": 3, "fold": 3}])
def test_a_fold_that_there_is_not_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"data\.folds=5 data\.fold=0"):
        pair(**options)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of three folds, a second training of the first, and lists of them."""
    folder = tmp_path_factory.mktemp("folds")
    for number in range(3):
        module = trained(pair(folds=3, fold=number))
        for name in ("", "again") if number == 0 else ("",):
            config = {**CONFIG, "folds": 3, "fold": number}
            path = save(module, tiny("dctrgan"), folder, config)
            path.rename(folder / f"{number}{name}.ckpt")
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.mul_(1.1)
    lists = {
        "folds": {"folds": ["0.ckpt", "1.ckpt", "2.ckpt"]},
        "both": {"folds": [["0.ckpt", "0again.ckpt"], "1.ckpt", "2.ckpt"]},
        "ensemble": {"ensemble": ["0.ckpt", "0again.ckpt"]},
        "swapped": {"folds": ["1.ckpt", "0.ckpt", "2.ckpt"]},
        "few": {"folds": ["0.ckpt", "1.ckpt"]},
        "one": {"folds": ["0.ckpt"]},
        "more": {"folds": ["0.ckpt", "1.ckpt"], "ensemble": ["0.ckpt"]},
        "numbers": {"folds": [0, 1]},
    }
    for name, contents in lists.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(contents))
    return folder


def test_each_row_gets_its_weight_from_the_training_that_has_not_seen_it(files: Path) -> None:
    joined = folds.load(files / "folds.yaml")
    assert isinstance(joined, CrossFitted)
    events = pair()
    batch = of_sample(events.batch(10_000), SECOND)  # all of them were learnt from by two of three
    fold = folds_of(row_hashes(batch), 3)
    found = joined.weights(batch)
    for number in range(3):
        member = checkpoint.load(files / f"{number}.ckpt")
        own = fold == number
        torch.testing.assert_close(found[own], member.weights(batch[own.nonzero()[:, 0]]))
        with pytest.raises(UserError, match="was trained on"):
            member.weights(batch[(~own).nonzero()[:, 0]])
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(joined.applied(batch[order]).weight, found[order])
    assert len(joined.judged(events.batch(200))) == 100


def test_an_ensemble_weighs_with_the_geometric_mean(files: Path) -> None:
    one, two = (checkpoint.load(files / f"{name}.ckpt") for name in ("0", "0again"))
    joined = folds.load(files / "ensemble.yaml")
    assert isinstance(joined, Ensemble)
    events = pair()
    batch = of_sample(events.batch(300, "test"), SECOND)
    expected = (one.weights(batch) * two.weights(batch)).sqrt()
    torch.testing.assert_close(joined.weights(batch), expected)
    with pytest.raises(UserError, match="was trained on"):
        joined.weights(of_sample(events.batch(100), SECOND))
    both = folds.load(files / "both.yaml")
    rows = of_sample(events.batch(10_000), SECOND)
    rows = rows[(folds_of(row_hashes(rows), 3) == 0).nonzero()[:, 0]]
    torch.testing.assert_close(both.weights(rows), joined.ratio(rows))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("swapped", r"number 0 of 3 folds was trained with data.folds=3 data.fold=1"),
        ("few", r"number 0 of 2 folds was trained with data.folds=3 data.fold=0"),
        ("one", "two or more checkpoints"),
        ("more", "needs one entry"),
        ("numbers", "needs one entry"),
    ],
)
def test_checkpoints_that_do_not_belong_together_are_refused(
    name: str, message: str, files: Path
) -> None:
    with pytest.raises(UserError, match=message) as error:
        folds.load(files / f"{name}.yaml")
    assert "\n" not in str(error.value)


def test_reweighters_of_other_events_make_no_ensemble(module: DCTRGAN) -> None:
    with pytest.raises(IncompatibleError, match="trainings on the same events"):
        Ensemble([module, _of_other_events()])


def _of_other_events() -> DCTRGAN:
    sides = [
        ToyData("g", ToyGaussians(seed=k), {"train": 20, "test": 5}, Loading(8)) for k in (0, 1)
    ]
    found = checkpoint.build(tiny("dctrgan"), PairDataModule(*sides, Loading(8)).spec)
    assert isinstance(found, DCTRGAN)
    return found
