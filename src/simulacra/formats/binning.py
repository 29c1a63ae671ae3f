"""Reader of CaloChallenge binning files (XML) into a :class:`~simulacra.core.Geometry`.

A file lists ``<Layer id r_edges n_bin_alpha>``. A layer with ``k`` radial edges has ``k - 1``
radial bins and ``n_bin_alpha`` equal bins over ``[-pi, pi]``; those without a bin are skipped. The
layer's id, not its position, names it.
"""

from __future__ import annotations

import math
import os
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

from simulacra.core import FormatError, Geometry, Layer
from simulacra.core.files import write_text
from simulacra.formats.opening import first_line, guard, look

_LARGEST = 2**20  # bytes, of what describes a few dozen layers
_CELLS = 10**6  # of one layer


class _NoEntities(ElementTree.TreeBuilder):
    """Builds the tree of a file that declares no entities, which could grow without end or name other files.

    Args:
        path: The file, for the message.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self.path = path

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Refuse a document type, in which entities are declared."""
        raise FormatError(f"{self.path}: a binning file needs no <!DOCTYPE {name}>: take it out")


def read_binning(path: Path | str, pitch: float = 1.0) -> Geometry:
    """Geometry of a binning file.

    Args:
        path: A file of the user, or the bare name of one that the package brings.
        pitch: Depth between successive layer ids [mm], or 1 to give the id as depth.

    Raises:
        FormatError: If the file is missing, is not XML, or describes no voxels.
    """
    source = find_binning(path)
    with guard(source):
        size = source.stat().st_size
        if size > _LARGEST:
            raise FormatError(
                f"{path}: this binning file has {size:,} bytes, expected {_LARGEST:,} at most"
            )
    look(source, "XML", empty=True)
    kinds = (ElementTree.ParseError, UnicodeDecodeError, LookupError, ValueError)
    with guard(source, kinds, _not_xml):
        parser = ElementTree.XMLParser(target=_NoEntities(path))
        root = ElementTree.parse(source, parser).getroot()
    bins = root.findall("Bin")
    if root.tag != "Bins" or len(bins) != 1:
        raise FormatError(
            f"{path}: expected <Bins> with one <Bin>, found <{root.tag}> with {len(bins)}"
        )
    layers = [_layer(path, item, pitch) for item in bins[0].findall("Layer")]
    kept = tuple(layer for layer in layers if layer is not None)
    if not kept:
        raise FormatError(f"{path}: none of the {len(layers)} layers has a voxel")
    return Geometry(kept)


def polar(geometry: Geometry) -> bool:
    """Whether a binning file can describe a geometry: rings of equal sectors that begin at -pi."""
    for layer in geometry.layers:
        n = layer.shape[0]
        equal = tuple(math.pi * (2 * k - n) / n for k in range(n + 1))
        if layer.axes != ("alpha", "r") or layer.edges[0] != equal:
            return False
    return True


def write_binning(path: Path, geometry: Geometry, particle: str) -> None:
    """Write the cells of a geometry (:func:`polar`) as a binning file, whole or not at all.

    Args:
        path: The file.
        geometry: The cells.
        particle: Name of the particle whose showers are binned.

    Raises:
        UserError: If it cannot be written.
    """
    bins = ElementTree.Element("Bins", version="1.0")
    one = ElementTree.SubElement(bins, "Bin", name=particle)
    for layer in geometry.layers:
        edges = ",".join(repr(edge) for edge in layer.edges[1])
        entry = {"id": str(layer.id), "r_edges": edges, "n_bin_alpha": str(layer.shape[0])}
        ElementTree.SubElement(one, "Layer", entry)
    ElementTree.indent(bins)
    write_text(path, ElementTree.tostring(bins, encoding="unicode") + "\n")


def _not_xml(error: Exception) -> str:
    return f"this binning file is not XML ({first_line(error)})"


def find_binning(path: Path | str) -> Path:
    """The user's file if there is one, else the file of that name in the package.

    Raises:
        FormatError: If there is neither.
    """
    bundled = Path(str(resources.files("simulacra.formats") / "binning" / Path(path).name))
    if os.path.exists(path):
        return Path(path)
    if str(path) == bundled.name and bundled.is_file():
        return bundled
    names = ", ".join(sorted(item.name for item in bundled.parent.glob("*.xml")))
    raise FormatError(f"{path}: there is no such binning file, the package brings {names}")


def _layer(path: Path | str, item: ElementTree.Element, pitch: float) -> Layer | None:
    try:
        number, alpha = int(item.attrib["id"]), int(item.attrib["n_bin_alpha"])
        radii = tuple(float(edge) for edge in item.attrib["r_edges"].split(","))
    except KeyError as error:
        raise FormatError(
            f"{path}: a layer lacks the attribute {error}, it has {sorted(item.attrib)}"
        ) from error
    except ValueError as error:
        raise FormatError(
            f"{path}: layer {item.attrib.get('id')} is not readable ({error})"
        ) from error
    if len(radii) == 1:
        return None
    if alpha < 1:
        raise FormatError(f"{path}: layer {number} has n_bin_alpha={alpha}, expected at least 1")
    if alpha * (len(radii) - 1) > _CELLS:
        raise FormatError(
            f"{path}: layer {number} has {alpha * (len(radii) - 1):,} voxels, expected {_CELLS:,} at most"
        )
    if not all(map(math.isfinite, radii)):
        raise FormatError(f"{path}: layer {number} has r_edges that are no finite numbers")
    angles = tuple(math.pi * (2 * k - alpha) / alpha for k in range(alpha + 1))
    try:
        return Layer(number, ("alpha", "r"), (angles, radii), number * pitch, periodic=0)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
