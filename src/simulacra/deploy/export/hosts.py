"""Contracts of programs that load generators today.

Each takes standard normal numbers alone, so that uniform ones are made of them inside the graph.
"""

from __future__ import annotations

import math
from typing import Optional

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field
from simulacra.core.draws import Kind
from simulacra.core.units import factor
from simulacra.deploy.export.contract import Contract, Plain
from simulacra.deploy.export.ports import Port

BELOW_ONE = 1 - 2**-24
"""Largest float32 below 1."""


class NormalHost(Contract):
    """A host that draws standard normal numbers alone, for showers with an incident energy on a grid or in
    layers.
    """

    angles: tuple[str, ...] = ()
    """Conditions beside the energy that the host can tell."""

    def refusal(self) -> str | None:
        """See :meth:`Contract.refusal`."""
        if self.spec.kind not in ("grid", "layers"):
            return f"it takes showers of cells, and these events are of kind {self.spec.kind}"
        energy = self.spec.roles.get("energy")
        if energy is None or energy.name not in self.module.given:
            return "it tells the incident energy, which the model is not given"
        known = (energy.name, *self.angles)
        others = [name for name in self.module.given if name not in known]
        if others:
            told = ", ".join(("the incident energy", *self.angles))
            return f"it tells {told}, and the model is also given {', '.join(others)}"
        return None

    @property
    def energy(self) -> Field:
        """The incident energy."""
        return self.spec.by_role("energy")

    @property
    def numbers(self) -> dict[Kind, int]:
        """See :attr:`Contract.numbers`."""
        return {"normal": sum(self.sampler.widths.values()), "uniform": 0}

    def split(self, normal: Tensor) -> dict[Kind, Tensor]:
        """The sampler's numbers of the host's ``(B, n)``."""
        first = self.sampler.widths["normal"]
        uniform = torch.special.ndtr(normal[:, first:]).clamp(0, BELOW_ONE)
        return {"normal": normal[:, :first], "uniform": uniform}

    def radians(self, name: str) -> float:
        """Factor from the data set's unit of an angle, 1 where the model is not given it."""
        return factor(self.spec.field(name).unit, "rad") if name in self.module.given else 1.0

    def in_unit(self, unit: str) -> float:
        """Factor from the data set's unit of the incident energy."""
        return factor(self.energy.unit, unit)


class Par04(NormalHost):
    """Geant4's example Par04 with the condition encoding of its variational autoencoder.

    One flat input: normal numbers, then E / 1024 GeV, theta / (pi / 2) and the two entries that tell the
    geometry. One flat output: fractions of the incident energy in the order (rho, phi, z), which the
    example's set-up class multiplies by it.
    """

    name = "par04"
    formats = ("onnx", "torchscript")
    angles = ("theta",)
    notes = (
        "the last four columns of the input: E / 1024 GeV, theta / (pi / 2) and the geometry's two entries",
        "the geometry's entries are not looked at, nor is theta unless the model is given it",
        "the output is the fraction of the incident energy, as the example's set-up class expects",
    )
    LARGEST = 1024.0  # GeV

    def refusal(self) -> str | None:
        """See :meth:`Contract.refusal`."""
        geometry = self.spec.geometry
        if geometry is None or not geometry.regular or geometry.layers[0].axes != ("alpha", "r"):
            return "it takes a cylindrical mesh (r, alpha, z) whose layers are all the same"
        return super().refusal()

    def taken(self) -> tuple[Port, ...]:
        """See :meth:`Contract.taken`."""
        return (Port("input", (self.numbers["normal"] + 4,), "normal", note=self.notes[0]),)

    def given(self) -> tuple[Port, ...]:
        """See :meth:`Contract.given`."""
        note = "order (rho, phi, z)"
        return (Port("output", (self.spec.n_voxels,), "output", "fraction of E", note=note),)

    def threshold(self, cond: Conditions) -> Tensor:
        """See :meth:`Contract.threshold`; a share of each event's energy."""
        cut = super().threshold(cond) * factor(self.spec.unit, self.energy.unit)
        return cut / cond.values[self.energy.name][:, 0].float()

    def feed(self, cond: Conditions, numbers: dict[Kind, Tensor]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.feed`."""
        energy = cond.values[self.energy.name].float() * (self.in_unit("GeV") / self.LARGEST)
        upright = torch.full_like(energy, math.pi / 2)
        theta = cond.values.get("theta", upright) * (self.radians("theta") / (math.pi / 2))
        geometry = torch.tensor([1.0, 0.0]).expand(cond.n, -1)
        return (torch.cat([numbers["normal"], energy, theta.float(), geometry], 1),)

    def read(self, inputs: tuple[Tensor, ...]) -> tuple[Conditions, dict[Kind, Tensor]]:
        """See :meth:`Contract.read`."""
        count, (flat,) = self.numbers["normal"], inputs
        values = {
            self.energy.name: flat[:, count : count + 1] * (self.LARGEST / self.in_unit("GeV")),
            "theta": flat[:, count + 1 : count + 2] * (math.pi / 2 / self.radians("theta")),
        }
        known = {name: values[name] for name in self.module.given}
        return Conditions(flat.shape[0], known), self.split(flat[:, :count])

    def write(self, batch: Batch, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.write`."""
        energy = self.read(inputs)[0].values[self.energy.name]
        share = batch.x * factor(self.spec.unit, self.energy.unit) / energy[:, :, None, None]
        return (share.permute(0, 3, 2, 1).flatten(1),)  # (B, z, phi, rho) to (rho, phi, z)


class OwnNoise(nn.Module):
    """A graph that draws its own noise unless it is handed some.

    Args:
        graph: From ``(1, 4)`` and ``(1, width)`` to the output.
        width: Normal numbers of an event.
    """

    def __init__(self, graph: nn.Module, width: int) -> None:
        super().__init__()
        self.graph, self.width = graph, width

    def forward(self, input: Tensor, noise: Optional[Tensor] = None) -> Tensor:  # noqa: UP045  # TorchScript's
        """The output ``(1, V)``."""
        if noise is None:
            noise = torch.randn(input.shape[0], self.width)
        made: Tensor = self.graph(input, noise)
        return made


class DDML(NormalHost):
    """DDML's grid model: a TorchScript file of one input (1, 4), the energy in GeV and -x, -y, z of the unit
    direction, and one output in GeV in the order (z, x, y).

    DDML draws no noise, so that the file does, from torch's global generator; with the noise as a second
    argument it is repeatable.
    """

    name = "ddml"
    formats = ("torchscript",)
    batch = 1
    angles = ("theta", "phi")
    notes = (
        "called with the first input alone, as DDML does, the file draws its noise from torch's generator",
        "called with both, it makes the shower of that noise",
        "the direction is not looked at unless the model is given theta or phi",
    )

    def refusal(self) -> str | None:
        """See :meth:`Contract.refusal`."""
        if self.spec.kind != "grid" or len(self.spec.shape) != 3:
            return (
                f"it takes a regular grid (z, x, y), and these events are of kind {self.spec.kind}"
            )
        geometry = self.spec.geometry
        if geometry is not None and geometry.layers[0].axes == ("alpha", "r"):
            return "it takes cells in x and y, and these are in r and alpha"
        return super().refusal()

    def taken(self) -> tuple[Port, ...]:
        """See :meth:`Contract.taken`."""
        unit = "GeV, then pure numbers"
        note = "E, -x, -y, z of the unit direction"
        return (
            Port("input", (4,), "condition", unit, note=note),
            Port("noise", (self.numbers["normal"],), "normal", note="may be left out"),
        )

    def given(self) -> tuple[Port, ...]:
        """See :meth:`Contract.given`."""
        note = "order (z, x, y)"
        return (Port("output", (self.spec.n_voxels,), "output", "GeV", note=note),)

    def feed(self, cond: Conditions, numbers: dict[Kind, Tensor]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.feed`."""
        energy = cond.values[self.energy.name].float() * self.in_unit("GeV")
        zero = torch.zeros_like(energy)
        theta, phi = (
            cond.values.get(name, zero).float() * self.radians(name) for name in self.angles
        )
        across = theta.sin()
        direction = [-across * phi.cos(), -across * phi.sin(), theta.cos()]
        return torch.cat([energy, *direction], 1), numbers["normal"]

    def read(self, inputs: tuple[Tensor, ...]) -> tuple[Conditions, dict[Kind, Tensor]]:
        """See :meth:`Contract.read`."""
        flat, noise = inputs
        energy, x, y, z = flat.split(1, 1)
        values = {
            self.energy.name: energy / self.in_unit("GeV"),
            "theta": torch.atan2((x * x + y * y).sqrt(), z) / self.radians("theta"),
            "phi": torch.atan2(-y, -x) / self.radians("phi"),
        }
        known = {name: values[name] for name in self.module.given}
        return Conditions(flat.shape[0], known), self.split(noise)

    def threshold(self, cond: Conditions) -> Tensor:
        """See :meth:`Contract.threshold`."""
        return super().threshold(cond) * factor(self.spec.unit, "GeV")

    def wrapped(self, module: nn.Module) -> nn.Module:
        """See :meth:`Contract.wrapped`."""
        return OwnNoise(module, self.numbers["normal"])

    def write(self, batch: Batch, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.write`."""
        return (batch.x.flatten(1) * factor(self.spec.unit, "GeV"),)


class FastCaloSim(NormalHost):
    """FastCaloSim's network of one slice of eta: an ONNX file of four named inputs.

    Normal numbers come in two inputs, one per layer and one per voxel; the output is in MeV.
    """

    name = "fastcalosim"
    formats = ("onnx",)
    batch = 1
    notes = ("eta is not looked at: the model is that of one slice",)

    def refusal(self) -> str | None:
        """See :meth:`Contract.refusal`."""
        reason = super().refusal()
        wanted, geometry = self.numbers["normal"], self.spec.geometry
        if reason is not None or geometry is None:
            return reason or "it takes cells in layers, and these events have no geometry"
        handed = len(geometry) + self.spec.n_voxels
        if wanted != handed:
            return (
                f"it hands over one normal number per layer and voxel, {handed:,} in all, and the model "
                f"takes {wanted:,}"
            )
        return None

    def taken(self) -> tuple[Port, ...]:
        """See :meth:`Contract.taken`."""
        low, high = self.field_range(self.energy)
        scale = self.in_unit("MeV")
        low, high = (None if end is None else end * scale for end in (low, high))
        cells = self.spec.n_voxels
        return (
            Port("inn_einc_in", (1,), "condition", "MeV", low, high),
            Port("inn_eta_in", (1,), "condition", note="10 |eta|"),
            Port("inn_z_energy", (self.numbers["normal"] - cells,), "normal"),
            Port("cfm_z_shape", (cells,), "normal"),
        )

    def given(self) -> tuple[Port, ...]:
        """See :meth:`Contract.given`."""
        return (Port("output", (self.spec.n_voxels,), "output", "MeV"),)

    def threshold(self, cond: Conditions) -> Tensor:
        """See :meth:`Contract.threshold`."""
        return super().threshold(cond) * factor(self.spec.unit, "MeV")

    def feed(self, cond: Conditions, numbers: dict[Kind, Tensor]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.feed`."""
        energy = cond.values[self.energy.name].float() * self.in_unit("MeV")
        cells = self.spec.n_voxels
        normal = numbers["normal"]
        return energy, torch.full_like(energy, 2.0), normal[:, :-cells], normal[:, -cells:]

    def read(self, inputs: tuple[Tensor, ...]) -> tuple[Conditions, dict[Kind, Tensor]]:
        """See :meth:`Contract.read`."""
        energy, _, layers, cells = inputs
        values = {self.energy.name: energy / self.in_unit("MeV")}
        return Conditions(energy.shape[0], values), self.split(torch.cat([layers, cells], 1))

    def write(self, batch: Batch, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.write`."""
        return (batch.x.flatten(1) * factor(self.spec.unit, "MeV"),)


CONTRACTS: dict[str, type[Contract]] = {
    contract.name: contract for contract in (Plain, Par04, DDML, FastCaloSim)
}
