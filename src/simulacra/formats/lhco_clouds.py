r"""Dijets of the LHC Olympics (arXiv:2101.08320) as clouds of the particles of both jets.

An event is a cloud of up to 100 particles, the 50 hardest of either jet, in the columns

.. math:: \eta - \eta_{jet}, \quad \phi - \phi_{jet}, \quad p_T / p_T^{jet}, \quad
          \text{0 or 1: of the lighter or heavier jet}.

The mass of both jets [TeV] is a condition. Event fields are transverse momentum, pseudorapidity and mass of
each jet [TeV], lighter first, the number of particles, and whether the event is signal. They are derived on
reading from a file of events (:class:`~simulacra.formats.lhco.LhcoEvents`). What is written has the derived
values alone, under the names of the fields and ``particles``, and is read again as it stands.

Note:
    A file of events does not say which particle is of which jet. Here it is that jet whose axis is nearer, if
    it lies within a distance of 1, the radius of the jets; anti-kT jets are nearly round.

Reference: Buhmann, Ewen, Kasieczka, Mikuni, Nachman, Shih 2023, arXiv:2310.06897, for the clouds, where the
lighter and heavier jet have up to 279 particles each.
"""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import torch
from torch import Tensor

from simulacra.core import Batch, Field, FormatError, Spec, UserError
from simulacra.core.dijets import TEV, dijets
from simulacra.formats.base import FileInfo
from simulacra.formats.hdf5 import Array, Hdf5Format, check_not_negative, present, tensor
from simulacra.formats.lhco import LABELS, PARTICLES, VALUES, LhcoEvents

KEPT = 50
"""Particles of a jet, at most."""
RADIUS = 1.0
"""Of the jets."""
JETS = ("light", "heavy")
SIGNAL, MASS, COUNT = "signal", "m_jj", "num_particles"


def lhco_clouds() -> Spec:
    """What these events promise."""
    jets = [
        field
        for jet in JETS
        for field in (
            Field(f"pt_{jet}", "TeV", low=0.0),
            Field(f"eta_{jet}"),
            Field(f"m_{jet}", "TeV", low=0.0),
        )
    ]
    count = Field(COUNT, low=0.0, high=2.0 * KEPT, role="count", integer=True)
    return Spec(
        name="lhco_clouds",
        kind="cloud",
        shape=(2 * KEPT, 4),
        unit="",
        features=(
            Field("etarel"),
            Field("phirel", "rad"),  # within the jet's radius: it never reaches the seam at pi
            Field("ptrel", low=0.0),
            Field("heavy", low=0.0, high=1.0, integer=True),
        ),
        conditions=(Field(MASS, "TeV", low=0.0, role="mass"),),
        event=(*jets, count, Field(SIGNAL, classes=LABELS, role="class")),
        simulator="Pythia and Delphes",
    )


class LhcoClouds(Hdf5Format):
    """Reader of both kinds of file and writer of the second, see the module's docstring."""

    def __init__(self) -> None:
        super().__init__(lhco_clouds())
        self.given = LhcoEvents()
        self.numbers = [
            field.name
            for field in (*self.spec.conditions, *self.spec.event)
            if field.role != "count"
        ]

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """See the base class."""
        if file is not None and present(file, Path(file.filename), VALUES):
            return self.given.columns(file)
        return {PARTICLES: self.spec.shape, **dict.fromkeys(self.numbers, ())}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """See the base class."""
        if file is not None and present(file, Path(file.filename), VALUES):
            return {}
        return {name: name for name in self.numbers if name != SIGNAL}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """See the base class.

        Raises:
            FormatError: If a momentum or mass is negative, or a label neither 0 nor 1.
        """
        if VALUES in arrays:
            return derived(self.given.decode(arrays, path))
        x = tensor(arrays[PARTICLES])
        if bool((x[..., 2] < 0).any()) or bool((x[x[..., 2] == 0] != 0).any()):
            raise FormatError(
                f"{path}: key {PARTICLES!r} needs momenta at or above 0, and zeros behind the particles"
            )
        for field in (*self.spec.conditions, *self.spec.event):
            if field.low == 0 and field.name in arrays:
                check_not_negative(path, field.name, arrays[field.name], 0, field.unit)
        read = {name: tensor(arrays[name])[:, None] for name in self.numbers}
        label = read[SIGNAL]
        if bool(((label != 0) & (label != 1)).any()):
            raise FormatError(f"{path}: key {SIGNAL!r} holds other values than 0 and 1")
        mask = x[..., 2] > 0
        return _events(x, mask, {**read, SIGNAL: label.long()})

    def encode(self, batch: Batch) -> dict[str, Array]:
        """See the base class."""
        if batch.mask is None:
            raise UserError("events are written as clouds with a mask: this batch has none")
        x = batch.x.float().cpu().clone()
        x[..., 2] = torch.where(batch.mask.cpu(), x[..., 2].clamp_min(SOFTEST), 0.0)
        x[..., 3] = x[..., 3].round().clamp(0, 1)
        found = batch.conditions(self.numbers).values
        rows = {name: found[name][:, 0].float().cpu().numpy() for name in self.numbers}
        return {PARTICLES: x.numpy(), **rows}

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """A file of events with two jets each, from which clouds are derived."""
        generator = torch.Generator().manual_seed(seed)
        label = (torch.rand(n, 1, generator=generator) < 0.3).long()
        axes = _toy_axes(n, generator)
        parts = [_toy_jet(axis, label, generator) for axis in axes]
        x = torch.cat([part for part, _ in parts], 1)
        x = x.gather(1, x[..., :1].argsort(1, descending=True).expand(-1, -1, 3))
        rest = self.given.spec.shape[0] - x.shape[1]
        x = torch.nn.functional.pad(x, (0, 0, 0, rest))
        values = torch.cat([row for _, row in parts], 1)
        event = {field.name: values[:, i : i + 1] for i, field in enumerate(self.given.spec.event)}
        self.given.write(path, Batch(x, {"label": label}, event, x[..., 0] > 0))
        return self.header(path)


SOFTEST = 1e-12
"""Share of a jet that a particle has at least, where it is written: one of none is padding."""


def derived(batch: Batch) -> Batch:
    """Clouds of both jets from events with features.

    Args:
        batch: As :class:`~simulacra.formats.lhco.LhcoEvents` reads it.
    """
    names = [f"{name}j{jet}" for jet in (1, 2) for name in ("px", "py", "pz", "m")]
    features = {name: value[:, 0] for name, value in batch.event.items()}
    px, py, pz, mass = (
        torch.stack([features[name] for name in names], 1).double().unflatten(1, (2, 4)).unbind(2)
    )  # (B, 2) each
    pt = torch.hypot(px, py)
    axis = torch.stack([torch.asinh(pz / pt.clamp_min(1e-9)), torch.atan2(py, px)], 2)  # (B, 2, 2)
    order = mass.argsort(dim=1, stable=True)
    mass, pt = mass.gather(1, order), pt.gather(1, order)
    axis = axis.gather(1, order[..., None].expand(-1, -1, 2))
    assert batch.mask is not None
    x, mask = _particles(batch.x.double(), batch.mask, axis, pt)
    fields = {MASS: dijets(features)["m_jj"], SIGNAL: batch.cond["label"][:, 0]}
    for k, jet in enumerate(JETS):
        fields |= {f"pt_{jet}": pt[:, k] / TEV, f"eta_{jet}": axis[:, k, 0]}
        fields[f"m_{jet}"] = mass[:, k] / TEV
    rows = {name: value[:, None] for name, value in fields.items()}
    found = {name: value if name == SIGNAL else value.float() for name, value in rows.items()}
    return _events(x.float(), mask, found)


def _particles(x: Tensor, mask: Tensor, axis: Tensor, pt: Tensor) -> tuple[Tensor, Tensor]:
    """The hardest particles of both jets ``(B, 2 KEPT, 4)``, by falling share, with their mask.

    Args:
        x: Transverse momentum, pseudorapidity and azimuth ``(B, N, 3)``.
        mask: Which are there ``(B, N)``.
        axis: Pseudorapidity and azimuth of the jets ``(B, 2, 2)``.
        pt: Transverse momentum of the jets ``(B, 2)``.
    """
    away = x[:, None, :, 1:] - axis[:, :, None]  # (B, 2, N, 2)
    away[..., 1] = torch.remainder(away[..., 1] + math.pi, 2 * math.pi) - math.pi
    distance = away.norm(dim=3)
    near = distance.argmin(1)[:, None] == torch.arange(2)[:, None]
    share = x[:, None, :, 0] / pt.clamp_min(1e-9)[..., None]
    share = torch.where(near & (distance < RADIUS) & mask[:, None], share, 0.0)
    share, rank = share.topk(min(KEPT, share.shape[2]), dim=2)
    place = rank[..., None].expand(-1, -1, -1, 2)
    heavy = torch.arange(2.0).to(share)[:, None].expand_as(share)
    found = torch.cat([away.gather(2, place), share[..., None], heavy[..., None]], 3).flatten(1, 2)
    order = found[..., 2].argsort(dim=1, descending=True, stable=True)
    found = found.gather(1, order[..., None].expand_as(found))
    real = found[..., 2] > 0
    return torch.where(real[..., None], found, 0.0), real


def _events(x: Tensor, mask: Tensor, numbers: dict[str, Tensor]) -> Batch:
    """A batch of clouds and the numbers of their events."""
    event = {name: value for name, value in numbers.items() if name != MASS}
    event[COUNT] = mask.sum(1, keepdim=True).float()
    return Batch(x, {MASS: numbers[MASS]}, event, mask)


def _toy_axes(n: int, generator: torch.Generator) -> list[Tensor]:
    """Transverse momentum [GeV], pseudorapidity and azimuth ``(n, 3)`` of two jets back to back."""
    pt = 1200 - 300 * torch.rand(n, 1, generator=generator).log()
    eta = 0.5 * torch.randn(n, 2, generator=generator)
    phi = (2 * torch.rand(n, 1, generator=generator) - 1) * math.pi
    back = torch.remainder(phi, 2 * math.pi) - math.pi
    return [torch.cat([pt, eta[:, k : k + 1], angle], 1) for k, angle in enumerate((phi, back))]


def _toy_jet(axis: Tensor, label: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Particles ``(n, 60, 3)`` of a jet, wider in signal, and its features ``(n, 7)``."""
    n, pt = len(axis), axis[:, :1]
    count = torch.randint(20, 61, (n, 1), generator=generator)
    share = torch.rand(n, 60, generator=generator).clamp_min(1e-3).log().neg()
    share = share * (torch.arange(60) < count)
    share = share / share.sum(1, keepdim=True)
    width = 0.05 + 0.1 * label + 0.05 * torch.rand(n, 1, generator=generator)
    away = width[..., None] * torch.randn(n, 60, 2, generator=generator)
    eta, phi = (axis[:, k : k + 1] + away[..., k - 1] for k in (1, 2))
    phi = torch.remainder(phi + math.pi, 2 * math.pi) - math.pi
    x = torch.stack([share * pt, eta, phi], 2) * (share > 0)[..., None]
    momentum = [
        pt * axis[:, 2:].cos(), pt * axis[:, 2:].sin(), pt * axis[:, 1:2].sinh(), pt * width
    ]  # fmt: skip
    return x, torch.cat([*momentum, pt * width, pt * width / 2, pt * width / 4], 1)
