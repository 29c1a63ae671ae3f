"""Files of a data set are found where people keep them: in linked folders, under several names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from simulacra.core import FormatError, UserError
from simulacra.data import build
from simulacra.data.files import Published, below, content_hash, locate, walk
from simulacra.data.jetclass import JetClass
from simulacra.data.pxd_files import search
from support import composed


def configured(**changes: Any) -> JetClass:
    merged = OmegaConf.merge(composed("data", "data=jetclass"), {"root": None, **changes})
    data = build(OmegaConf.to_container(merged))  # type: ignore[arg-type]
    assert isinstance(data, JetClass)
    return data


ONE = Published(["a.hdf5"], [], "nowhere")


def find(root: Path) -> tuple[Path, ...]:
    return locate("toy", ONE, root, None).train


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A root whose folder is a link to one that links to the files, and a link back to the root."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "a.hdf5").write_text("events")
    (tmp_path / "middle").mkdir()
    (tmp_path / "middle" / "data").symlink_to(tmp_path / "scratch")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data").symlink_to(tmp_path / "middle")
    (tmp_path / "root" / "circle").symlink_to(tmp_path / "root")
    (tmp_path / "scratch" / "up").symlink_to(tmp_path)
    return tmp_path / "root"


def test_linked_folders_are_searched_and_circles_end(linked: Path) -> None:
    (found,) = find(linked)
    assert found.is_relative_to(linked)
    assert found.read_text() == "events"
    folders = [folder.resolve() for folder, _, _ in walk(linked)]
    assert len(folders) == len(set(folders))


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_one_file_of_two_names_is_one_file(
    link: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a.hdf5").write_text("events")
    link(tmp_path / "one" / "a.hdf5", tmp_path / "two" / "a.hdf5")
    assert find(tmp_path) == (tmp_path / "one" / "a.hdf5",)
    (tmp_path / "two" / "a.hdf5").unlink()
    (tmp_path / "two" / "a.hdf5").write_text("events")
    with pytest.raises(UserError, match=r"a\.hdf5 is there 2 times below"):
        find(tmp_path)


def test_links_to_nothing_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "a.hdf5").symlink_to("gone")
    assert below(tmp_path, "*.hdf5") == []


def test_jets_and_pixels_are_found_in_linked_folders(tmp_path: Path) -> None:
    far, root = tmp_path / "far", tmp_path / "root"
    (far / "test_20M").mkdir(parents=True)
    (far / "train_100M").mkdir()
    root.mkdir()
    (root / "jets").symlink_to(far)
    for part in ("train_100M", "test_20M"):
        configured(classes=["QCD"]).write_toy(far / part, 5)
    data = configured(root=str(root), classes=["QCD"])
    assert [path.parent.name for path in (*data.found.train, *data.found.test)] == [
        "train_100M",
        "test_20M",
    ]
    (far / "images" / "1.1.1").mkdir(parents=True)
    (far / "pxd_train.h5").touch()
    assert search(root) == [root / "jets" / "pxd_train.h5", root / "jets" / "images"]


def test_names_that_no_file_can_have_are_said_not_to_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names files that do not exist"):
        locate("toy", ONE, tmp_path, {"train": ["x" * 300]})
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(FormatError, match="no file can have such a name"):
            content_hash(Path(name), tmp_path)


def test_the_tree_of_a_root_file_is_an_option(tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    data = configured(classes=["QCD"])
    data.format.toy(tmp_path / "toy.root", 6)
    with (
        uproot.open(tmp_path / "toy.root") as toy,
        uproot.recreate(tmp_path / "ZJetsToNuNu_0.root") as file,
    ):
        branches = [item for item in toy["tree"].branches if not item.name.startswith("n")]
        file["Events"] = {item.name: item.array() for item in branches}
        file["provenance"] = str(toy["provenance"])
    (tmp_path / "toy.root").unlink()
    form = {"tree": "Events"}
    data = configured(root=str(tmp_path), classes=["QCD"], format=form)
    assert len(data.sources["train"]) == 6
