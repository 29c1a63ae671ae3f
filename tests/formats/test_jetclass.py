from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.core import Batch, FormatError, UserError
from simulacra.data.files import embedded_folder
from simulacra.formats.jetclass import JetClassFormat, discretise, jetclass, toy_particles
from simulacra.formats.jetclass_columns import CLASSES, FLAGS, MASSES, UNKNOWABLE


def form(*classes: str) -> JetClassFormat:
    chosen = classes or CLASSES
    return JetClassFormat(jetclass(chosen), chosen)


def equal(first: Batch, second: Batch) -> bool:
    assert first.mask is not None
    assert second.mask is not None
    fields = [(first.cond, second.cond), (first.event, second.event)]
    same = all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in fields)
    return same and torch.equal(first.x, second.x) and torch.equal(first.mask, second.mask)


def real() -> Path:
    return embedded_folder("jetclass") / "TTBar_000.h5"


def test_the_embedded_file_has_physical_jets_in_the_documented_columns() -> None:
    batch = form().read(real())
    assert batch.x.shape == (200, 128, 13)
    assert batch.mask is not None
    with h5py.File(real()) as file:
        eta = np.arctanh(
            file["part_pz"][:] / np.sqrt(sum(file[f"part_p{c}"][:] ** 2 for c in "xyz") + 1e-12)
        )
        signed = np.sign(file["jet_eta"][:])[:, None] * (eta - file["jet_eta"][:][:, None])
        difference = np.abs(signed - batch.x[..., 0].numpy())[batch.mask.numpy()]
        np.testing.assert_array_equal(batch.x[..., 7].numpy(), file["part_charge"][:])
    assert np.quantile(difference, 0.99) < 5e-3  # the file's numbers are rounded to 10 bits
    assert 150 < float(batch.event["mass"].mean()) < 200
    assert batch.cond["jet_class"].unique().tolist() == [CLASSES.index("Tbqq")]
    assert form().check(real()).n == 200


def test_writing_real_jets_and_reading_them_back_is_exact(tmp_path: Path) -> None:
    batch = form().read(real())
    form().write(tmp_path / "out.h5", batch)
    assert equal(form().read(tmp_path / "out.h5"), batch)
    with h5py.File(tmp_path / "out.h5") as out, h5py.File(real()) as file:
        assert not set(UNKNOWABLE) & set(out)
        assert out["jet_pt"].shape == (200,)
        np.testing.assert_allclose(
            out["part_energy"][:], file["part_energy"][:], atol=0.3, rtol=2e-3
        )
        np.testing.assert_allclose(out["jet_energy"][:], file["jet_energy"][:], rtol=2e-3)


def test_generated_four_momenta_are_on_the_mass_shell_of_their_type(tmp_path: Path) -> None:
    batch = toy_particles(form().spec, 30, 0, 10)
    form().write(tmp_path / "out.h5", batch)
    with h5py.File(tmp_path / "out.h5") as file:
        energy, *momentum = (
            file[f"part_{name}"][:].astype(np.float64) for name in ("energy", "px", "py", "pz")
        )
        mass = sum(m * file[f"part_{flag}"][:] for m, flag in zip(MASSES, FLAGS, strict=True))
        np.testing.assert_allclose(energy**2, sum(p**2 for p in momentum) + mass**2, rtol=1e-5)
        np.testing.assert_array_equal((energy > 0).sum(1), file["jet_nparticles"][:])
        assert (np.stack([file[f"label_{name}"][:] for name in CLASSES]).sum(0) == 1).all()


def test_blurred_types_and_charges_are_written_as_what_they_stand_for(tmp_path: Path) -> None:
    batch = toy_particles(form().spec, 30, 0, 10)
    assert batch.mask is not None
    noise = (
        0.4
        * torch.rand(30, 128, 6, generator=torch.Generator().manual_seed(0))
        * batch.mask[..., None]
    )
    blurred = Batch(
        torch.cat([batch.x[..., :7], batch.x[..., 7:] + noise], -1),
        batch.cond,
        batch.event,
        batch.mask,
    )
    form().write(tmp_path / "out.h5", blurred)
    assert equal(form().read(tmp_path / "out.h5"), batch)
    assert torch.equal(discretise(batch.x), batch.x)


@pytest.mark.parametrize("stop", [None, 25])
def test_root_trees_are_read_as_hdf5_is(stop: int | None, tmp_path: Path) -> None:
    pytest.importorskip("uproot", reason="the extra [root] is not installed")
    batch = form().read(real())
    with form().writer(tmp_path / "TTBar_000.root", {"seed": 3}) as writer:
        writer.append(batch[:120])
        writer.append(batch[120:])
    assert equal(form().read(tmp_path / "TTBar_000.root", 5, stop), batch[5:stop])
    assert form().check(tmp_path / "TTBar_000.root").n == 200
    assert equal(Batch.cat(list(form().iterate(tmp_path / "TTBar_000.root", 64))), batch)
    assert [path.name for path in tmp_path.iterdir()] == ["TTBar_000.root"]


def public_tree(path: Path, extra: int = 0, drop: str = "") -> dict[str, np.ndarray]:
    """A tree with the public branches, jagged, with ``extra`` particles behind the 128th."""
    uproot, awkward = pytest.importorskip("uproot"), pytest.importorskip("awkward")
    with h5py.File(real()) as file:
        arrays = {key: data[:20].astype(np.float32) for key, data in file.items()}
    counts = (arrays["part_energy"] > 0).sum(1)
    jagged = {}
    for key, values in arrays.items():
        if key.startswith("part_"):
            lists = [
                list(row[:n]) + [row[0]] * (128 - n + extra) * (extra > 0)
                for row, n in zip(values, counts, strict=True)
            ]
            jagged[key] = awkward.Array(lists)
        else:
            jagged[key] = values
    jagged.pop(drop, None)
    with uproot.recreate(path) as file:
        file["tree"] = jagged
    return arrays


def test_a_tree_with_the_public_branches_is_read(tmp_path: Path) -> None:
    public_tree(tmp_path / "TTBar_000.root")
    assert equal(form().read(tmp_path / "TTBar_000.root"), form().read(real(), 0, 20))


def test_particles_beyond_the_128th_are_cut(tmp_path: Path) -> None:
    public_tree(tmp_path / "TTBar_000.root", extra=5)
    batch = form().read(tmp_path / "TTBar_000.root")
    assert batch.mask is not None
    assert bool(batch.mask.all())
    assert batch.x.shape == (20, 128, 13)


def test_a_public_tree_needs_every_branch(tmp_path: Path) -> None:
    public_tree(tmp_path / "TTBar_000.root", drop="jet_tau2")
    with pytest.raises(FormatError, match="branch 'jet_tau2' is missing"):
        form().header(tmp_path / "TTBar_000.root")


def test_files_that_are_no_trees_are_refused(tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    with uproot.recreate(tmp_path / "other.root") as file:
        file["events"] = {"x": np.ones(3)}
    public_tree(tmp_path / "whole.root")
    (tmp_path / "cut.root").write_bytes((tmp_path / "whole.root").read_bytes()[:3000])
    (tmp_path / "text.root").write_text("hello")
    (tmp_path / "empty.root").touch()
    for name, message in (
        ("other", "tree 'tree' is missing"),
        ("cut", "truncated or damaged"),
        ("text", "not a ROOT file"),
        ("empty", "empty"),
        ("none", "no such file"),
    ):
        with pytest.raises(FormatError, match=message):
            form().read(tmp_path / f"{name}.root")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("part_charge", 2, "other than -1, 0 and 1"),
        ("part_isPhoton", 3, "must be 0 or 1"),
        ("label_QCD", 1, "exactly one of the ten"),
        ("jet_pt", 0.0, "GeV above 0"),
        ("part_energy", -1.0, "negative"),
        ("part_d0val", np.nan, "NaN or infinite"),
    ],
)
def test_impossible_values_are_refused(
    key: str, value: float, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "TTBar_000.h5"
    path.write_bytes(real().read_bytes())
    with h5py.File(path, "a") as file:
        file[key][0] = value
    with pytest.raises(FormatError, match=message):
        form().check(path)


def test_a_public_file_needs_every_column_but_a_generated_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "TTBar_000.h5"
    path.write_bytes(real().read_bytes())
    with h5py.File(path, "a") as file:
        del file["jet_tau1"]
    with pytest.raises(FormatError, match="'jet_tau1' is missing"):
        form().header(path)
    with h5py.File(path, "a") as file:
        file.attrs["generated_by"] = "simulacra"
    assert form().check(path).n == 200


def test_jets_of_a_class_that_was_not_chosen_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="class 'Tbqq', expected QCD, Hbb"):
        form("QCD", "Hbb").read(real())
    assert form("Tbqq").read(real()).cond == {}
    with pytest.raises(UserError, match="JetClass has the classes"):
        jetclass(["top"])


def test_toy_files_are_accepted(tmp_path: Path) -> None:
    assert form().toy(tmp_path / "toy.h5", 30).n == 30
    assert form().check(tmp_path / "toy.h5").n == 30
