r"""Observables of jet images: pixels are massless particles at their centres.

With the pixel's relative momentum :math:`z` at :math:`(\eta, \phi)`, mass, momentum and angularities are
those of :mod:`simulacra.physics.jets`, the ratio :math:`\tau_{21}` that of
:mod:`simulacra.physics.substructure`, undefined below two pixels; the radial profile is :math:`\sum z` in
rings of one pixel's width around the axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core import Batch, IncompatibleError, Spec
from simulacra.physics.base import Axis, Image, ObservableSet, Profile
from simulacra.physics.jets import HUGE, substructure
from simulacra.physics.substructure import prongs

_AXES = {
    "mass_rel": Axis("relative jet mass $m / p_T$ of pixels", category="mass"),
    "pt_rel": Axis("relative jet $p_T$ from pixels", category="momentum"),
    "ptrel_sum": Axis("sum of pixels", category="momentum"),
    "active_pixels": Axis("pixels that are not zero", category="occupancy"),
    "leading_ptrel": Axis("leading pixel", category="momentum"),
    "second_ptrel": Axis("second pixel", category="momentum"),
    "centroid_eta": Axis(r"$p_T$-weighted mean $\eta$", category="centre"),
    "centroid_phi": Axis(r"$p_T$-weighted mean $\phi$", "rad", category="centre"),
    "lha": Axis("Les Houches angularity", category="width"),
    "width": Axis("jet width", category="width"),
    "thrust": Axis("thrust angularity", category="width"),
    "ptd": Axis("$p_T$ dispersion of pixels", category="substructure"),
    "tau21": Axis(r"$\tau_{21}$", category="substructure"),
    "sparsity": Axis("share of pixels that are zero", category="occupancy"),
    "pixel": Axis("relative $p_T$ of a pixel", log=True),
}


class JetImageObservables(ObservableSet):
    """Observables of images ``(B, 1, rows, cols)`` over eta and phi.

    ``pixel`` is ``(B, pixels)`` with NaN where a pixel is below the threshold or zero.

    Args:
        spec: A jet image with its geometry.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        if (
            spec.geometry is None
            or len(spec.geometry) != 1
            or spec.geometry.layers[0].axes != ("eta", "phi")
        ):
            raise IncompatibleError(
                f"jet image observables need one image over eta and phi, {spec.name} has none"
            )
        self.layer = spec.geometry.layers[0]
        self.eta, self.phi = (part.flatten() for part in self.layer.cartesian())

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """See the module's docstring."""
        flat = self.cut(batch)
        eta, phi = (centre.to(flat.device).expand(len(flat), -1) for centre in (self.eta, self.phi))
        found = {**substructure(eta, phi, flat, flat > 0), **prongs(eta, phi, flat)}
        found["active_pixels"] = found.pop("multiplicity")
        found["sparsity"] = 1 - found["active_pixels"] / flat.shape[1]
        values = {name: found[name].to(flat.dtype) for name in _AXES if name in found}
        return {**values, "pixel": torch.where(flat > 0, flat, torch.nan)}

    def axes(self) -> dict[str, Axis]:
        """All ranges come from the truth."""
        return dict(_AXES)

    def features(self, batch: Batch) -> Tensor:
        """All observables of one number per jet and the radial profile ``(B, F)``; what is undefined is 0."""
        single = torch.stack([value for value in self(batch).values() if value.ndim == 1], 1)
        radial = self.profiles(batch)["radial"].values.to(single.dtype)
        return torch.nan_to_num(torch.cat([single, radial], 1), nan=0.0, posinf=HUGE, neginf=-HUGE)

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        """Momentum in rings around the jet axis; the last ring holds the corners."""
        flat = self.cut(batch)
        step = self.layer.edges[0][1] - self.layer.edges[0][0]
        rings = math.ceil(self.layer.shape[0] / 2)
        ring = (torch.hypot(self.eta, self.phi) / step).long().clamp_max(rings - 1).to(flat.device)
        values = flat.new_zeros(len(flat), rings).index_add_(1, ring, flat)
        edges = torch.arange(rings + 1, dtype=torch.float64) * step
        axis = Axis("distance from the jet axis", "rad")
        return {"radial": Profile(values, edges, axis, "relative $p_T$")}

    def images(self, batch: Batch) -> dict[str, Image]:
        """The summed image."""
        edges = (torch.tensor(self.layer.edges[0]), torch.tensor(self.layer.edges[1]))
        cut = self.cut(batch)
        summed = cut.sum(0) if batch.weight is None else batch.weight.to(cut) @ cut
        return {
            "jet": Image(
                summed.view(self.layer.shape),
                edges,
                (Axis(r"relative $\eta$"), Axis(r"relative $\phi$", "rad")),
                "relative $p_T$",
            )
        }

    def cut(self, batch: Batch) -> Tensor:
        """Pixels ``(B, rows * cols)``, 0 below the cut."""
        if batch.x.ndim != 4 or batch.x.shape[1:] != (1, *self.layer.shape):
            raise IncompatibleError(
                f"jet images have shape {(1, *self.layer.shape)}, got {tuple(batch.x.shape[1:])}"
            )
        flat = batch.x.flatten(1)
        return torch.where(flat >= self.spec.cut, flat, 0.0)
