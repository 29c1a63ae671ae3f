"""Operations that not every runtime knows, in terms of those that all know, and constants worked out
beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from scipy.special import erfcx
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument
from torch.fx import Node

aten = torch.ops.aten
MOST_FOLDED = 2**20
"""Numbers of a constant that is worked out beforehand, at most, unless it is no larger than what it is made
of."""


def lowered(program: ExportedProgram) -> ExportedProgram:
    """A program of operations that onnxruntime and TorchScript know, without those on constants alone."""
    return folded(program.run_decompositions(TABLE))


def _searchsorted(
    sorted_sequence: Tensor,
    values: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """By counting; all cases that the package has."""
    assert sorter is None
    assert side is None
    if sorted_sequence.ndim > 1:
        sorted_sequence = sorted_sequence[..., None, :]
    at = values[..., None]
    below = sorted_sequence <= at if right else sorted_sequence < at
    return below.sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def _bucketize(
    values: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    return _searchsorted(boundaries, values, out_int32=out_int32, right=right)


def _cdist(a: Tensor, b: Tensor, p: float, compute_mode: int | None) -> Tensor:
    assert p == 2
    return (a[..., :, None, :] - b[..., None, :, :]).square().sum(-1).sqrt()


def _ndtr(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x * math.sqrt(0.5))


@cache
def _chebyshev() -> tuple[float, ...]:
    r"""Coefficients of :math:`\ln(e^{z^2}\,\mathrm{erfc}(z)\, / \,t)` in Chebyshev's polynomials of
    :math:`2 t - 1`, with :math:`t = 1 / (1 + z / 2)`, by interpolation.
    """
    fit = Chebyshev.interpolate(lambda at: np.log(2 / (at + 1) * erfcx(4 / (at + 1) - 2)), 31)
    return tuple(fit.coef.tolist())


def _log_ndtr(x: Tensor) -> Tensor:
    """By a fit of ``erfc`` to about the precision of the numbers everywhere; the variable is that of Press et
    al., Numerical Recipes in C, section 6.2.
    """
    z = x.abs() * math.sqrt(0.5)
    t = 1 / (1 + 0.5 * z)
    at = 2 * t - 1
    one, two = torch.zeros_like(t), torch.zeros_like(t)
    first, *others = _chebyshev()
    for coefficient in reversed(others):  # Clenshaw's sum
        one, two = 2 * at * one - two + coefficient, one
    tail = math.log(0.5) + t.log() - z * z + at * one - two + first
    return torch.where(x <= 0, tail, torch.log1p(-tail.clamp(max=math.log(0.5)).exp()))


_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590,
     1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187,
     1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990,
     6.65790464350110377720),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def _ratio(x: Tensor, parts: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    made = []
    for coefficients in parts:
        value = torch.full_like(x, coefficients[0])
        for coefficient in coefficients[1:]:
            value = value * x + coefficient
        made.append(value)
    return made[0] / made[1]


def _ndtri(p: Tensor) -> Tensor:
    """Quantiles of the normal distribution, algorithm AS 241 (Wichura 1988), to 16 digits in float64."""
    q = p - 0.5
    centre = q * _ratio(0.180625 - q * q, _CENTRE)
    tail = torch.where(q < 0, p, 1 - p)
    r = (-tail.clamp_min(torch.finfo(p.dtype).tiny).log()).sqrt()
    outer = torch.where(r <= 5, _ratio(r - 1.6, _TAIL), _ratio(r - 5, _FAR))
    outer = torch.where(tail <= 0, torch.inf, outer)
    signed = torch.where(q < 0, -outer, outer)
    return torch.where(q.abs() <= 0.425, centre, signed)


TABLE: dict[torch._ops.OperatorBase, Callable[..., object]] = {
    aten.searchsorted.Tensor: _searchsorted,
    aten.bucketize.Tensor: _bucketize,
    aten._cdist_forward.default: _cdist,
    aten.special_ndtr.default: _ndtr,
    aten.special_log_ndtr.default: _log_ndtr,
    aten.special_ndtri.default: _ndtri,
}
"""What stands for each operation."""


def folded(program: ExportedProgram) -> ExportedProgram:
    """The program, changed in place: what follows from constants alone is a constant."""
    graph, specs = program.graph, program.graph_signature.input_specs
    known: dict[Node, torch.Tensor] = {}
    held = {**program.state_dict, **program.constants}
    places = [node for node in graph.nodes if node.op == "placeholder"]
    for node, spec in zip(places, specs, strict=True):
        if spec.kind is not InputKind.USER_INPUT and spec.target in held:
            known[node] = held[spec.target].detach()
    first = places[0]
    for node in list(graph.nodes):
        value = _value(node, known)
        if value is None:
            continue
        known[node] = value
    for number, node in enumerate(_wanted(known)):
        name = f"folded_{number}"
        with graph.inserting_before(first):
            made = graph.placeholder(name)
        made.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(made)
        specs.insert(number, InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(made.name), name))
        program.constants[name] = known[node]
    graph.eliminate_dead_code()
    for node, spec in zip(
        [node for node in graph.nodes if node.op == "placeholder"], list(specs), strict=True
    ):
        if spec.kind is not InputKind.USER_INPUT and not node.users:
            graph.erase_node(node)
            specs.remove(spec)
            program.constants.pop(str(spec.target), None)
    program.graph_module.recompile()
    return program


def _wanted(known: dict[Node, torch.Tensor]) -> list[Node]:
    """Calculated constants that something else needs, in the order of the graph."""
    return [
        node
        for node in known
        if node.op == "call_function" and any(user not in known for user in node.users)
    ]


def _value(node: Node, known: dict[Node, torch.Tensor]) -> torch.Tensor | None:
    """What an operation on constants gives, if that is one tensor of a bearable size."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    inputs = node.all_input_nodes
    if not all(item in known for item in inputs) or not isinstance(node.meta.get("val"), Tensor):
        return None
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        return None
    sizes = list(node.meta["val"].shape)
    if not all(isinstance(size, int) for size in sizes):
        return None
    if math.prod(sizes) > max(MOST_FOLDED, sum(known[item].numel() for item in inputs)):
        return None
    with torch.no_grad():
        found: Tensor = node.target(
            *torch.fx.map_arg(node.args, lambda item: known[item]),
            **torch.fx.map_arg(node.kwargs, lambda item: known[item]),
        )
    return found.contiguous()
