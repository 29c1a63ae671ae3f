"""GAPT: a generator and critic of self-attention blocks, after a flow for an event's numbers.

Generates: complete clouds. A spline flow draws the number of points and the other numbers of the event; one
    pass of the generator then turns noise into that many points.
Conditions: whatever the data set is conditioned on, and any event field listed in ``given``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Kansal, Li, Duarte, Chernyavskaya, Pierini, Orzari, Tomei 2023, arXiv:2211.10295.

Note:
    Differences from the paper: all numbers of the event are conditions of the embedding and of every block
    (the paper conditions on the number of particles through the mask); the mask is that of the event, not
    made from the ranks of the noise; features are standardised and energy-like ones are in a logarithm that
    turns linear, so that the bound of the output, ``b tanh(x / b)``, is far from the data. The cost grows
    with the square of the number of points.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_gan import CloudGAN


class GAPT(CloudGAN):
    """A cloud GAN, by :mod:`simulacra.nn.set_transformers`."""

    most_points = 1000
