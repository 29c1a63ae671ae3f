"""Event weights in files: the same key in every HDF5 format, refused where they cannot be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.core import Batch, FormatError, UserError
from simulacra.formats.base import Format
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons, ds3
from simulacra.formats.calogan import PARTICLES, CaloGan, calogan
from simulacra.formats.ild import IldGrid, ild_10x10
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.jetnet import JetNetFormat, jetnet
from simulacra.formats.lemurs import Lemurs, lemurs
from simulacra.formats.pxd import PxdFormat, pxd, pxd_small
from simulacra.formats.showerdata import ShowerData, showerdata

FORMATS: dict[str, Callable[[], Format]] = {
    "ds1_photons": lambda: CaloChallenge(ds1_photons()),
    "ds3": lambda: CaloChallenge(ds3()),
    "calogan": lambda: CaloGan(calogan(PARTICLES)),
    "ild_10x10": lambda: IldGrid(ild_10x10(), "10x10", "30x30"),
    "ild_cloud": lambda: CaloCloud(ild_cloud()),
    "lemurs": lambda: Lemurs(lemurs()),
    "showerdata": lambda: ShowerData(showerdata()),
    "jetnet30": lambda: JetNetFormat(jetnet(30, ["t"]), ["t"]),
    "jetnet_classes": lambda: JetNetFormat(jetnet(30, ["g", "t"]), ["g", "t"]),
    "jetclass": lambda: JetClassFormat(jetclass(["QCD", "Hbb"]), ["QCD", "Hbb"]),
    "pxd_small": lambda: PxdFormat(pxd_small()),
}
WEIGHTS = torch.tensor([0.0, 0.125, 3.0, 1e-30, 7.5, 2.0, 0.1])


@pytest.fixture(params=FORMATS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Format, Path, Batch]:
    """A format, a file without weights, and its events with some."""
    form, path = FORMATS[request.param](), tmp_path / "toy.hdf5"
    form.toy(path, 7, seed=3)
    batch = form.read(path)
    assert batch.weight is None
    return form, path, replace(batch, weight=WEIGHTS)


def write(form: Format, path: Path, batches: list[Batch]) -> None:
    with form.writer(path) as writer:
        for batch in batches:
            writer.append(batch)


def test_weights_come_back_bit_for_bit(written: tuple[Format, Path, Batch], tmp_path: Path) -> None:
    form, _, batch = written
    path = tmp_path / "weighted.hdf5"
    write(form, path, [batch[0:3], batch[3:7]])
    info, found = form.check(path), form.read(path)
    assert info.shapes["weight"] == (7,)
    assert torch.equal(found.x, batch.x)
    assert torch.equal(found.weight, WEIGHTS)  # type: ignore[arg-type]
    assert torch.equal(form.read(path, 2, 5).weight, WEIGHTS[2:5])  # type: ignore[arg-type]
    pieces = [part.weight for part in form.iterate(path, 3)]
    assert torch.equal(torch.cat(pieces), WEIGHTS)  # type: ignore[arg-type]


def test_a_mixture_is_refused_and_nothing_is_left(
    written: tuple[Format, Path, Batch], tmp_path: Path
) -> None:
    form, _, batch = written
    before = sorted(item.name for item in tmp_path.iterdir())
    for first, second in ((WEIGHTS, None), (None, WEIGHTS)):
        mixture = [replace(batch, weight=first), replace(batch, weight=second)]
        with pytest.raises(UserError, match="some of its events have weights and others have none"):
            write(form, tmp_path / "mixed.hdf5", mixture)
    assert sorted(item.name for item in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1.0, 2.0, np.nan, 1.0, 1.0, 1.0, 1.0], "NaN or infinite values, first in event 2"),
        ([1.0, 1.0, 1.0, 1.0, 1.0, np.inf, 1.0], "NaN or infinite values, first in event 5"),
        (
            [1.0, -0.5, 1.0, 1.0, 1.0, 1.0, 1.0],
            r"negative values \(down to -0\.5, first in event 1",
        ),
        ([1.0] * 6, "'weight' has 6 entries for 7 events"),
        ([[1.0]] * 7, r"'weight' has shape \(7, 1\)"),
        ([b"1"] * 7, "expected an array of numbers"),
    ],
)
@pytest.mark.parametrize("name", ["ds1_photons", "jetnet30", "pxd_small"])
def test_weights_that_are_none_are_refused_in_one_sentence(
    name: str, values: list, sentence: str, tmp_path: Path
) -> None:
    form, path = FORMATS[name](), tmp_path / "toy_t.hdf5"
    form.toy(path, 7)
    with h5py.File(path, "r+") as file:
        file["weight"] = np.asarray(values)
    for read in (form.read, form.check):
        with pytest.raises(FormatError, match=sentence) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_negative_weights_are_read_and_written_where_the_spec_allows_them(tmp_path: Path) -> None:
    form = CaloChallenge(ds1_photons().with_(signed=True))
    form.toy(tmp_path / "toy.hdf5", 7)
    batch = replace(form.read(tmp_path / "toy.hdf5"), weight=-WEIGHTS)
    form.write(tmp_path / "signed.hdf5", batch)
    form.check(tmp_path / "signed.hdf5")
    assert torch.equal(form.read(tmp_path / "signed.hdf5").weight, -WEIGHTS)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ds1_photons", "pxd_small"])
@pytest.mark.parametrize(("value", "sentence"), [(-1.0, "1 negative"), (torch.nan, "1 NaN")])
def test_weights_that_could_not_be_read_are_not_written(
    name: str, value: float, sentence: str, tmp_path: Path
) -> None:
    form = FORMATS[name]()
    form.toy(tmp_path / "toy.hdf5", 7)
    wrong = WEIGHTS.clone()
    wrong[2] = value
    batch = replace(form.read(tmp_path / "toy.hdf5"), weight=wrong)
    with pytest.raises(UserError, match=sentence):
        form.write(tmp_path / "wrong.hdf5", batch)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.hdf5"]


def test_images_take_no_weights(tmp_path: Path) -> None:
    form = PxdFormat(pxd(["1.1.1"]))
    form.toy(tmp_path / "toy.hdf5", 2)
    batch = replace(form.read(tmp_path / "toy.hdf5"), weight=torch.ones(2))
    with pytest.raises(UserError, match="its format takes no weights"):
        form.write(tmp_path / "images", batch)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.hdf5"]


def test_root_trees_take_no_weights(tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot", reason="ROOT files need the extra [root]")
    form = JetClassFormat(jetclass(["QCD"]), ["QCD"])
    form.toy(tmp_path / "toy.h5", 5)
    batch = form.read(tmp_path / "toy.h5")
    with pytest.raises(UserError, match="its format takes no weights"):
        form.write(tmp_path / "jets.root", replace(batch, weight=torch.ones(5)))
    form.write(tmp_path / "jets.root", batch)
    with uproot.open(tmp_path / "jets.root") as file:
        source, tree = str(file["provenance"]), file["tree"]
        names = [name for name in tree.keys() if not name.startswith("npart")]  # noqa: SIM118
        branches = {name: tree[name].array() for name in names}
    with uproot.recreate(tmp_path / "jets.root") as file:
        file["provenance"] = source
        file["tree"] = {**branches, "weight": np.ones(5)}
    with pytest.raises(FormatError, match="a ROOT tree takes no weights"):
        form.read(tmp_path / "jets.root")
