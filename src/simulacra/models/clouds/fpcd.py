"""FPCD: fast point cloud diffusion.

Generates: complete clouds. A spline flow draws the number of points and the event's other numbers; a
    transformer that predicts the angular velocity between data and noise then turns noise into that many
    points. Progressive distillation (:mod:`simulacra.models.clouds.fpcd_student`) halves the number of steps.
Conditions: whatever the data set is conditioned on (several jet classes in one model), and any event field
    listed in ``given``.
Representation: clouds of any number of features; the cost is quadratic in the number of points.
Reference: Mikuni, Nachman, Pettee 2023, arXiv:2304.01266.

Note:
    Differences from the paper: the numbers of a jet come from one spline flow, not from a diffusion of their
    own, and their multiplicity is not cut at five; transverse momenta are in a logarithm that turns linear
    instead of ``ln(1 - p)``; padded particles stay out of the mean over particles; normalisation is that of
    all classes together; times are stratified within a batch.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_diffusion import CloudDiffusion


class FPCD(CloudDiffusion):
    """Angular velocity on the cosine path, by :class:`simulacra.nn.transformers.PreNorm`."""

    most_points = 1000
