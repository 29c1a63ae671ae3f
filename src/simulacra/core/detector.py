"""A calorimeter as plates along the shower's direction, with the cells in which it is read out.

A shower enters at depth 0 in the middle of the first plate. Plates are wide and flat; their energy is read
in cells of a :class:`~simulacra.core.Geometry`, layer by layer: an active plate belongs to a layer, or, where
the layers are slices of depth, to all those that it reaches into.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, product
from typing import Any, Literal

from simulacra.core import typed
from simulacra.core.constructors import constructor
from simulacra.core.errors import UserError
from simulacra.core.geometry import Geometry, Layer
from simulacra.core.materials import MATERIALS, effective
from simulacra.core.ranges import Count, NotNegative, Positive

Readout = Literal["cells", "steps"]
Booked = Literal["middle", "start"]


@dataclass(frozen=True)
class Plate:
    """One plate.

    Args:
        material: Its name in Geant4's table of materials, or ``liquidArgon``.
        thickness: Along the shower's direction [mm].
        layer: Position of the layer that its energy counts in, None where it is not read out.
        scale: What its energy is multiplied by, one over the sampling fraction.
    """

    material: str
    thickness: float
    layer: int | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Gun:
    """What is shot at a detector unless the user says otherwise.

    Args:
        particle: Geant4's name of the particle.
        energy: Smallest and largest kinetic energy [GeV].
        spectrum: Distribution between the two.
        theta: Range of the angle between the direction and the normal of the plates [deg].
        phi: Range of the direction's azimuth [deg].
        x: Range of the point of entry along the first transverse axis [mm].
        y: The same along the second.
        distance: From the point where particles start to the front of the first plate [mm].
    """

    particle: str = "gamma"
    energy: tuple[float, float] = (1.0, 20.0)
    spectrum: Literal["loguniform", "uniform"] = "loguniform"
    theta: tuple[float, float] = (0.0, 0.0)
    phi: tuple[float, float] = (0.0, 0.0)
    x: tuple[float, float] = (0.0, 0.0)
    y: tuple[float, float] = (0.0, 0.0)
    distance: float = 1.0

    def __post_init__(self) -> None:
        for name in ("energy", "theta", "phi", "x", "y"):
            low, high = getattr(self, name)
            object.__setattr__(self, name, (float(low), float(high)))
            if not low <= high:
                raise UserError(f"gun.{name} is a range from low to high, got [{low}, {high}]")
        if self.energy[0] <= 0:
            raise UserError(f"gun.energy must be above 0 GeV, got {self.energy[0]}")
        if not (self.theta[0] >= 0 and self.theta[1] < 90):
            raise UserError(f"gun.theta lies between 0 and 90 deg, got {list(self.theta)}")
        if self.distance <= 0:
            raise UserError(f"gun.distance must be above 0 mm, got {self.distance}")


@dataclass(frozen=True)
class Detector:
    """See the module's docstring.

    Args:
        name: Name of the detector.
        plates: From the front.
        geometry: Cells of each layer [mm], in coordinates whose origin the particles of :class:`Gun` aim at.
        readout: ``cells``: Geant4's own scorers on cells, whose walls end steps; ``steps``: every step in an
            active plate, which is slower and leaves the physics as it is.
        booked: Where the energy of a step counts, at its middle or its start.
        slices: Depths of the borders of layers that are slices of depth [mm], or None.
        width: Of the plates along both transverse axes [mm].
        gun: What is shot.
        data: Data set in whose format showers are written; None: one of the detector's own.
    """

    name: str
    plates: tuple[Plate, ...]
    geometry: Geometry
    readout: Readout = "cells"
    booked: Booked = "middle"
    slices: tuple[float, ...] | None = None
    width: float = 1000.0
    gun: Gun = Gun()
    data: str | None = None

    def __post_init__(self) -> None:
        n = len(self.geometry)
        strange = sorted({p.layer for p in self.plates if p.layer is not None} - set(range(n)))
        if strange and self.slices is None:
            raise UserError(f"{self.name} has {n} layers, but plates of layer {strange[0]}")
        if self.slices is not None and len(self.slices) != n + 1:
            raise UserError(f"{self.name} has {n} layers, but {len(self.slices)} borders of them")
        if self.readout == "cells" and (self.slices is not None or self.booked == "start"):
            raise UserError(
                f"{self.name}: layers that are slices of depth, and energy at the start of a step, are read "
                "by steps: set detector.readout=steps"
            )

    @property
    def depth(self) -> float:
        """Thickness of all plates [mm]."""
        return sum(plate.thickness for plate in self.plates)

    @property
    def digest(self) -> str:
        """Hash of all that is built and how it is read, not of its gun."""
        built = (self.plates, self.geometry, self.readout, self.booked, self.slices, self.width)
        return hashlib.sha256(repr(built).encode()).hexdigest()[:16]

    @property
    def lengths(self) -> tuple[float, float]:
        """Radiation length and Molière radius of all plates together [mm].

        Raises:
            UserError: If those of one of its materials are not known.
        """
        found = effective((plate.material, plate.thickness) for plate in self.plates)
        return found.radiation_length, found.moliere_radius

    @property
    def sampling_fraction(self) -> float:
        """Share of the energy that is seen, one over the scale of the plates that are read out, of which each
        counts by its thickness.
        """
        read = [plate for plate in self.plates if plate.layer is not None]
        seen = sum(plate.thickness / plate.scale for plate in read)
        return seen / sum(plate.thickness for plate in read)

    @cached_property
    def fronts(self) -> tuple[float, ...]:
        """Depth of the front of each plate [mm]."""
        return tuple(accumulate((plate.thickness for plate in self.plates[:-1]), initial=0.0))

    @cached_property
    def layer_depths(self) -> tuple[float, ...]:
        """Depth of the middle of what is read out in each layer [mm]."""
        if self.slices is not None:
            return tuple((a + b) / 2 for a, b in zip(self.slices, self.slices[1:], strict=False))
        centres: list[list[float]] = [[] for _ in self.geometry.layers]
        for front, plate in zip(self.fronts, self.plates, strict=True):
            if plate.layer is not None:
                centres[plate.layer].append(front + plate.thickness / 2)
        return tuple(sum(some) / len(some) if some else 0.0 for some in centres)


@constructor
def detector(
    name: str,
    sections: Sequence[Mapping[str, Any]],
    cells: Sequence[Mapping[str, Any]],
    scale: Positive | Sequence[Positive] = 1.0,
    readout: Readout = "cells",
    booked: Booked = "middle",
    mesh: Mapping[str, Any] | None = None,
    gun: Mapping[str, Any] | None = None,
    data: str | None = None,
    width: Positive = 1000.0,
) -> Detector:
    """A detector from its description in ``conf/detector``.

    Args:
        name: Name of the detector.
        sections: From the front, see :func:`section`.
        cells: Of each layer, or one entry for all, see :func:`layer`.
        scale: Of the plates of each layer, or one for all; one over the sampling fraction.
        readout: See :class:`Detector`.
        booked: See :class:`Detector`.
        mesh: Other cells than those that are built, see :func:`common_mesh`; or ``slices`` alone, the depths
            of the borders of the layers [mm]; None: as built.
        gun: What is shot, the arguments of :class:`Gun`.
        data: See :class:`Detector`.
        width: Of the plates [mm].

    Raises:
        UserError: If the parts do not fit together.
    """
    plates: list[Plate] = []
    for number, item in enumerate(sections):
        plates += _called(section, item, f"detector.sections[{number}]")
    layers = 1 + max((plate.layer for plate in plates if plate.layer is not None), default=-1)
    if not layers:
        raise UserError(f"detector {name} has no active plate")
    scales = [scale] * layers if isinstance(scale, (int, float)) else list(scale)
    if len(scales) != layers:
        raise UserError(f"detector {name} has {layers} layers of plates, but {len(scales)} scales")
    plates = [p if p.layer is None else replace(p, scale=float(scales[p.layer])) for p in plates]
    wanted = dict(mesh or {})
    slices = wanted.pop("slices", None)
    if wanted:
        stack = [(plate.material, plate.thickness) for plate in plates]
        geometry, slices = _called(common_mesh, {"stack": stack, **wanted}, "detector.mesh")
    else:
        geometry = built(cells, layers if slices is None else len(slices) - 1)
    found = Detector(
        name,
        tuple(plates),
        geometry,
        readout if slices is None else "steps",
        booked,
        None if slices is None else tuple(map(float, slices)),
        float(width),
        _called(Gun, gun or {}, "detector.gun"),
        data,
    )
    depths = found.layer_depths
    placed = [_at(item, depth) for item, depth in zip(geometry.layers, depths, strict=True)]
    return replace(found, geometry=Geometry(tuple(placed)))


def section(
    plates: Sequence[Sequence[Any]],
    repeat: Count = 1,
    active: Sequence[int] = (),
    layer: int = 0,
    per_layer: Count | None = None,
) -> list[Plate]:
    """A sequence of plates that is repeated.

    Args:
        plates: Pairs of material and thickness [mm].
        repeat: How often.
        active: Positions of the plates that are read out.
        layer: The first layer.
        per_layer: Active plates that are read out together; None: all of them.
    """
    strange = [k for k in active if not 0 <= k < len(plates)]
    if strange:
        raise UserError(f"a section of {len(plates)} plates has no plate {strange[0]}")
    found, read = [], 0
    for _, (k, item) in product(range(repeat), enumerate(plates)):
        if len(item) != 2 or not isinstance(item[1], (int, float)) or item[1] <= 0:
            raise UserError(f"a plate is a pair of material and thickness in mm, got {item}")
        own = layer if per_layer is None else layer + read // per_layer
        found.append(Plate(str(item[0]), float(item[1]), own if k in active else None))
        read += k in active
    return found


def layer(
    axes: Sequence[str],
    counts: Sequence[Count],
    sizes: Sequence[Positive] = (),
    origin: Sequence[float] | None = None,
) -> Layer:
    """Cells of one layer, whose depth is not known yet.

    Args:
        axes: ``[x, y]`` or other transverse axes, or ``[alpha, r]`` around the shower's axis.
        counts: Cells along both axes.
        sizes: Sizes of a cell [mm]; of ``[alpha, r]`` the size along r alone.
        origin: Lower edges of the first cell along both axes [mm]; None: the origin is in the middle.
    """
    wanted = 1 if tuple(axes) == ("alpha", "r") else 2
    if len(axes) != 2 or len(counts) != 2 or len(sizes) != wanted:
        raise UserError(f"cells along {list(axes)} have two counts and {wanted} sizes")
    if wanted == 1:
        angles = tuple(math.pi * (2 * k - counts[0]) / counts[0] for k in range(counts[0] + 1))
        radii = tuple(sizes[0] * k for k in range(counts[1] + 1))
        return Layer(0, ("alpha", "r"), (angles, radii), 0.0, periodic=0)
    lows = origin or [-n * size / 2 for n, size in zip(counts, sizes, strict=True)]
    first, second = (
        tuple(low + size * k for k in range(n + 1))
        for low, size, n in zip(lows, sizes, counts, strict=True)
    )
    return Layer(0, (axes[0], axes[1]), (first, second), 0.0)  # type: ignore[arg-type]  # read by name


def built(cells: Sequence[Mapping[str, Any]], layers: int) -> Geometry:
    """Cells as they are built, of ``layers`` layers."""
    entries = list(cells) * (layers if len(cells) == 1 else 1)
    if len(entries) != layers:
        raise UserError(f"there are {layers} layers, but cells of {len(cells)} of them")
    made = [_called(layer, item, f"detector.cells[{k}]") for k, item in enumerate(entries)]
    return Geometry(tuple(_at(item, 0.0, number) for number, item in enumerate(made)))


def common_mesh(
    stack: Sequence[tuple[str, float]],
    depths: Count = 20,
    reach: Positive = 25.0,
    angles: Count = 8,
    radii: Sequence[NotNegative] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 4.0),
) -> tuple[Geometry, list[float]]:
    """A cylinder that is the same for all calorimeters in units of their radiation length and Molière radius.

    Args:
        stack: Material and thickness of each plate, from the front.
        depths: Number of slices of equal depth in radiation lengths.
        reach: Depth of the last border [radiation lengths]; what lies deeper is not read out.
        angles: Sectors around the shower's axis.
        radii: Borders of the rings [Molière radii].

    Returns:
        The cells [mm], and the depths of the borders of their layers [mm].

    Raises:
        UserError: If a material's radiation length is not known.
    """
    size = effective(stack).moliere_radius
    borders = [reach * k / depths for k in range(depths + 1)]
    edges = [_depth_of(border, stack) for border in borders]
    alpha = tuple(math.pi * (2 * k - angles) / angles for k in range(angles + 1))
    rings = tuple(size * radius for radius in radii)
    layers = (Layer(k, ("alpha", "r"), (alpha, rings), 0.0, periodic=0) for k in range(depths))
    return Geometry(tuple(layers)), edges


def _depth_of(border: float, stack: Sequence[tuple[str, float]]) -> float:
    """Where a number of radiation lengths is reached [mm]; behind the last plate as if it went on."""
    depth = passed = 0.0
    for name, thickness in stack:
        step = thickness / MATERIALS[name].radiation_length
        if passed + step >= border:
            return depth + (border - passed) * MATERIALS[name].radiation_length
        passed, depth = passed + step, depth + thickness
    return depth + (border - passed) * effective(stack).radiation_length


def _at(item: Layer, depth: float, number: int | None = None) -> Layer:
    return Layer(item.id if number is None else number, item.axes, item.edges, depth, item.periodic)


def _called(made: Any, given: Mapping[str, Any], where: str) -> Any:
    """A constructor of parts called with entries of a configuration, which name the place if they misfit."""
    if not isinstance(given, Mapping):
        raise UserError(f"{where} is a group of keys, got {str(given)[:80]!r}")
    try:
        return made(**typed.arguments(made, given, where))
    except (TypeError, ValueError) as error:  # unknown or missing keys, edges that do not rise
        raise UserError(f"{where}: {error}") from error
