"""Images of the pixel detector as published: one folder per sensor, in it one PNG per event.

The folders are called ``layer.ladder.sensor``, from ``1.1.1`` to ``2.12.2``; an event has the same
file name in each. A file is an 8-bit grey image of 250 rows (u) and 768 columns (v), its values the
charge in ADU. What a folder shows follows from its name alone, never from the order of a listing.

Reference: public code of IEA-GAN, arXiv:2303.08046.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from simulacra.core import Batch, FormatError, UserError
from simulacra.core.files import cannot_write
from simulacra.formats.base import FileInfo, Writer
from simulacra.formats.opening import first_line, guard, look, other_kind
from simulacra.formats.pxd_hits import Hits
from simulacra.formats.pxd_sensors import COLS, ROWS, SENSORS, sensor_name

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LOSSLESS = ("RGB", "RGBA", "LA", "P", "PA")  # modes that can hold 8-bit grey
_RAISED = (
    SyntaxError,  # of a broken chunk
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
"""What Pillow raises where bytes are not what they should be."""


def is_event_folder(path: Path) -> bool:
    """Whether at least one folder in ``path`` is named like a sensor."""
    return any(os.path.isdir(path / name) for name in SENSORS)


def event_names(path: Path, sensors: Sequence[int]) -> list[str]:
    """File names of the events, sorted; checks that each of ``sensors`` has a folder with the same
    names.

    Raises:
        FormatError: In one sentence.
    """
    with guard(path):
        if not path.is_dir():
            raise FormatError(f"{path}: there is no such folder")
        names = [sensor_name(number) for number in sensors]
        missing = [name for name in names if not (path / name).is_dir()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FormatError(f"{path}: the folder of sensor {missing[0]}{more} is missing")
    first = sensor_name(sensors[0])
    names = _listing(path / first)
    if not names:
        raise FormatError(f"{path / first}: the folder holds no PNG files")
    for number in sensors[1:]:
        other = _listing(path / sensor_name(number))
        if other != names:
            odd = sorted(set(other) ^ set(names))[0]
            raise FormatError(
                f"{path}: {first} and {sensor_name(number)} need the same file names: {odd!r} is only in one"
            )
    return names


def header(path: Path, sensors: Sequence[int]) -> FileInfo:
    """Check names and the first image of each sensor."""
    names = event_names(path, sensors)
    for number in sensors:
        read_image(path / sensor_name(number) / names[0])
    return FileInfo(
        path, len(names), {sensor_name(number): (len(names), ROWS, COLS) for number in sensors}
    )


def read(path: Path, sensors: Sequence[int], start: int = 0, stop: int | None = None) -> Hits:
    """Fired pixels of events ``start`` to ``stop`` (to the end if None), in the order of their file
    names.
    """
    return read_events(path, sensors, event_names(path, sensors)[start:stop])


def read_events(path: Path, sensors: Sequence[int], names: Sequence[str]) -> Hits:
    """Fired pixels of the events with these file names, which :func:`event_names` has checked."""
    counts, parts = [], []
    for name in names:
        count = 0
        for number in sorted(sensors):
            image = read_image(path / sensor_name(number) / name)
            u, v = np.nonzero(image)
            parts.append((np.full(len(u), number), u, v, image[u, v]))
            count += len(u)
        counts.append(count)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Hits.of(np.concatenate([[0], np.cumsum(counts)]), columns)


def read_image(path: Path) -> NDArray[np.uint8]:
    """One image, uint8 ``(250, 768)``.

    Raises:
        FormatError: If the file is missing, damaged, no PNG, or not an image of 8-bit grey values of the
            right size; they may be stored as equal colours or by a palette.
    """
    start = look(path, "PNG")
    if not start.startswith(_SIGNATURE):
        raise other_kind(path, "PNG", start)
    width, height = struct.unpack(">II", start[16:24].ljust(8, b"\0"))
    if (width, height) != (COLS, ROWS):  # before anything of that size is made
        raise FormatError(
            f"{path}: the image has {height}x{width} pixels (u x v), expected {ROWS}x{COLS}"
        )
    kinds = (*_RAISED, Image.DecompressionBombError)
    with guard(path, kinds, _incomplete, "PIL"):
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()  # the checksum of each chunk, which reading passes over
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image) if image.mode == "L" else _grey(image, path)


def _grey(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Grey values of an image that is stored in another way, where none is lost."""
    if image.mode in _LOSSLESS:
        colours = np.asarray(image.convert("RGBA"))
        first = colours[..., 0]
        if (colours[..., 3] == 255).all() and (colours[..., 1:3] == first[..., None]).all():
            return np.ascontiguousarray(first)
    raise FormatError(
        f"{path}: the image has mode {image.mode!r}, expected 8-bit grey ('L'), or colours that are all grey"
    )


def _incomplete(error: Exception) -> str:
    return f"not a complete PNG image, get it again ({first_line(error)})"


class PngWriter(Writer):
    """Streams events into a folder of images that appears whole or not at all.

    Args:
        path: The folder, which must not hold anything yet.
        sensors: Number of the sensor that each image of a batch shows.
        threshold: Charges below it become 0 [ADU].
        attributes: Provenance, stored as text in every image.
    """

    def __init__(
        self,
        path: Path | str,
        sensors: tuple[int, ...],
        threshold: float,
        attributes: Mapping[str, str | int | float],
    ) -> None:
        super().__init__(path)
        self.sensors, self.threshold, self.n = sensors, threshold, 0
        self.text = PngImagePlugin.PngInfo()
        for key, value in attributes.items():
            self.text.add_text(key, str(value))

    def _append(self, batch: Batch) -> None:
        """Write images ``(B, S, 250, 768)`` [ADU], rounded to whole ADU."""
        images = batch.x.detach().cpu().round().numpy()
        if images.size and images.max() > 255:
            raise UserError(
                f"cannot write {self.path}: a pixel holds {images.max():.6g} ADU, an 8-bit image ends at 255"
            )
        images = np.where(images < self.threshold, 0, images).astype(np.uint8)
        try:
            for event in images:
                for number, pixels in zip(self.sensors, event, strict=True):
                    name = f"{self.n:07d}.png"
                    Image.fromarray(pixels).save(
                        self.temporary / sensor_name(number) / name, pnginfo=self.text
                    )
                self.n += 1
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _open(self) -> None:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UserError(
                f"cannot write {self.path}: it exists already, choose the name of a new folder"
            )
        for number in self.sensors:
            (self.temporary / sensor_name(number)).mkdir(parents=True)

    def _close(self) -> None:
        """Every image is complete on disk already."""

    def _discard(self) -> None:
        """Nothing is open."""


def _listing(folder: Path) -> list[str]:
    with guard(folder):
        entries = list(folder.iterdir())
    return sorted(entry.name for entry in entries if entry.suffix.lower() == ".png")
