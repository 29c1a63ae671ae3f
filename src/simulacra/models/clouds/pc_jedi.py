"""PC-JeDi: diffusion of jets as point clouds with a transformer.

Generates: complete clouds. A spline flow draws the number of points and the event's other numbers; a
    transformer that predicts the noise then turns noise into that many points.
Conditions: whatever the data set is conditioned on, and any event field listed in ``given``; ``[pt, mass]``
    with ``transform.seen=0`` is the paper's setting.
Representation: clouds of any number of features; the cost is quadratic in the number of points.
Reference: Leigh, Sengupta, Quetant, Raine, Zoch, Golling 2023, arXiv:2303.05376.

Note:
    Differences from the paper: transverse momenta are relative to the jet's, in a logarithm that turns
    linear; a flow draws the number of particles, transverse momentum and mass, which the paper takes from
    truth; time features are cosines and sines of the first frequencies times pi in place of exponential ones;
    statistics are those of the training events from the start; times are stratified within a batch. Any
    solver samples; the settings say DDIM, the paper compares DDIM, Euler, Runge-Kutta and Euler-Maruyama.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_diffusion import CloudDiffusion


class PCJeDi(CloudDiffusion):
    """Noise on the cosine path, by :class:`simulacra.nn.transformers.NormFormer`."""

    most_points = 1000
