"""LAGAN: adversarial networks of jet images with locally connected layers.

Generates: images of one channel, such as jets seen with ``data.view=image``.
Conditions: the class of an event, where the data set has classes; anything else that is given stands beside
    the noise and is seen by the critic.
Representation: images ``(1, rows, cols)`` of any size, on a linear scale; a last ReLU makes empty pixels.
Reference: de Oliveira, Paganini, Nachman 2017, arXiv:1701.05927; code hep-lbdl/adversarial-jets, commit
    88fee27. At 25 x 25 pixels and two classes the generator has 3,586,932 parameters, as there.

Note:
    Differs from the reference: the critic takes one step on the sum of its losses on true and on generated
    images, not one on each; generated images are asked for the classes of the true ones of the batch; classes
    are told by as many logits as there are. Sizes other than a multiple of four less three are cut from the
    next larger one.
"""

from __future__ import annotations

from simulacra.core import Spec
from simulacra.models.two_player import TwoPlayer
from simulacra.transforms.linear import LinearImages


class LAGAN(TwoPlayer):
    """See the module's docstring; arguments are those of :class:`TwoPlayer`."""

    transform: LinearImages
    stage = "image"

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Images of one channel."""
        if spec.kind != "image" or len(spec.shape) != 3 or spec.shape[0] != 1:
            return f"it generates images of one channel, and this is a {spec.kind} of shape {spec.shape}"
        return None

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns."""
        _, rows, cols = self.spec.shape
        return rows, cols
