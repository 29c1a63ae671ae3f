"""Table-FM: flow matching of all columns of a table with a residual network.

Generates: rows of any columns, continuous, whole or classes, with point masses and periodic ones, together
    with those event fields that are not given.
Conditions: the columns that are conditions, and any event field listed in ``given``; none are needed.
Representation: tables.
Reference: Lipman, Chen, Ben-Hamu, Nickel, Le 2022, arXiv:2210.02747, for flow matching; the dynamics are
    those of EPiC-FM, arXiv:2310.00049.

Note:
    The model is our own, so that no size of it is published. The process may be any of
    :mod:`simulacra.dynamics.diffusion`, and any solver samples a trained model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from simulacra.core import Spec
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.diffusion_density import DiffusionDensity, MakeNet
from simulacra.dynamics.solvers import Solver
from simulacra.models.tables.table import MakeTransform, TableModel
from simulacra.training.optim import Optim


class TableFM(TableModel):
    """A :class:`~simulacra.dynamics.diffusion_density.DiffusionDensity` of all columns.

    Args:
        spec: The data set, of kind table.
        given: Conditions and event fields that are given (None: the conditions).
        transform: Makes the transform.
        net: Makes the network.
        process: How it learns.
        solver: Solver for sampling.
        optim: What moves it.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        net: MakeNet,
        process: Diffusion,
        solver: Solver,
        optim: Optim,
    ) -> None:
        density = partial(DiffusionDensity, net=net, process=process, solver=solver)
        super().__init__(spec, given, transform=transform, density=density, optim=optim)
