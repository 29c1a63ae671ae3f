from __future__ import annotations

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from simulacra.core import Batch, FormatError, Spec, UserError
from simulacra.formats.pxd import SMALL_SENSORS, PxdFormat, pxd, pxd_small
from simulacra.formats.pxd_hits import Hits
from simulacra.formats.pxd_sensors import (
    SENSORS,
    azimuth,
    pixel_edges,
    pxd_geometry,
    sensor_name,
    sensor_number,
)

FEW = ("2.10.1", "1.1.1", "2.2.1")  # neither in numeric nor in string order


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three events of three sensors as images, made with Pillow alone: sensor s holds s + 7 at (1, event)."""
    for name in FEW:
        (tmp_path / "images" / name).mkdir(parents=True)
        for event in range(3):
            pixels = np.zeros((250, 768), np.uint8)
            pixels[1, event] = sensor_number(name) + 7
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"event_{event}.png")
    return tmp_path / "images"


def events(spec: Spec, n: int, rate: float = 0.003) -> Batch:
    generator = torch.Generator().manual_seed(0)
    fired = torch.rand(n, *spec.shape, generator=generator) < rate
    charge = torch.randint(7, 256, fired.shape, generator=generator)
    return Batch((charge * fired).float())


def test_sensors_are_numbered_in_layer_major_order() -> None:
    assert [sensor_number(name) for name in ("1.1.1", "1.8.2", "2.1.1", "2.2.1", "2.10.1", "2.12.2")] == [
        0, 15, 16, 18, 34, 39,
    ]  # fmt: skip
    assert [sensor_name(number) for number in range(40)] == list(SENSORS)
    assert azimuth(sensor_number("1.3.2")) == pytest.approx(np.pi / 2)
    with pytest.raises(ValueError, match=r"'3\.1\.1'"):
        sensor_number("3.1.1")


def test_pixels_have_the_real_pitches() -> None:
    rows, cols = pixel_edges(1)
    assert rows[-1] == pytest.approx(12.5)
    assert cols[-1] == pytest.approx(61.44)
    assert pixel_edges(0)[1][-1] == pytest.approx(44.8)
    assert np.diff(cols)[[0, 255, 256, 767]] == pytest.approx([0.070, 0.070, 0.085, 0.085])
    layer = pxd_geometry([17], pool=8).layers[0]
    assert (layer.id, layer.depth, layer.shape) == (17, 22.0, (32, 96))
    assert np.diff(layer.edges[0])[[0, 1, 31]] == pytest.approx(
        [0.25, 0.4, 0.25]
    )  # five rows at the ends


def test_specs_survive_as_plain_data() -> None:
    for spec in (pxd(), pxd_small()):
        assert Spec.from_dict(spec.to_dict()) == spec
    assert pxd().shape == (40, 250, 768)
    assert pxd_small().shape == (8, 32, 96)
    assert (pxd().threshold, pxd().cut, pxd().sample_batch) == (7, 7, 1)
    with pytest.raises(UserError, match="only once"):
        pxd(["1.1.1", "1.1.1"])


def test_hits_and_images_are_the_same_events() -> None:
    x = events(pxd(FEW), 2).x
    numbers = [sensor_number(name) for name in FEW]
    hits = Hits.from_dense(x, numbers)
    assert torch.equal(hits.to_dense(numbers), x)
    assert torch.equal(hits.to_dense(numbers[::-1]), x.flip(1))
    assert torch.equal(hits[[1, 0, 1]].to_dense(numbers), x[[1, 0, 1]])
    assert torch.equal(Hits.cat([hits[[1]], hits]).to_dense(numbers), x[[1, 0, 1]])
    assert (np.diff(hits.sensor[: hits.offsets[1]].astype(int)) >= 0).all()
    assert (
        hits.sha256()
        == Hits.from_dense(x[:, [1, 2, 0]], sorted(numbers)).sha256()
        != hits[[0]].sha256()
    )


def test_pooling_keeps_the_charge_and_saturates() -> None:
    x = events(pxd(FEW), 2).x
    numbers = [sensor_number(name) for name in FEW]
    pooled = Hits.from_dense(x, numbers).pool(8, ceiling=300)
    padded = torch.nn.functional.pad(x, (0, 0, 3, 3))
    expected = 64 * torch.nn.functional.avg_pool2d(padded, 8)
    assert torch.equal(pooled.to_dense(numbers), expected.round().clamp(max=300))
    assert bool((expected > 300).any())


@pytest.mark.parametrize("name", ["pxd.hdf5", "images"])
def test_reading_gives_what_was_written(name: str, tmp_path: Path) -> None:
    form = PxdFormat(pxd(FEW))
    batch = events(form.spec, 3)
    form.write(tmp_path / name, batch, {"model": "test"})
    assert torch.equal(form.read(tmp_path / name).x, batch.x)
    assert torch.equal(form.read(tmp_path / name, 1, 2).x, batch.x[1:2])
    assert torch.equal(Batch.cat(list(form.iterate(tmp_path / name, 2))).x, batch.x)
    assert form.check(tmp_path / name).n == 3
    assert not list(tmp_path.glob(".*"))


def test_small_events_go_through_hdf5_and_come_from_full_files(tmp_path: Path) -> None:
    form = PxdFormat(pxd_small())
    batch = Batch(events(form.spec, 4).x * 16)  # beyond 255, up to 4080
    form.write(tmp_path / "small.h5", batch)
    assert torch.equal(form.read(tmp_path / "small.h5").x, batch.x)
    full = PxdFormat(pxd())
    full.toy(tmp_path / "full.hdf5", 1)
    small, whole = form.read(tmp_path / "full.hdf5").x, full.read(tmp_path / "full.hdf5").x
    numbers = [sensor_number(name) for name in SMALL_SENSORS]
    assert torch.equal(small.sum((2, 3)), whole[:, numbers].sum((2, 3)))
    with pytest.raises(UserError, match=r"\.hdf5"):
        form.writer(tmp_path / "images")


def test_writing_rounds_and_drops_what_is_below_threshold(tmp_path: Path) -> None:
    form = PxdFormat(pxd(["1.1.1"]))
    x = torch.zeros(1, 1, 250, 768)
    x[0, 0, 0, :4] = torch.tensor([6.4, 6.6, 7.4, 254.7])
    for name in ("a.hdf5", "a"):
        form.write(tmp_path / name, Batch(x))
        assert form.read(tmp_path / name).x[0, 0, 0, :5].tolist() == [0, 7, 7, 255, 0]


@pytest.mark.parametrize("name", ["a.hdf5", "a"])
def test_a_charge_beyond_8_bits_is_refused_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    form = PxdFormat(pxd(["1.1.1"]))
    x = torch.zeros(1, 1, 250, 768)
    x[0, 0, 3, 3] = 256
    with pytest.raises(UserError, match="256 ADU"):
        form.write(tmp_path / name, Batch(x))
    assert list(tmp_path.iterdir()) == []


def test_labels_follow_the_name_of_the_folder_not_the_listing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(original(self), reverse=True)))
    for names in (FEW, tuple(sorted(FEW)), tuple(reversed(FEW))):
        x = PxdFormat(pxd(names)).read(folder).x
        for event in range(3):
            assert x[event, :, 1, event].tolist() == [sensor_number(name) + 7 for name in names]
        assert int((x > 0).sum()) == 9


def test_charges_below_threshold_count_as_empty(folder: Path) -> None:
    pixels = np.zeros((250, 768), np.uint8)
    pixels[0, :3] = 6, 7, 255
    Image.fromarray(pixels).save(folder / "1.1.1" / "event_0.png")
    assert PxdFormat(pxd(["1.1.1"])).read(folder).x[0, 0, 0, :3].tolist() == [0, 7, 255]


def broken_size(folder: Path) -> None:
    Image.fromarray(np.zeros((256, 768), np.uint8)).save(folder / "2.2.1" / "event_0.png")


def broken_colour(folder: Path) -> None:
    colours = np.zeros((250, 768, 3), np.uint8)
    colours[3, 4, 1] = 9
    Image.fromarray(colours).save(folder / "2.2.1" / "event_0.png")


def truncated(folder: Path) -> None:
    path = folder / "2.2.1" / "event_1.png"
    path.write_bytes(path.read_bytes()[:-40])


def renamed(folder: Path) -> None:
    (folder / "2.2.1" / "event_2.png").rename(folder / "2.2.1" / "event_9.png")


def missing_folder(folder: Path) -> None:
    (folder / "2.2.1").rename(folder / "2.2.3")


def emptied(folder: Path) -> None:
    for path in folder.glob("*/*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_size, r"event_0\.png: the image has 256x768 pixels \(u x v\), expected 250x768"),
        (broken_colour, r"event_0\.png: the image has mode 'RGB', expected 8-bit grey"),
        (truncated, r"event_1\.png: not a complete PNG image"),
        (renamed, r"2\.10\.1 and 2\.2\.1 need the same file names: 'event_2\.png' is only in one"),
        (missing_folder, r"the folder of sensor 2\.2\.1 is missing"),
        (emptied, r"holds no PNG files"),
    ],
)
def test_damaged_images_are_named_in_one_sentence(damage, message: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(FormatError, match=message) as caught:
        PxdFormat(pxd(FEW)).check(folder)
    assert "\n" not in str(caught.value)


def replaced(file: h5py.File, key: str, values: object) -> None:
    kept = np.asarray(values)
    del file[key]
    file[key] = kept


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: replaced(f, "sensor", np.full(len(f["sensor"]), 40)), "key 'sensor' holds 40"),
        (
            lambda f: replaced(f, "u", np.full(len(f["u"]), 250)),
            "key 'u' holds 250, expected 0 to 249",
        ),
        (lambda f: replaced(f, "v", -f["v"][:].astype(int)), "key 'v' holds -"),
        (lambda f: replaced(f, "charge", f["charge"][:].astype(int) + 256), "expected 0 to 255"),
        (lambda f: replaced(f, "charge", f["charge"][:] * 0), "only pixels that fired"),
        (lambda f: replaced(f, "v", f["v"][:-1]), "the keys differ in length"),
        (lambda f: replaced(f, "v", f["v"][:] * 1.0), "not a list of whole numbers"),
        (lambda f: replaced(f, "u", f["u"][:][::-1]), "hits of event 0 must rise"),
        (lambda f: replaced(f, "event_offsets", f["event_offsets"][:] + 1), "must rise from 0"),
        (lambda f: replaced(f, "event_offsets", [0]), "holds no events"),
        (lambda f: f.attrs.__setitem__("sensors", [0, 34]), "lacks sensor 2.2.1"),
        (lambda f: f.attrs.__setitem__("version", 2), "layout and version"),
        (lambda f: f.attrs.__setitem__("rows", 64), "64x768 cells"),
        (lambda f: f.__delitem__("v"), "key 'v' is missing"),
    ],
)
def test_damaged_lists_are_named_in_one_sentence(damage, message: str, tmp_path: Path) -> None:
    form = PxdFormat(pxd(FEW))
    form.toy(tmp_path / "pxd.hdf5", 2)
    with h5py.File(tmp_path / "pxd.hdf5", "r+") as file:
        damage(file)
    with pytest.raises(FormatError, match=message) as caught:
        form.check(tmp_path / "pxd.hdf5")
    assert "\n" not in str(caught.value)


def test_a_truncated_list_is_an_error(tmp_path: Path) -> None:
    form = PxdFormat(pxd(FEW))
    form.toy(tmp_path / "pxd.hdf5", 2)
    data = (tmp_path / "pxd.hdf5").read_bytes()
    (tmp_path / "pxd.hdf5").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="truncated or damaged"):
        form.check(tmp_path / "pxd.hdf5")


def test_an_existing_folder_is_not_written_into(folder: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        PxdFormat(pxd(FEW)).write(folder, events(pxd(FEW), 1))
    assert PxdFormat(pxd(FEW)).read(folder).x.shape[0] == 3


def test_many_small_appends_make_the_same_file_as_one(tmp_path: Path) -> None:
    form = PxdFormat(pxd(FEW))
    batch = Batch(events(form.spec, 5, rate=0.03).x)
    with form.writer(tmp_path / "parts.hdf5") as writer:
        for event in range(5):
            writer.append(batch[event : event + 1])
    form.write(tmp_path / "whole.hdf5", batch)
    assert len(h5py.File(tmp_path / "whole.hdf5")["u"]) > 2**16  # more than one chunk
    first, second = (
        Hits.cat(list(form.stream(tmp_path / f"{name}.hdf5"))) for name in ("parts", "whole")
    )
    assert first.sha256() == second.sha256()


@pytest.mark.parametrize("kilobytes", [1, 40, 150])
def test_a_full_disk_is_said_and_leaves_no_hits(kilobytes: int, tmp_path: Path) -> None:
    form = PxdFormat(pxd(FEW))
    batch = events(form.spec, 12, rate=0.02)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, before[1]))

    def fill() -> None:
        with form.writer(tmp_path / "pxd.hdf5") as writer:
            for start in range(12):
                writer.append(batch[start : start + 1])

    try:
        with pytest.raises(
            UserError, match=r"cannot write .*pxd\.hdf5: .*; no part of it was left"
        ):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [torch.nan, 0.0, -1.0])
def test_rates_in_a_file_are_finite_and_positive(tmp_path: Path, wrong: float) -> None:
    form = PxdFormat(pxd_small(rate=[0.5, 1.5]))
    path = tmp_path / "a.hdf5"
    assert form.toy(path, 3).ranges["rate"][0] >= 0.5
    batch = form.read(path, 1, 3)
    assert batch.cond["rate"].shape == (2, 1)
    assert torch.equal(
        batch.cond["rate"], torch.cat([b.cond["rate"] for b in form.iterate(path, 2)])[1:]
    )
    with h5py.File(path, "a") as file:
        file["rate"][1] = wrong
    with pytest.raises(FormatError, match="key 'rate'"):
        form.header(path)
    with h5py.File(path, "a") as file:
        del file["rate"]
        file["rate"] = np.ones(2, np.float32)
    with pytest.raises(FormatError, match=r"expected \(3,\) for 3 events"):
        form.header(path)
    with pytest.raises(UserError, match="lack the condition 'rate'"):
        form.write(path, Batch(batch.x))
