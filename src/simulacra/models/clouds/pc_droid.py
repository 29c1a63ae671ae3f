"""PC-Droid: preconditioned diffusion of point clouds.

Generates: complete clouds. A spline flow draws the number of points and the event's other numbers; a
    preconditioned denoiser then turns noise into that many points. ``pc_droid`` has the network of
    cross-attention with a few tokens, linear in the number of points, ``pc_droid_transformer`` the one of
    self-attention.
Conditions: whatever the data set is conditioned on (several jet classes in one model), and any event field
    listed in ``given``.
Representation: clouds of any number of features.
Reference: Leigh, Sengupta, Raine, Quetant, Golling 2023, arXiv:2307.06836; Karras et al. 2022,
    arXiv:2206.00364.

Note:
    Differences from the paper: transverse momenta are relative to the jet's, in a logarithm that turns
    linear; a flow draws the number of particles, transverse momentum and mass; noises are stratified within a
    batch.
    The paper's own code is not public: sizes follow a public re-implementation.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_diffusion import CloudDiffusion


class PCDroid(CloudDiffusion):
    """Preconditioned data on the Karras path, by :class:`simulacra.nn.transformers.CrossAttention`."""


class PCDroidTransformer(PCDroid):
    """The same with self-attention among all points."""

    most_points = 1000
