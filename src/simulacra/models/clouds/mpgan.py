"""MPGAN: a generator and critic that pass messages between all points, after a flow for an event's numbers.

Generates: complete clouds. A spline flow draws the number of points and the other numbers of the event; one
    pass of the generator then turns noise into that many points.
Conditions: whatever the data set is conditioned on, and any event field listed in ``given``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Kansal, Duarte, Su, Orzari, Tomei, Pierini, Touranakou, Vlimant, Gunopulos 2021, arXiv:2106.11535.

Note:
    Differences from the paper: all numbers of the event are conditions of every layer (the paper conditions
    on the number of particles, drawn from its histogram); the mask is that of the event, not made from the
    ranks of the noise, and no feature of the points; features are standardised and energy-like ones are in a
    logarithm that turns linear, so that the bound of the output, ``b tanh(x / b)``, is far from the data
    (the paper scales the largest value to 1). The cost grows with the square of the number of points.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_gan import CloudGAN


class MPGAN(CloudGAN):
    """A cloud GAN, by :mod:`simulacra.nn.message_passing`."""

    most_points = 600
