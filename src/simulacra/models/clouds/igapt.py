"""iGAPT: a generator and critic of attention through one vector per event, after a flow for its numbers.

Generates: complete clouds. A spline flow draws the number of points and the other numbers of the event; one
    pass of the generator then turns noise into that many points.
Conditions: whatever the data set is conditioned on, and any event field listed in ``given``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Li, Krishnamohan, Kansal, Sen, Tsan, Zhang, Duarte 2023, arXiv:2312.04757.

Note:
    Differences from the paper: all numbers of the event are conditions of the embeddings and of every block
    (the paper embeds the number of particles); attention of a point to the one vector of the event is
    written as what it is, a linear layer; the critic's vector starts from the pools of its embedded points;
    the mask is that of the event; features are standardised and energy-like ones are in a logarithm that
    turns linear, so that the bound of the output, ``b tanh(x / b)``, is far from the data.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_gan import CloudGAN


class IGAPT(CloudGAN):
    """A cloud GAN, by :mod:`simulacra.nn.set_transformers`."""
