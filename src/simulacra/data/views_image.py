r"""Jets as images: the relative momenta of all particles in a window around the jet axis, summed in pixels.

Pixel :math:`(i, j)` holds :math:`\sum p_T / p_T^{jet}` of the particles with :math:`\eta` in row :math:`i`
and :math:`\phi` in column :math:`j`. What lies outside the window, and pixels below the threshold, are lost
to the image: their sum is the event field ``outside`` of each jet, and the first batch with any is reported
once.

Reference: arXiv:1701.05927 (25 x 25 pixels; it images jets of radius 1.0, and rotates and mirrors them,
    which is not
done here).
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from simulacra.core import Batch, IncompatibleError, Spec, UserError, regular_grid
from simulacra.core.ranges import Count, NotNegative, Positive
from simulacra.data.base import View
from simulacra.physics.base import ObservableSet, even_edges
from simulacra.physics.jet_images import JetImageObservables
from simulacra.transforms.jet_pictures import ANGLES, summed

log = logging.getLogger(__name__)


class JetImages(View):
    """Clouds with etarel, phirel, ptrel as images ``(1, pixels, pixels)``; rows are eta, columns phi.

    There is no way back to particles: models are judged on images, and images are not written to jet files.

    Args:
        native: The clouds.
        pixels: Pixels along either axis.
        half_width: Half the window's width, e.g. the jet radius [rad].
        threshold: Smallest relative momentum of a pixel that is kept.
    """

    def __init__(
        self, native: Spec, pixels: Count, half_width: Positive, threshold: NotNegative
    ) -> None:
        names = [field.name for field in native.features]
        if native.kind != "cloud" or not set(ANGLES) <= set(names):
            raise IncompatibleError(
                f"only jets can be seen as jet images, {native.name} is a {native.kind}"
            )
        if pixels < 1 or half_width <= 0 or threshold < 0:
            raise UserError(
                "jet images need pixels >= 1, half_width > 0, threshold >= 0, "
                f"got {pixels}, {half_width}, {threshold}"
            )
        self.native, self.pixels, self.half_width, self.threshold = (
            native,
            pixels,
            half_width,
            threshold,
        )
        self.columns = [names.index(name) for name in ANGLES]
        self._reported = False

    @property
    def spec(self) -> Spec:
        """Images with the conditions of the clouds and no event fields."""
        edges = even_edges(-self.half_width, self.half_width, self.pixels).tolist()
        return self.native.with_(
            name=f"{self.native.name}+image",
            kind="image",
            shape=(1, self.pixels, self.pixels),
            features=(),
            event=(),
            geometry=regular_grid(1, (edges, edges), ("eta", "phi")),
            threshold=self.threshold,
            cut=self.threshold,
        )

    def forward(self, batch: Batch) -> Batch:
        """Images; the event fields of the clouds are kept, and ``outside`` is added ``(B, 1)``."""
        if batch.mask is None:
            raise IncompatibleError("jet images are made of clouds with a mask")
        pt = batch.x[..., self.columns[-1]]
        flat, inside = summed(batch.x, batch.mask, self.columns, self.pixels, self.half_width)
        image = torch.where(flat >= self.threshold, flat, 0.0)
        outside = (pt * batch.mask).sum(1, keepdim=True) - image.sum(1, keepdim=True)
        lost = torch.where(batch.mask & ~inside, pt, 0.0).sum(1) + (flat - image).sum(1)
        outside = torch.where(lost[:, None] > 0, outside.clamp_min(0), 0.0)
        self._report(outside, int((batch.mask & ~inside).sum()), int(batch.mask.sum()))
        x = image.view(-1, 1, self.pixels, self.pixels)
        return Batch(x, batch.cond, {**batch.event, "outside": outside}, None, batch.weight)

    def observables(self, native: ObservableSet) -> ObservableSet:
        """Observables of images."""
        return JetImageObservables(self.spec)

    def _report(self, outside: Tensor, particles: int, total: int) -> None:
        if self._reported or not bool((outside > 0).any()):
            return
        self._reported = True
        log.warning(
            "jet images of %s: %.3g of the jets' p_T on average (%d of %d particles of the first batch) "
            "lies outside +-%g or below %g per pixel; the field 'outside' holds it for each jet",
            self.native.name,
            float(outside.mean()),
            particles,
            total,
            self.half_width,
            self.threshold,
        )
