"""Event weights on their way from a file to a batch: each event keeps its own, whatever lies between."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra import data
from simulacra.callbacks.look import pair
from simulacra.core import Batch, Conditions, UserError
from simulacra.data.base import EventDataModule
from simulacra.data.file_data import FileDataModule
from simulacra.data.pxd import HitSource, PxdDataModule
from simulacra.data.source import MemorySource, Part
from simulacra.training.generative import GenerativeModule
from support import composed

SETS = {
    "ds1_photons": (),
    "ds3": (),
    "calogan": (),
    "ild_10x10": (),
    "ild_cloud": (),
    "jetnet30": ("data.classes=[g,t]",),
    "jetclass": ("data.classes=[QCD,Hbb]",),
    "pxd_small": (),
}


def build(name: str, root: Path, *overrides: str) -> EventDataModule:
    wanted = (f"data={name}", f"data.root={root}", "data.validation=0.25", *SETS[name], *overrides)
    return data.build(composed("data", *wanted))


def weigh(folder: Path, n: int) -> None:
    """Give each of the ``n`` events of every file a weight of its own, one of them 0."""
    for number, path in enumerate(sorted(folder.rglob("*.h*"))):
        with h5py.File(path, "r+") as file:
            file["weight"] = (np.arange(n) + 100 * number) / 8


def known(module: EventDataModule) -> dict[int, float]:
    """Weight of each event of the files, by its values."""
    assert isinstance(module, FileDataModule | PxdDataModule)
    batches = [module.format.read(path) for path in (*module.found.train, *module.found.test)]
    whole = Batch.cat(batches)
    assert whole.weight is not None
    table = {_key(x): float(w) for x, w in zip(whole.x, whole.weight, strict=True)}
    assert len(table) == len(whole), "every toy event is different"
    return table


def _key(x: Tensor) -> int:
    return hash((x + 0.0).numpy().tobytes())  # -0 in the padding of a file is 0 in the cache


def assert_kept(batch: Batch, table: dict[int, float]) -> None:
    assert batch.weight is not None
    assert [table[_key(x)] for x in batch.x] == batch.weight.tolist()


CACHED = [(name, f"data.cache={cache}") for name in SETS for cache in ("never", "always")]


@pytest.mark.parametrize(
    "name_and_cache", [("pxd_small",), *(item for item in CACHED if item[0] != "pxd_small")]
)
def test_each_event_keeps_the_weight_that_its_file_gives_it(
    name_and_cache: tuple[str, ...], tmp_path: Path
) -> None:
    name, *cache = name_and_cache
    build(name, tmp_path).write_toy(tmp_path, 12)
    weigh(tmp_path, 12)
    module = build(name, tmp_path, *cache)
    table = known(module)
    for part in ("train", "val", "test"):
        chosen = module.part(part)
        batch = chosen[range(len(chosen))]
        assert_kept(batch, table)
        assert torch.equal(chosen.weight, batch.weight)  # type: ignore[arg-type]
        module.spec.validate(batch)


@pytest.mark.parametrize(("name", "view"), [("ds1_photons", "cloud"), ("jetnet30", "image")])
def test_views_keep_weights_there_and_back(name: str, view: str, tmp_path: Path) -> None:
    build(name, tmp_path).write_toy(tmp_path, 12)
    weigh(tmp_path, 12)
    plain, viewed = build(name, tmp_path), build(name, tmp_path, f"data.view={view}")
    wanted, batch = plain.batch(9), viewed.batch(9)
    assert torch.equal(batch.weight, wanted.weight)  # type: ignore[arg-type]
    assert torch.equal(viewed.native(batch).weight, wanted.weight)  # type: ignore[arg-type]


def test_loaders_of_several_ranks_and_workers_keep_weights(tmp_path: Path) -> None:
    build("ds1_photons", tmp_path).write_toy(tmp_path, 40)
    weigh(tmp_path, 40)
    seen = []
    for rank in range(2):
        options = ("data.batch_size=4", "data.cache=always", "data.workers=1")
        module = build("ds1_photons", tmp_path, *options)
        module.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        table = known(module)
        for batch in module.train_dataloader():
            assert_kept(batch, table)
            seen += batch.weight.tolist()
    assert len(seen) == len(set(seen)) == 24, (
        "30 events to train on: three batches of four per rank"
    )


def test_selections_keep_weights(tmp_path: Path) -> None:
    build("ds1_photons", tmp_path).write_toy(tmp_path, 60)
    weigh(tmp_path, 60)
    options = ("data.energies=[[0,100000]]", "data.hold_out=[4096]", "data.limit=9")
    module = build("ds1_photons", tmp_path, *options)
    assert len(module.part("train")) == 9
    table = known(module)
    for part in ("train", "val", "test", "held_out"):
        assert_kept(module.batch(100, part), table)


def test_a_file_without_weights_counts_each_event_once_beside_one_with(tmp_path: Path) -> None:
    build("jetnet30", tmp_path).write_toy(tmp_path, 12)
    with h5py.File(tmp_path / "g.hdf5", "r+") as file:
        file["weight"] = np.full(12, 3.0)
    batch = build("jetnet30", tmp_path).batch(100)
    expected = torch.where(batch.cond["jet_class"][:, 0] == 0, 3.0, 1.0)
    assert torch.equal(batch.weight, expected)  # type: ignore[arg-type]


def test_large_files_of_hits_are_weighed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build("pxd_small", tmp_path).write_toy(tmp_path, 6)
    weigh(tmp_path, 6)
    module = build("pxd_small", tmp_path)
    assert isinstance(module, PxdDataModule)
    monkeypatch.setattr("simulacra.data.pxd.MEMORY_HITS", 0)
    source = HitSource(module.found.train, module.format)
    assert_kept(source.take([5, 0, 3]), known(module))


def test_without_weights_there_are_none(tmp_path: Path) -> None:
    build("ds1_photons", tmp_path).write_toy(tmp_path, 12)
    for cache in ("never", "always"):
        module = build("ds1_photons", tmp_path, f"data.cache={cache}")
        assert module.batch(5).weight is None
        assert module.part("train").weight is None


@pytest.mark.parametrize("name", ["ds1_photons", "pxd_small"])
def test_a_part_whose_weights_sum_to_nothing_is_refused(name: str, tmp_path: Path) -> None:
    build(name, tmp_path).write_toy(tmp_path, 12)
    for path in tmp_path.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            file["weight"] = np.zeros(12)
    with pytest.raises(
        UserError, match=r"weights of the part \w+ of \w+ sum to 0, they need a sum"
    ):
        build(name, tmp_path).setup()


@pytest.mark.parametrize("name", ["ds1_photons", "jetnet30"])
def test_conditions_are_drawn_in_proportion_to_the_weights(name: str, tmp_path: Path) -> None:
    build(name, tmp_path).write_toy(tmp_path, 24)
    weigh(tmp_path, 24)
    module = build(name, tmp_path)
    batch = module.batch(1000, "test")
    field = "incident_energy" if name == "ds1_photons" else "pt"
    drawn = module.conditions(40_000, torch.Generator().manual_seed(0)).values[field][:, 0]
    values = {**batch.cond, **batch.event}[field][:, 0]
    for value in values.unique():
        share = float(batch.weight[values == value].sum() / batch.weight.sum())  # type: ignore[index,union-attr]
        found = float((drawn == value).double().mean())
        assert found == pytest.approx(share, abs=5 * (share * (1 - share) / 40_000) ** 0.5)


def part_of(weight: list[float] | None) -> Part:
    n = 5 if weight is None else len(weight)
    made = None if weight is None else torch.tensor(weight)
    return Part(MemorySource(Batch(torch.arange(n)[:, None], weight=made)), torch.arange(n))


def test_events_of_weight_zero_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of([0.0, 2.0, 0.0, 2.0, 0.0])
    positions = part.draw(5000, torch.Generator().manual_seed(0))
    assert set(positions.tolist()) == {1, 3}
    borders = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda n, **_: borders)
    assert part.draw(3).tolist() == [1, 3, 3]


def test_unweighted_draws_are_as_they_were() -> None:
    first, second = (torch.Generator().manual_seed(3) for _ in range(2))
    assert torch.equal(part_of(None).draw(50, first), torch.randint(5, (50,), generator=second))


def test_conditions_of_signed_weights_are_refused() -> None:
    with pytest.raises(UserError, match="in proportion to their weights: 1 of them are negative"):
        part_of([1.0, -1.0, 2.0]).draw(5)


class Copy:
    """Stands in for a module: it makes events of zeros with the conditions that are asked for."""

    given, device = ("incident_energy",), "cpu"
    judged, truth = GenerativeModule.judged, GenerativeModule.truth

    def sample(self, cond: Conditions, batch_size: int | None, generator: torch.Generator) -> Batch:
        return Batch(torch.zeros(len(cond), 368), cond.values)


def test_events_beside_validation_events_have_their_weights(tmp_path: Path) -> None:
    build("ds1_photons", tmp_path).write_toy(tmp_path, 40)
    weigh(tmp_path, 40)
    found = pair(Copy(), build("ds1_photons", tmp_path), "val", 8, seed=0)  # type: ignore[arg-type]
    assert found is not None
    assert torch.equal(found.generated.weight, found.truth.weight)  # type: ignore[arg-type]
