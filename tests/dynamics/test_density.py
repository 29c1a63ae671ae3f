"""Densities of flows against numerical integration and Jacobians, for every invertible step there is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import simulacra.dynamics
from simulacra.dynamics.affine import Affine
from simulacra.dynamics.autoregressive import Inverted, MaskedAutoregressive, Unsteered
from simulacra.dynamics.conv_flows import ChannelNorm, ConvCoupling, Fold, InvertibleConv, Squeeze
from simulacra.dynamics.cubic import Cubic
from simulacra.dynamics.flows import ActNorm, ContextAffine, Coupling, Flow, Permute, Step
from simulacra.dynamics.splines import RationalQuadratic, Spline
from simulacra.nn.variational import Bayesian, one_network

SPLINES = [RationalQuadratic(4, 3.0), Cubic(4, 3.0), Affine()]
splines = pytest.mark.parametrize("spline", SPLINES, ids=lambda spline: type(spline).__name__)
conv = partial(nn.Conv2d, kernel_size=1)


def shaken(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """Weights away from the identity, in double precision."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module.double().eval()


def flat_steps(features: int, spline: Spline) -> list[Step]:
    """Steps of vectors, with a context of one number."""
    return [
        ActNorm(features),
        Permute(torch.arange(features).flip(0)),
        ContextAffine(features, 1, [8]),
        Coupling(features, 1, spline, [8]),
        MaskedAutoregressive(features, 1, spline, [8]),
    ]


def image_steps(spline: Spline) -> list[Step]:
    """Steps of images of two channels and two cells, with one map as a context."""
    return [
        ChannelNorm(2),
        InvertibleConv(torch.tensor([1, 0])),
        ConvCoupling(2, 1, spline, conv),
        Squeeze(1, 2),
    ]


def cases() -> list[tuple[Step, tuple[int, ...], tuple[int, ...]]]:
    """Step, shape of an event and shape of its context."""
    torch.manual_seed(0)
    found: list[tuple[Step, tuple[int, ...], tuple[int, ...]]] = [
        (Fold((1, 2, 2)), (4,), (1,)),
        (Inverted(MaskedAutoregressive(4, 1, Affine(), [8])), (4,), (1,)),
        (Unsteered(MaskedAutoregressive(4, 0, Affine(), [8])), (4,), (1,)),
    ]
    for spline in SPLINES:
        found += [(step, (4,), (1,)) for step in flat_steps(4, spline)]
        found += [(step, (2, 1, 2), (1, 1, 2)) for step in image_steps(spline)]
    return found


def normal(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("case", cases(), ids=lambda case: type(case[0]).__name__)
def test_the_log_determinant_is_that_of_the_jacobian(case):
    step, shape, given = shaken(case[0]), case[1], case[2]
    x, context = normal(2, *shape), normal(2, *given)
    z, log_det = step(x, context)
    # an autoregressive step goes towards data without gradients: there the other way is differentiated
    start, way = (z, step.step) if isinstance(step, Inverted) else (x, step)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, i=i, way=way: way(v[None], context[i : i + 1])[0].flatten(), start[i]
        ).flatten(1)
        expected = torch.linalg.slogdet(jacobian).logabsdet
        sign = -1 if isinstance(step, Inverted) else 1
        torch.testing.assert_close(log_det.expand(2)[i], sign * expected)
    back, log_back = step.inverse(z, context)
    torch.testing.assert_close(back, x, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(log_back, -log_det, atol=1e-5, rtol=1e-5)


def test_every_step_of_the_package_is_among_them():
    modules = [
        importlib.import_module(f"simulacra.dynamics.{item.name}")
        for item in pkgutil.iter_modules(simulacra.dynamics.__path__)
    ]
    known = {
        item
        for module in modules
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, Step) and not inspect.isabstract(item)
    }
    assert known == {type(step) for step, _, _ in cases()}


@splines
@pytest.mark.parametrize("autoregressive", [False, True])
def test_the_density_in_two_dimensions_integrates_to_one(spline: Spline, autoregressive: bool):
    torch.manual_seed(0)
    norm, order, affine, coupling, masked = flat_steps(2, spline)
    flow = shaken(Flow(2, [norm, affine, masked if autoregressive else coupling, order]))
    assert integral(flow) == pytest.approx(1.0, abs=1e-3)


def test_the_density_of_one_network_of_a_posterior_integrates_to_one():
    torch.manual_seed(0)
    coupling = Coupling(2, 1, RationalQuadratic(4, 3.0), [8], bayesian=Bayesian(1.0, 0.3))
    flow = shaken(Flow(2, [ActNorm(2), coupling]), 0.1)
    point, context = normal(1, 2), normal(1, 1)
    densities = [float(flow.log_prob(point, context).detach())]
    for seed in range(2):
        with one_network(flow, torch.Generator().manual_seed(seed)):
            densities.append(float(flow.log_prob(point, context).detach()))
            assert integral(flow) == pytest.approx(1.0, abs=1e-3)
    assert len(set(densities)) == 3


def integral(flow: Flow) -> float:
    """Sum over a fine grid; a smooth density that vanishes at its ends is integrated to high order."""
    axis = torch.linspace(-11, 11, 441, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = flow.log_prob(points, torch.full((len(points), 1), 0.7).double()).exp()
    return float(density.sum()) * float(axis[1] - axis[0]) ** 2
