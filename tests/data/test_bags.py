"""Bags: which file an event is of, what is stated of it, and what the model is not shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra import data
from simulacra.core import Batch, IncompatibleError, UserError
from simulacra.core.bags import seen, unbagged
from simulacra.data.bags import BagDataModule as Bags
from simulacra.data.base import Loading
from simulacra.training.checkpoint import build
from support import composed, tiny
from table_toys import rows

SIZES = {"a": 60, "b": 20}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of ``qg``, each event with the number of its file as its pseudorapidity."""
    folder = tmp_path_factory.mktemp("bags")
    form = data.build(composed("data", "data=qg")).format
    for number, (name, size) in enumerate(SIZES.items()):
        table = rows(size, number)
        x = torch.cat([100 + table.x[:, :1], torch.full((size, 1), number), table.x[:, 4:5]], 1)
        x = torch.cat([x, x[:, 2:], 0.1 * torch.ones(size, 1), 1 + x[:, 2:]], 1)
        x[:, 0].clamp_(max=400)
        cond = {"sample": table.cond["mode"]}
        form.write(folder / f"{name}.h5", Batch(x, cond, {"label": table.event["kind"]}))
    return folder


def bags(folder: Path, names: str, fractions: Sequence[float] = (0.8, 0.2), **changes: Any) -> Bags:
    listed = [str(folder / f"{name}.h5") for name in names]
    own = {"train": listed, "val": None, "test": listed}
    of = data.build({**composed("data", "data=qg"), "files": own})
    return Bags(of, fractions, Loading(8), **changes)


def test_events_carry_their_file_and_what_is_stated_of_it(files: Path) -> None:
    module = bags(files, "ab")
    assert module.sizes() == {"train": 72, "val": 8, "test": 80}
    for part in ("train", "val", "test"):
        batch = module.batch(1000, part)
        module.spec.validate(batch)
        assert torch.equal(batch.event["bag"][:, 0], batch.x[:, 1].long())
        stated = torch.tensor([0.8, 0.2])[batch.event["bag"][:, 0]]
        assert torch.equal(batch.event["fraction"][:, 0], stated)


def test_any_stretch_of_a_part_holds_the_bags_in_proportion(files: Path) -> None:
    bag = bags(files, "ab").batch(1000, "test").event["bag"][:, 0]
    for start in range(0, 80, 8):
        assert abs(int(bag[start : start + 8].sum()) - 2) <= 1


def test_what_says_the_class_is_not_shown_and_stays_in_files(files: Path) -> None:
    module = bags(files, "ab")
    assert {field.name for field in module.spec.event} == {"bag", "fraction"}
    native = module.format.read(files / "a.h5")
    assert torch.equal(module.shown(native).event["label"], native.event["label"])
    assert set(seen(native, unbagged(module.spec)).event) == set()
    blind = bags(files, "ab", hidden=["label", "sample"])
    assert blind.spec.conditions == ()
    assert set(seen(native, unbagged(blind.spec)).cond) == set()
    model = build(tiny("llp"), module.spec).fit_transform(module.fit_batches())
    batch = module.batch(20)
    other = replace(batch, event={**batch.event, "label": 1 - batch.event["label"]})
    assert torch.equal(model.logit(batch), model.logit(other))
    with pytest.raises(UserError, match=r"data\.hidden names 'flavour': there are sample, label"):
        bags(files, "ab", hidden=["flavour"])


def test_few_training_events_keep_their_bags(files: Path) -> None:
    module = bags(files, "ab")
    module.loading = replace(module.loading, limit=8)
    assert module.sizes()["train"] == 8
    assert sorted(set(module.batch(8).event["bag"][:, 0].tolist())) == [0, 1]


def test_bags_are_files_and_each_needs_a_fraction(files: Path) -> None:
    with pytest.raises(UserError, match=r"there are 2 train files and 1 of data\.fractions"):
        bags(files, "ab", [0.8]).batch(1)
    with pytest.raises(UserError, match="say which share of each file is signal"):
        bags(files, "ab", [])
    with pytest.raises(IncompatibleError, match="bags are files, and qg has none"):
        Bags(bags(files, "ab"), [0.8, 0.2], Loading(8))


def test_the_configuration_takes_any_data_set_of_files() -> None:
    module = data.build(composed("data", "data=bags", "data/of=jetnet30", "data.of.classes=[g,q]"))
    assert isinstance(module, Bags)
    assert module.spec.kind == "cloud"
    assert "jet_class" in {field.name for field in module.of.spec.conditions}
    assert module.spec.conditions == ()
    assert module.hidden == ("jet_class",)
