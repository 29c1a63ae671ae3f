import multiprocessing
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simulacra.core import Batch, FormatError, UserError
from simulacra.data.cache import SparseSource, load_dense, load_sparse
from simulacra.formats.base import Format
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons, ds3
from simulacra.formats.calogan import PARTICLES, CaloGan, calogan
from simulacra.formats.ild import IldGrid, ild

FORMATS: dict[str, Format] = {
    "ds1_photons": CaloChallenge(ds1_photons()),
    "ds3": CaloChallenge(ds3()),
    "calogan": CaloGan(calogan(PARTICLES)),
    "ild": IldGrid(ild(), "30x30"),
    "ild_cloud": CaloCloud(ild_cloud()),
}


def assert_same(first: Batch, second: Batch) -> None:
    assert torch.equal(first.x, second.x)
    for one, other in ((first.cond, second.cond), (first.event, second.event)):
        assert one.keys() == other.keys()
        assert all(
            torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype
            for name in one
        )
    assert (first.mask is None) == (second.mask is None)
    assert first.mask is None or second.mask is None or torch.equal(first.mask, second.mask)


@pytest.mark.parametrize("name", FORMATS)
def test_the_cache_gives_what_the_files_hold(name: str, tmp_path: Path) -> None:
    format, paths = FORMATS[name], [tmp_path / "1.hdf5", tmp_path / "2.hdf5"]
    for number, path in enumerate(paths):
        format.toy(path, 6, seed=number)
    dense, sparse = load_dense(format, paths), load_sparse(format, paths, tmp_path / "cache")
    assert len(dense) == len(sparse) == 12
    for index in ([3], list(range(12)), [11, 0, 5, 5], []):
        assert_same(dense.take(index), sparse.take(index))
    assert_same(Batch.cat([format.read(path) for path in paths]), sparse.take(range(12)))
    format.spec.validate(sparse.take([1, 2]))
    assert_same(pickle.loads(pickle.dumps(sparse)).take([2, 1]), dense.take([2, 1]))


def test_empty_showers_are_kept(tmp_path: Path) -> None:
    format = FORMATS["ds1_photons"]
    batch = Batch(torch.zeros(3, 368), {"incident_energy": torch.full((3, 1), 256.0)})
    format.write(tmp_path / "zero.hdf5", batch)
    assert_same(
        load_sparse(format, [tmp_path / "zero.hdf5"], tmp_path / "cache").take([2, 0]),
        batch[[2, 0]],
    )


def test_the_key_follows_the_content_not_the_path(tmp_path: Path) -> None:
    format = FORMATS["ds1_photons"]
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        format.toy(tmp_path / f"{name}.hdf5", 5, seed)
    (tmp_path / "b.hdf5").write_bytes((tmp_path / "a.hdf5").read_bytes())
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.hdf5").rename(tmp_path / "deep" / "a.hdf5")
    a, b, c = (
        load_sparse(format, [tmp_path / name], tmp_path / "cache").folder
        for name in ("a.hdf5", "deep/a.hdf5", "c.hdf5")
    )
    assert a == b != c


def _load(arguments: tuple[Path, Path]) -> str:
    source = load_sparse(FORMATS["ds3"], [arguments[0]], arguments[1])
    return f"{source.folder.name} {float(source.take(range(len(source))).x.sum())}"


def test_processes_that_race_for_a_cache_read_the_same(tmp_path: Path) -> None:
    FORMATS["ds3"].toy(tmp_path / "toy.hdf5", 12)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(_load, [(tmp_path / "toy.hdf5", tmp_path / "cache")] * 3, chunksize=1)
    assert len(set(found)) == 1
    folders = [path for path in (tmp_path / "cache" / "showers").iterdir() if path.is_dir()]
    assert [path.name for path in folders] == [found[0].split()[0]]


def test_an_interrupted_conversion_leaves_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    format = FORMATS["ds1_photons"]
    format.toy(tmp_path / "toy.hdf5", 5)
    monkeypatch.setattr("simulacra.data.cache.np.savez", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_sparse(format, [tmp_path / "toy.hdf5"], tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache" / "showers").iterdir() if path.is_dir()]
    monkeypatch.undo()
    assert len(load_sparse(format, [tmp_path / "toy.hdf5"], tmp_path / "cache")) == 5


def _interrupt(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    FORMATS["ds1_photons"].toy(tmp_path / "toy.hdf5", 5)
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(
        UserError, match=r"cannot write the cache .* set SIMULACRA_CACHE to a folder with space"
    ):
        load_sparse(FORMATS["ds1_photons"], [tmp_path / "toy.hdf5"], tmp_path / "cache")


def test_a_source_opens_a_complete_cache_again(tmp_path: Path) -> None:
    format = FORMATS["ild_cloud"]
    format.toy(tmp_path / "toy.hdf5", 4)
    made = load_sparse(format, [tmp_path / "toy.hdf5"], tmp_path / "cache")
    assert_same(SparseSource(made.folder, format.spec).take([3, 1]), made.take([3, 1]))


@pytest.mark.parametrize("damage", ["cut", "gone", "text", "zeros"])
def test_a_damaged_cache_is_named_and_made_anew(damage: str, tmp_path: Path) -> None:
    form, path = FORMATS["ds1_photons"], tmp_path / "a.hdf5"
    form.toy(path, 5)
    cache = load_sparse(form, [path], tmp_path / "cache").folder
    victim = cache / {"cut": "values.bin", "gone": "index.bin", "text": "meta.json"}.get(
        damage, "fields.npz"
    )
    if damage == "gone":
        victim.unlink()
    elif damage == "cut":
        os.truncate(victim, victim.stat().st_size - 1)
    else:
        victim.write_bytes(bytes(100) if damage == "zeros" else b"not json")
    with pytest.raises(UserError, match=r"is damaged .*: remove this folder") as caught:
        load_sparse(form, [path], tmp_path / "cache")
    assert "\n" not in str(caught.value)
    shutil.rmtree(cache)
    assert len(load_sparse(form, [path], tmp_path / "cache")) == 5


def test_a_cache_is_its_owners_and_leaves_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    form, path = FORMATS["ds1_photons"], tmp_path / "a.hdf5"
    form.toy(path, 5)
    cache = load_sparse(form, [path], tmp_path / "cache").folder
    assert cache.stat().st_mode & 0o077 == 0
    (cache.parent / f"{cache.name}.17-ab.part").mkdir()
    (cache.parent / "other.17-ab.part").mkdir()
    load_sparse(form, [path], tmp_path / "cache")
    left = {item.name for item in cache.parent.iterdir()}
    assert left == {cache.name, f"{cache.name}.lock", "other.17-ab.part"}


def test_events_that_do_not_fit_into_memory_are_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form, path = FORMATS["ds1_photons"], tmp_path / "a.hdf5"
    info = form.toy(path, 5)
    monkeypatch.setattr(form, "header", lambda _: replace(info, n=10**15))
    with pytest.raises(FormatError, match=r"not enough memory to read it: .*data\.limit"):
        load_dense(form, [path])
