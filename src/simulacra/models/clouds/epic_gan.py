"""EPiC-GAN: a generator and critic of EPiC layers, after a flow for an event's numbers.

Generates: complete clouds. A spline flow draws the number of points and the other numbers of the event; one
    pass of the generator then turns noise into that many points.
Conditions: whatever the data set is conditioned on, and any event field listed in ``given``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Buhmann, Kasieczka, Thaler 2023, arXiv:2301.08128.

Note:
    Differences from the paper: events of all sizes are in one batch, with masks (the paper makes each batch
    of one size); all numbers of the event are conditions of both networks (the paper has none, and draws the
    number of particles from a kernel density estimate); energy-like features are generated in a logarithm
    that turns linear, so no transverse momentum is clamped, and with ``calibrate`` points are moved to the
    generated centres and widths, not to the jet axis alone; the optimizers' eps is 1e-8.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_gan import CloudGAN


class EPiCGAN(CloudGAN):
    """A cloud GAN, by :mod:`simulacra.nn.epic_gan`."""
