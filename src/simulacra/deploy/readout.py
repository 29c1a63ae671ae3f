"""From what a simulated event leaves to events of a data set: voxels, or clouds of points."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.core.constructors import role
from simulacra.core.detector import Detector
from simulacra.core.detector import Readout as ReadoutKind
from simulacra.core.geometry import Layer
from simulacra.core.ranges import Positive
from simulacra.core.units import factor
from simulacra.deploy.primaries import Primaries

Array = NDArray[np.float64]
STEP = ("layer", "energy", "x", "y", "z")
"""Columns of steps: position of the plate's layer, energy [MeV], place [mm] from the middle of the front."""


@role
class Readout(ABC):
    """Makes events of a data set from steps in a detector.

    Args:
        origin: Where particles that are shot at the middle of the front enter, in the coordinates of the data
            set [mm].
        polar: Whether the data set's ``theta`` is the angle from the first transverse axis, not from the
            normal of the plates.
    """

    def __init__(self, origin: Sequence[float] = (0.0, 0.0), polar: bool = False) -> None:
        self.origin, self.polar = (float(origin[0]), float(origin[1])), polar

    def scoring(self, spec: Spec, detector: Detector) -> ReadoutKind:
        """How the detector is read: step by step unless its own cells are wanted."""
        return "steps"

    @abstractmethod
    def of_steps(self, spec: Spec, detector: Detector, steps: Sequence[Array]) -> Batch:
        """Events ``(n, ...)`` without conditions, of steps ``(k, 5)`` of each, see :data:`STEP`.

        Raises:
            UserError: If the data set does not fit the detector.
        """

    def of_cells(self, spec: Spec, energies: Array, beside: Array) -> Batch:
        """Events of energies in all cells ``(n, V)`` and beside those of each layer ``(n, L)`` [MeV].

        Raises:
            UserError: If the data set is none of voxels.
        """
        raise UserError(f"{spec.name} is not read out in the cells of a detector")


class Voxels(Readout):
    """Energies in the cells of the data set; what lies beside them goes to the field ``overflow``, where the
    data set has it.
    """

    overflow: ClassVar[str] = "overflow"

    def scoring(self, spec: Spec, detector: Detector) -> ReadoutKind:
        """As the detector says, where its own cells are the voxels."""
        own = [(layer.axes, layer.edges) for layer in detector.geometry.layers]
        wanted = [(layer.axes, layer.edges) for layer in geometry_of(spec, detector)]
        return detector.readout if own == wanted and self.origin == (0.0, 0.0) else "steps"

    def of_steps(self, spec: Spec, detector: Detector, steps: Sequence[Array]) -> Batch:
        """As of the base class."""
        layers = geometry_of(spec, detector)
        offsets = np.concatenate([[0], np.cumsum([layer.size for layer in layers])])
        energies = np.zeros((len(steps), offsets[-1]))
        beside = np.zeros((len(steps), len(layers)))
        for row, found in enumerate(steps):
            number = layer_of(detector, found)
            for k, layer in enumerate(layers):
                own = found[number == k]
                x, y = own[:, 2] + self.origin[0], own[:, 3] + self.origin[1]
                cell = cell_of(layer, x, y)
                inside = cell >= 0
                target = offsets[k] + cell[inside]
                np.add.at(energies[row], target, own[inside, 1])
                beside[row, k] = own[~inside, 1].sum()
        return self.of_cells(spec, energies, beside)

    def of_cells(self, spec: Spec, energies: Array, beside: Array) -> Batch:
        """As of the base class; energies below the readout threshold are 0."""
        unit = factor("MeV", spec.unit)
        x = torch.from_numpy(energies * unit).float().reshape(-1, *spec.shape)
        x = torch.where(x < spec.threshold, 0.0, x)
        named = {field.name for field in spec.event}
        lost = torch.from_numpy(beside * unit).float()
        return Batch(x, {}, {self.overflow: lost} if self.overflow in named else {})


class Points(Readout):
    """Points: steps that fall into one small cell of a layer together, at its middle, sorted by layer.

    Args:
        pitch: Size of these cells [mm].
        origin: See the base class.
        phase: Position of a cell edge along both axes, in the data set's coordinates [mm].
        polar: See the base class.
    """

    def __init__(
        self,
        pitch: Positive = 0.848,
        origin: Sequence[float] = (0.0, 0.0),
        phase: Sequence[float] = (0.0, 0.0),
        polar: bool = False,
    ) -> None:
        super().__init__(origin, polar)
        self.pitch, self.phase = pitch, (float(phase[0]), float(phase[1]))

    def of_steps(self, spec: Spec, detector: Detector, steps: Sequence[Array]) -> Batch:
        """As of the base class."""
        names = [feature.name for feature in spec.features]
        if spec.kind != "cloud" or "layer" not in names or len(names) != 4:
            raise UserError(f"{spec.name} has no points with two positions, a layer and an energy")
        made = [self._points(spec, detector, found, names) for found in steps]
        size, unit = spec.shape[0], factor("MeV", spec.unit)
        x = torch.zeros(len(made), size, 4)
        mask = torch.zeros(len(made), size, dtype=torch.bool)
        for row, points in enumerate(made):
            if len(points) > size:
                raise UserError(
                    f"a shower has {len(points):,} points, {spec.name} has room for {size:,}: coarser points "
                    "are data.readout.pitch, more room is data.format.spec.points"
                )
            x[row, : len(points)] = torch.from_numpy(points).float()
            mask[row, : len(points)] = True
        x[..., names.index(spec.features[-1].name)] *= unit
        return Batch(x, {}, mask=mask)

    def _points(self, spec: Spec, detector: Detector, steps: Array, names: Sequence[str]) -> Array:
        """Points ``(k, 4)`` of one event inside the data set's bounds, energies in MeV."""
        plane = steps[:, 2:4] + np.array(self.origin)
        cells = np.floor((plane - np.array(self.phase)) / self.pitch).astype(np.int64)
        keys = np.column_stack([layer_of(detector, steps), cells])
        unique, index = np.unique(keys, axis=0, return_inverse=True)
        energy = np.bincount(index.ravel(), steps[:, 1], minlength=len(unique))
        middle = (unique[:, 1:] + 0.5) * self.pitch + np.array(self.phase)
        axes = iter(middle.T)
        columns = [
            energy if k == len(names) - 1 else unique[:, 0] if name == "layer" else next(axes)
            for k, name in enumerate(names)
        ]
        found = np.column_stack(columns).astype(np.float64)
        inside = found[:, -1] > 0
        for column, feature in zip(found.T[:-1], spec.features[:-1], strict=True):
            low = -math.inf if feature.low is None else feature.low
            high = math.inf if feature.high is None else feature.high
            inside &= (column >= low) & (column <= high)
        return found[inside]


def geometry_of(spec: Spec, detector: Detector) -> tuple[Layer, ...]:
    """Layers of a data set of voxels, as many as the detector has.

    Raises:
        UserError: If it has none, or another number.
    """
    if spec.geometry is None or spec.kind not in ("grid", "layers"):
        raise UserError(f"{spec.name} holds no voxels: it is no data set of showers on cells")
    layers = spec.geometry.layers
    if len(layers) != len(detector.geometry):
        raise UserError(
            f"{spec.name} has {len(layers)} layers, the detector {detector.name} {len(detector.geometry)}"
        )
    return layers


def layer_of(detector: Detector, steps: Array) -> NDArray[np.int64]:
    """Position of the layer of each step ``(n,)``, -1 outside of layers that are slices of depth."""
    if detector.slices is None:
        return steps[:, 0].astype(np.int64)
    number = np.searchsorted(np.array(detector.slices), steps[:, 4], side="right") - 1
    return np.where(number < len(detector.slices) - 1, number, -1)


def cell_of(layer: Layer, x: Array, y: Array) -> NDArray[np.int64]:
    """Flat cell of a layer at transverse positions ``(n,)`` [mm], -1 beside them."""
    if layer.axes == ("alpha", "r"):
        x, y = np.arctan2(y, x), np.hypot(x, y)
    rows, cols = layer.shape
    i, j = (
        np.searchsorted(np.array(edges), at, side="right") - 1
        for edges, at in zip(layer.edges, (x, y), strict=True)
    )
    if layer.periodic == 0:
        i = i % rows
    inside = (i >= 0) & (i < rows) & (j >= 0) & (j < cols)
    return np.where(inside, i * cols + j, -1)


def conditions(spec: Spec, primaries: Primaries, polar: bool = False) -> dict[str, Tensor]:
    """Conditions of a data set ``(n, dim)``, of one particle per event; ``polar`` as of :class:`Readout`.

    Raises:
        UserError: If the data set has a condition that is no property of a particle, or lacks its class.
    """
    known: dict[str, Array] = {
        "theta": (primaries.polar if polar else primaries.theta)[:, None],
        "phi": primaries.phi[:, None],
        "direction": primaries.direction,
        "entry_x": primaries.entry[:, :1],
        "entry_y": primaries.entry[:, 1:],
    }
    found: dict[str, Tensor] = {}
    for field in spec.conditions:
        if field.role == "energy":
            value = (primaries.energy * factor("MeV", field.unit))[:, None]
        elif field.classes is not None:
            value = _classes(field.name, field.classes, primaries)
        elif field.name in known:
            value = np.radians(known[field.name]) if field.unit == "rad" else known[field.name]
        else:
            raise UserError(f"{spec.name} has the condition {field.name}, which is not simulated")
        made = torch.from_numpy(value)
        found[field.name] = made.long() if field.classes is not None else made.float()
    return found


PDG = {
    "gamma": "22",
    "e-": "11",
    "e+": "-11",
    "pi+": "211",
    "pi-": "-211",
    "mu-": "13",
    "mu+": "-13",
}
"""Numbers of the Particle Data Group by Geant4's name."""
NAMES = {"e+": "eplus", "e-": "eminus", "pi+": "piplus", "pi-": "piminus"}
"""How data sets spell particles."""


def _classes(name: str, classes: Sequence[str], primaries: Primaries) -> Array:
    found = []
    for particle in map(str, primaries.particle):
        spelled = {particle, NAMES.get(particle, particle), PDG.get(particle, particle)}
        own = [k for k, item in enumerate(classes) if item in spelled]
        if not own:
            raise UserError(
                f"{name} is one of {', '.join(classes)}, and {particle} is none of them"
            )
        found.append(own[0])
    return np.array(found)[:, None]
