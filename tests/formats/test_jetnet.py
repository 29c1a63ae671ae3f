from __future__ import annotations

import logging
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.core import Batch, FormatError, UserError
from simulacra.formats.jetnet import CLASSES, COUNTS, JetNetFormat, jetnet, toy_jets


def single(particles: int = 30, name: str = "t") -> JetNetFormat:
    return JetNetFormat(jetnet(particles, [name]), [name])


def several(*names: str) -> JetNetFormat:
    return JetNetFormat(jetnet(30, names), names)


def equal(first: Batch, second: Batch) -> bool:
    assert first.mask is not None
    assert second.mask is not None
    fields = [(first.cond, second.cond), (first.event, second.event)]
    same = all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in fields)
    return same and torch.equal(first.x, second.x) and torch.equal(first.mask, second.mask)


@pytest.mark.parametrize("particles", [30, 150])
def test_a_round_trip_is_exact_and_has_the_public_keys(particles: int, tmp_path: Path) -> None:
    form, path = single(particles), tmp_path / "t.hdf5"
    batch = toy_jets(form.spec, 50, 0, 1)
    form.write(path, batch, {"checkpoint": "abc"})
    assert equal(form.read(path), batch)
    assert equal(form.read(path, 10, 20), batch[10:20])
    with h5py.File(path) as file:
        assert {key: data.shape for key, data in file.items()} == {
            "particle_features": (50, particles, 4),
            "jet_features": (50, 4),
        }
        assert file.attrs["checkpoint"] == "abc"
        np.testing.assert_array_equal(
            file["particle_features"][..., 3].sum(1), file["jet_features"][:, 3]
        )
    info = form.check(path)
    assert info.n == 50
    assert info.ranges["pt"] == pytest.approx(
        (float(batch.event["pt"].min()), float(batch.event["pt"].max()))
    )


def test_chunks_make_the_same_file_as_one_batch(tmp_path: Path) -> None:
    form = single()
    batch = toy_jets(form.spec, 90, 1, 1)
    with form.writer(tmp_path / "chunks_t.hdf5") as writer:
        for start in range(0, 90, 40):
            writer.append(batch[start : start + 40])
    assert equal(form.read(tmp_path / "chunks_t.hdf5"), batch)
    assert equal(Batch.cat(list(form.iterate(tmp_path / "chunks_t.hdf5", 7))), batch)


def test_several_classes_are_one_file_each_and_come_back_under_one_path(tmp_path: Path) -> None:
    form, path = several("g", "t"), tmp_path / "out.hdf5"
    batch = toy_jets(form.spec, 60, 2, 2)
    with form.writer(path, {"seed": 1}) as writer:
        writer.append(batch[:25])
        writer.append(batch[25:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out_g.hdf5", "out_t.hdf5"]
    back = form.read(path)
    order = torch.argsort(batch.cond["jet_class"][:, 0], stable=True)
    assert equal(back, batch[order])
    assert equal(form.read(path, 20, 45), back[20:45])
    assert equal(Batch.cat(list(form.iterate(path, 8))), back)
    assert form.check(path).n == 60
    assert equal(
        single(name="t").read(tmp_path / "out_t.hdf5"),
        Batch(**vars(back[back.cond["jet_class"][:, 0] == 1]) | {"cond": {}}),
    )


def test_nothing_is_left_behind_when_writing_stops(tmp_path: Path) -> None:
    for form in (single(), several("g", "t")):
        batch = toy_jets(form.spec, 20, 0, len(form.classes))

        def fail(form: JetNetFormat = form, batch: Batch = batch) -> None:
            with form.writer(tmp_path / "t.hdf5") as writer:
                writer.append(batch)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert list(tmp_path.iterdir()) == []


def test_the_class_is_read_from_names_like_the_public_ones(tmp_path: Path) -> None:
    single(name="q").write(tmp_path / "q.hdf5", toy_jets(single().spec, 5, 0, 1))
    with h5py.File(tmp_path / "q.hdf5", "a") as file:
        del file.attrs["jet_class"]
    for name in ("q.hdf5", "sample_q.hdf5", "my-q150.hdf5"):
        if name != "q.hdf5":
            shutil.copy(tmp_path / "q.hdf5", tmp_path / name)
        assert several("g", "q").read(tmp_path / name).cond["jet_class"].unique().tolist() == [1]
        with pytest.raises(FormatError, match="class 'q', expected t"):
            single(name="t").header(tmp_path / name)
    shutil.copy(tmp_path / "q.hdf5", tmp_path / "jets.hdf5")
    assert len(single(name="t").read(tmp_path / "jets.hdf5")) == 5
    with pytest.raises(FormatError, match="class of the jets is unknown"):
        several("g", "q").read(tmp_path / "jets.hdf5")


def broken(path: Path, change: str) -> None:
    single().toy(path, 20)
    with h5py.File(path, "a") as file:
        particles, jets = file["particle_features"], file["jet_features"]
        if change == "missing key":
            del file["jet_features"]
        elif change == "wrong shape":
            del file["particle_features"]
            file["particle_features"] = np.zeros((20, 30, 3), np.float32)
        elif change == "lengths differ":
            del file["jet_features"]
            file["jet_features"] = np.ones((19, 4), np.float32)
        elif change == "nan":
            particles[3, 0, 0] = np.nan
        elif change == "nan in jets":
            jets[3, 2] = np.nan
        elif change == "mask":
            particles[3, 0, 3] = 0.5
        elif change == "padding":
            particles[3, 29] = (0.1, 0.0, 0.0, 0.0)
        elif change == "negative":
            particles[3, 0, 2] = -0.1
        elif change == "negative pt":
            jets[3, 0] = -1.0
        elif change == "text":
            del file["jet_features"]
            file["jet_features"] = np.full((20, 4), b"x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing key", "'jet_features' is missing"),
        ("wrong shape", r"shape \(20, 30, 3\), expected \('N', 30, 4\)"),
        ("lengths differ", "differ in length"),
        ("nan", "NaN or infinite values, first in event 3"),
        ("nan in jets", "'jet_features' holds NaN"),
        ("mask", "mask of particles holds 0.5, expected 0 or 1"),
        ("padding", "outside the mask must be exactly 0, 1 are not"),
        ("negative", "ptrel is negative"),
        ("negative pt", "pt above 0"),
        ("text", "expected an array of numbers"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(
    change: str, message: str, tmp_path: Path
) -> None:
    broken(tmp_path / "t.hdf5", change)
    with pytest.raises(FormatError, match=message) as caught:
        single().check(tmp_path / "t.hdf5")
    assert "t.hdf5" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_jetnet_are_refused(tmp_path: Path) -> None:
    single().toy(tmp_path / "whole.hdf5", 200)
    (tmp_path / "t.hdf5").write_bytes((tmp_path / "whole.hdf5").read_bytes()[:5000])
    (tmp_path / "empty.hdf5").touch()
    (tmp_path / "text.hdf5").write_text("not HDF5")
    for name, message in (
        ("t", "truncated"),
        ("empty", "empty"),
        ("text", "not an HDF5"),
        ("none", "no such file"),
    ):
        with pytest.raises(FormatError, match=message):
            single().check(tmp_path / f"{name}.hdf5")


def test_a_count_that_differs_from_the_mask_is_said_and_the_mask_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    single().toy(tmp_path / "t.hdf5", 20)
    with h5py.File(tmp_path / "t.hdf5", "a") as file:
        file["jet_features"][4, 3] = 2.0
    with caplog.at_level(logging.WARNING):
        batch = single().read(tmp_path / "t.hdf5")
    assert "differs from the mask in 1 jets" in caplog.text
    assert batch.mask is not None
    assert torch.equal(batch.event["num_particles"][:, 0], batch.mask.sum(1).float())


def test_a_public_count_before_the_cut_is_no_difference(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    single().toy(tmp_path / "t.hdf5", 20)
    with h5py.File(tmp_path / "t.hdf5", "a") as file:
        counts = file["jet_features"][:, 3]
        file["jet_features"][:, 3] = np.where(counts == 30, 77, counts)
    single().read(tmp_path / "t.hdf5")
    assert not caplog.records


def test_jets_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    form = single()
    batch = toy_jets(form.spec, 5, 0, 1)
    for bad, message in (
        (Batch(-batch.x, {}, batch.event, batch.mask), "ptrel is negative"),
        (Batch(batch.x, {}, batch.event), "has none"),
        (Batch(batch.x, {}, {"pt": batch.event["pt"]}, batch.mask), "lack"),
    ):
        with pytest.raises(UserError, match=message):
            form.write(tmp_path / "t.hdf5", bad)
    assert list(tmp_path.iterdir()) == []


def test_the_prior_of_classes_follows_the_public_counts() -> None:
    spec = jetnet(30, CLASSES)
    drawn = spec.prior[0].draw(20_000, torch.Generator().manual_seed(0))[:, 0]
    total = sum(COUNTS.values())
    for number, name in enumerate(CLASSES):
        assert float((drawn == number).float().mean()) == pytest.approx(
            COUNTS[name] / total, abs=0.01
        )
    assert jetnet(30, ["t"]).conditions == ()
    for wrong in (["x"], [], ["t", "t"]):
        with pytest.raises(UserError, match="JetNet has the classes"):
            jetnet(30, wrong)
