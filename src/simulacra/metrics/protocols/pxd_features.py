"""Features of sensor images for FID and KID, from two small networks of our own that come with the package.

The published figures use an InceptionV3 trained on the collaboration's images, whose weights are not public;
figures in other features are other figures, and never compare with those. Ours were trained on synthetic
events of ``pxd`` and ``pxd_small`` to tell the sensors apart, and images of the usual background from such of
another rate or composition and from such that were changed (see
:mod:`simulacra.metrics.protocols.pxd_features_training`). Files and licence lie in ``sensor_nets``.
"""

from __future__ import annotations

from importlib.resources import as_file, files

from simulacra.core import UserError
from simulacra.core.constructors import constructor_of
from simulacra.metrics.protocols.pxd_images import Extractor
from simulacra.nn.sensor_net import load_net

NETS = ("pxd", "pxd_small")
"""Data sets whose images a network knows."""


@constructor_of(Extractor)
def sensor_features(data: str) -> Extractor:
    """The network of a data set: images ``(n, 1, rows, cols)`` [ADU] to features ``(n, 64)``.

    Args:
        data: ``pxd`` or ``pxd_small``.

    Raises:
        UserError: If there is none of that name, or its file is damaged.
    """
    if data not in NETS:
        raise UserError(
            f"there is no network of sensor images {data!r}: choose one of {', '.join(NETS)}"
        )
    with as_file(files("simulacra.metrics.protocols") / "sensor_nets" / f"{data}.pt") as path:
        return load_net(path)
