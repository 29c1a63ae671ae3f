"""A small file of every format of HDF5, and what is said of a damaged one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulacra.core import FormatError
from simulacra.formats.base import Format
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
from simulacra.formats.calogan import CaloGan, calogan
from simulacra.formats.ild import IldGrid, ild_10x10
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.jetnet import JetNetFormat, jetnet
from simulacra.formats.lemurs import Lemurs, lemurs
from simulacra.formats.pxd import PxdFormat, pxd_small
from simulacra.formats.showerdata import ShowerData, showerdata
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles

FORMATS: dict[str, tuple[Callable[[], Format], str]] = {
    "ds1": (lambda: CaloChallenge(ds1_photons()), "showers"),
    "calogan": (lambda: CaloGan(calogan()), "layer_1"),
    "ild": (lambda: IldGrid(ild_10x10(), "10x10", "30x30"), "10x10/layers"),
    "clouds": (lambda: CaloCloud(ild_cloud()), "events"),
    "jetnet": (lambda: JetNetFormat(jetnet(30, ["t"]), ["t"]), "particle_features"),
    "jetclass": (lambda: JetClassFormat(jetclass(["QCD"]), ["QCD"]), "part_energy"),
    "pxd": (lambda: PxdFormat(pxd_small()), "charge"),
    "lemurs": (lambda: Lemurs(lemurs()), "events"),
    "showerdata": (lambda: ShowerData(showerdata(points=40)), "num_points"),
    "table": (lambda: TableFiles("small", columns_of({"x": {}, "y": {}})), "x"),
}
EVENTS = 3


def make(name: str, folder: Path) -> tuple[Format, Path, str]:
    form, key = FORMATS[name][0](), FORMATS[name][1]
    form.toy(folder / "toy_t.h5", EVENTS)
    return form, folder / "toy_t.h5", key


def refused(form: Format, path: Path, message: str) -> None:
    for read in (form.header, form.read, form.check):
        with pytest.raises(FormatError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
