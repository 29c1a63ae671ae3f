r"""Observables of jets given as clouds of particles relative to the jet axis.

A particle has :math:`\eta` (``etarel``), :math:`\phi` (``phirel``) and :math:`z = p_T / p_T^{jet}`
(``ptrel``), and no mass. With :math:`P_\pm = \sum z e^{\pm\eta}` and :math:`\vec P_T = \sum z (\cos\phi,
\sin\phi)` the jet's mass and transverse momentum, both in units of its :math:`p_T`, are

.. math:: m^2 = P_+ P_- - |\vec P_T|^2, \qquad p_T = |\vec P_T|,

and its angularities about the jet axis, with :math:`\Delta R^2 = \eta^2 + \phi^2` in radians (no division
by a jet radius, which the files do not hold), are :math:`\lambda_\beta = \sum z \Delta R^\beta / \sum z`:
Les Houches for :math:`\beta = 1/2`, width (girth) for 1, thrust-like for 2; the dispersion is
:math:`\sqrt{\sum z^2} / \sum z`. N-subjettiness and :math:`D_2` are those of
:mod:`simulacra.physics.substructure`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, IncompatibleError, Spec
from simulacra.physics.base import Axis, Image, ObservableSet, Profile, even_edges, weighed
from simulacra.physics.substructure import ratios

_SHAPE = {
    "mass_rel": Axis("relative jet mass $m / p_T$", category="mass"),
    "pt_rel": Axis("relative jet $p_T$ from particles", category="momentum"),
    "ptrel_sum": Axis("sum of relative $p_T$", category="momentum"),
    "multiplicity": Axis("number of particles", category="occupancy"),
    "leading_ptrel": Axis("leading relative $p_T$", category="momentum"),
    "second_ptrel": Axis("second relative $p_T$", category="momentum"),
    "centroid_eta": Axis(r"$p_T$-weighted mean $\eta$", category="centre"),
    "centroid_phi": Axis(r"$p_T$-weighted mean $\phi$", "rad", category="centre"),
    "lha": Axis("Les Houches angularity", category="width"),
    "width": Axis("jet width", category="width"),
    "thrust": Axis("thrust angularity", category="width"),
    "ptd": Axis("$p_T$ dispersion", category="substructure"),
    "tau21": Axis(r"$\tau_{21}$", category="substructure"),
    "tau32": Axis(r"$\tau_{32}$", category="substructure"),
    "d2": Axis("$D_2$", category="substructure"),
}
_PARTICLE = {
    "etarel": Axis(r"particle relative $\eta$"),
    "phirel": Axis(r"particle relative $\phi$", "rad"),
    "ptrel": Axis("particle relative $p_T$"),
}
_EVENT = {
    "pt": Axis("jet $p_T$", "GeV", category="momentum"),
    "eta": Axis(r"jet $\eta$", category="centre"),
    "mass": Axis("jet mass", "GeV", category="mass"),
    "num_particles": Axis("number of particles of the jet", category="occupancy"),
}
EXTENT, RINGS = 1.0, 20
"""Size [rad] and rings of the radial profile; the mean image has twice as many rows and columns."""
BLOCK = 2**15
"""Particles that are summed at once, so that they stay in the processor's cache."""
HUGE = 1e6
"""Largest absolute value of a classifier input: a broken generator's overflow stays finite."""


def four_momentum(eta: Tensor, phi: Tensor, pt: Tensor) -> tuple[Tensor, Tensor]:
    """Mass and transverse momentum of the sum of massless particles.

    Args:
        eta: Pseudorapidity ``(B, N)``.
        phi: Azimuth [rad], ``(B, N)``.
        pt: Transverse momentum ``(B, N)``, 0 for padding.

    Returns:
        Two float64 tensors ``(B,)`` in the unit of ``pt``; a negative squared mass (rounding) counts as 0.
    """
    step = max(1, BLOCK // max(1, eta.shape[1]))
    parts = [_summed(*part) for part in zip(*(x.split(step) for x in (eta, phi, pt)), strict=True)]
    mass, momentum = (torch.cat(found) for found in zip(*parts, strict=True))
    return mass, momentum


def _summed(eta: Tensor, phi: Tensor, pt: Tensor) -> tuple[Tensor, Tensor]:
    eta, phi, pt = eta.double(), phi.double(), pt.double()
    grown = torch.exp(eta)
    plus, minus = (pt * grown).sum(1), (pt / grown).sum(1)
    squared = (pt * torch.cos(phi)).sum(1).square() + (pt * torch.sin(phi)).sum(1).square()
    return (plus * minus - squared).clamp_min(0).sqrt(), squared.sqrt()


class JetObservables(ObservableSet):
    """Jet-level, substructure and particle observables of a cloud with etarel, phirel and ptrel.

    Per particle, ``etarel``, ``phirel`` and ``ptrel`` are ``(B, N)`` with NaN for padding. Jets with no
    particle have NaN where a ratio is undefined. ``mass_kept`` is the mass of the particles over the jet's
    own mass.

    Args:
        spec: The data set, or a view of it as a cloud.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        names = [field.name for field in spec.features]
        missing = [name for name in _PARTICLE if name not in names]
        if spec.kind != "cloud" or missing:
            raise IncompatibleError(
                f"jet observables need a cloud with etarel, phirel, ptrel: {spec.name} has {names}"
            )
        self.columns = {name: names.index(name) for name in names}
        self.event = [field.name for field in spec.event if field.name in _EVENT]

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """See the module's docstring; float32, except that a float64 batch stays float64."""
        mask = self.mask(batch)
        eta, phi, pt = (batch.x[..., self.columns[name]] for name in _PARTICLE)
        wide = eta.double(), phi.double(), pt.double()
        found = {**substructure(*wide, mask), **ratios(*wide)}
        values = {name: value.to(batch.x.dtype) for name, value in found.items()}
        for name, value in zip(_PARTICLE, (eta, phi, pt), strict=True):
            values[name] = torch.where(mask, value, torch.nan)
        for name in self.event:
            values[name] = {**batch.cond, **batch.event}[name][:, 0].to(batch.x.dtype)
        if {"pt", "mass"} <= set(self.event):
            kept = values["mass_rel"] * values["pt"] / values["mass"]
            values["mass_kept"] = torch.where(values["mass"] > 0, kept, torch.nan)
        return values

    def axes(self) -> dict[str, Axis]:
        """All ranges come from the truth."""
        axes = {**_SHAPE, **_PARTICLE, **{name: _EVENT[name] for name in self.event}}
        if {"pt", "mass"} <= set(self.event):
            axes["mass_kept"] = Axis("mass of the particles / jet mass", category="mass")
        most = self.spec.shape[0]
        counts = replace(_SHAPE["multiplicity"], bins=most + 1, low=-0.5, high=most + 0.5)
        return {**axes, "multiplicity": counts}

    def features(self, batch: Batch) -> Tensor:
        """All jet-level observables ``(B, F)``; what is undefined is 0, overflows are cut at ``HUGE``."""
        values = [value for value in self(batch).values() if value.ndim == 1]
        return torch.nan_to_num(torch.stack(values, 1), nan=0.0, posinf=HUGE, neginf=-HUGE).clamp(
            -HUGE, HUGE
        )

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        """Relative momentum in rings around the jet axis; the last ring also holds what lies beyond it."""
        mask = self.mask(batch)
        eta, phi, pt = (batch.x[..., self.columns[name]].double() for name in _PARTICLE)
        ring = (torch.hypot(eta, phi) * (RINGS / EXTENT)).long().clamp_max(RINGS - 1)
        values = pt.new_zeros(len(pt), RINGS).scatter_add_(1, ring, torch.where(mask, pt, 0.0))
        edges = even_edges(0, EXTENT, RINGS)
        return {
            "radial": Profile(
                values, edges, Axis("distance from the jet axis", "rad"), "relative $p_T$"
            )
        }

    def images(self, batch: Batch) -> dict[str, Image]:
        """Relative momentum over eta and phi; what lies outside is left out."""
        mask = self.mask(batch)
        eta, phi, pt = (batch.x[..., self.columns[name]][mask].double().cpu() for name in _PARTICLE)
        pt = weighed(pt, mask.nonzero()[:, 0], batch)
        edges = even_edges(-EXTENT, EXTENT, 2 * RINGS)
        summed = torch.histogramdd(torch.stack([eta, phi], 1), bins=[edges, edges], weight=pt).hist
        axes = Axis(r"relative $\eta$"), Axis(r"relative $\phi$", "rad")
        return {"jet": Image(summed.to(batch.x.device), (edges, edges), axes, "relative $p_T$")}

    def mask(self, batch: Batch) -> Tensor:
        """Real particles, bool ``(B, N)``.

        Raises:
            IncompatibleError: If the batch is no cloud.
        """
        if batch.mask is None or batch.x.ndim != 3:
            raise IncompatibleError(
                f"jet observables need clouds with a mask, got events of shape {batch.x.shape[1:]}"
            )
        return batch.mask


def substructure(eta: Tensor, phi: Tensor, pt: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Observables of one number per jet, float64 ``(B,)``, in the order of ``_SHAPE``."""
    pt = pt.double()
    total = pt.sum(1)
    share = pt / torch.where(total > 0, total, torch.nan)[:, None]
    distance = torch.hypot(eta, phi)
    mass, summed = four_momentum(eta, phi, pt)
    leading = torch.cat([pt, pt.new_zeros(len(pt), 2)], 1).topk(2, dim=1).values
    return {
        "mass_rel": mass,
        "pt_rel": summed,
        "ptrel_sum": total,
        "multiplicity": mask.sum(1).double(),
        "leading_ptrel": leading[:, 0],
        "second_ptrel": leading[:, 1],
        "centroid_eta": (share * eta).sum(1),
        "centroid_phi": (share * phi).sum(1),
        "lha": (share * distance.sqrt()).sum(1),
        "width": (share * distance).sum(1),
        "thrust": (share * distance.square()).sum(1),
        "ptd": share.square().sum(1).sqrt(),
    }
