"""Small models of calorimeter clouds and thinned showers of the package's sample, for tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files

import h5py
import pytest
import torch

from simulacra.core import Batch, Spec
from simulacra.dynamics.denoiser import Noise, ResidualVelocity
from simulacra.dynamics.diffusion import (
    Diffusion,
    MeanSquare,
    Uniform,
    flow_matching,
    preconditioned,
)
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.paths import BetaPath
from simulacra.dynamics.regressed_diffusion import RegressedDiffusion
from simulacra.dynamics.samplers import DDIM, KarrasHeun
from simulacra.dynamics.set_flows import SetFlow
from simulacra.dynamics.solvers import Heun, Midpoint
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.models.clouds.allshowers import AllShowers
from simulacra.models.clouds.caloclouds import CaloClouds
from simulacra.models.clouds.caloclouds2 import CaloClouds2
from simulacra.models.clouds.caloclouds3 import CaloClouds3
from simulacra.models.clouds.calopointflow import CaloPointFlow
from simulacra.models.clouds.latent_vector import LatentVector, NormalLatentVector
from simulacra.models.clouds.layered_cloud import LayeredCloud
from simulacra.nn.deep_sets import DeepSetEncoder
from simulacra.nn.epic_encoder import EPiCEncoder
from simulacra.nn.layer_transformer import LayerTransformer
from simulacra.nn.pointwise import GaussianFourier, PointWise
from simulacra.nn.timed_mlp import PlainTimedMLP
from simulacra.training.optim import Optim, warmup_cosine
from simulacra.transforms.cloud_layers import LayeredCloudTransform
from simulacra.transforms.cloud_layerwise import LayerwiseCloudTransform
from simulacra.transforms.cloud_quantiles import CloudQuantiles
from simulacra.transforms.known_layers import KnownLayersTransform

POINTS = 400
"""Every eighth point of the sample's showers is kept, 120 to 381 of each."""
TRAINING = 150


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec() -> Spec:
    return ild_cloud().with_(shape=(POINTS, 4))


@cache
def showers() -> Batch:
    """All 200 photons of the sample, thinned."""
    path = files("simulacra.data") / "embedded" / "ild_cloud"
    path = path / "10-90GeV_x36_grid_regular_sample.hdf5"
    with path.open("rb") as stream, h5py.File(stream) as file:
        arrays = {name: file[name][:] for name in ("energy", "events")}
    whole = CaloCloud(ild_cloud()).decode(arrays, path)  # type: ignore[arg-type]
    assert whole.mask is not None
    return Batch(whole.x[:, : 8 * POINTS : 8], whole.cond, {}, whole.mask[:, : 8 * POINTS : 8])


numbers = partial(
    coupling_flow,
    blocks=4,
    spline=RationalQuadratic(4, 6.0),
    hidden=[32],
    affine=[16],
    dropout=0.3,
)
latents = partial(coupling_flow, blocks=2, spline=RationalQuadratic(4, 6.0), hidden=[16])
transform = partial(LayeredCloudTransform, layers=30, seen=1, subset=128)
optim = Optim(
    partial(torch.optim.AdamW, lr=4e-3, weight_decay=0.2), partial(warmup_cosine, warmup=0.05)
)


def caloclouds2(seed: int = 0, calibration: int = 0) -> CaloClouds2:
    torch.manual_seed(seed)
    return CaloClouds2(
        spec(), None, transform=partial(transform, calibration=calibration), numbers=numbers,
        net=partial(PointWise, hidden=[32, 64, 32], time=GaussianFourier(8, 1.0, 16)),
        process=preconditioned(sigma_max=20.0),
        ranked=False, solver=KarrasHeun(8), optim=optim,
    )  # fmt: skip


def caloclouds(seed: int = 0) -> CaloClouds:
    torch.manual_seed(seed)
    return CaloClouds(
        spec(), None, transform=transform, numbers=numbers,
        latent=NormalLatentVector(4, partial(EPiCEncoder, hidden=16, layers=1), latents, kl=1e-2),
        net=partial(PointWise, hidden=[32, 64, 32], time=GaussianFourier(8, 1.0, 16)),
        process=Diffusion(BetaPath(20, 1e-4, 0.6), Noise(), Uniform(), MeanSquare()),
        ranked=False, solver=DDIM(20, eta=1.0), optim=optim,
    )  # fmt: skip


def calopointflow(seed: int = 0) -> CaloPointFlow:
    torch.manual_seed(seed)
    normal = partial(
        LayeredCloudTransform,
        layers=30,
        points=partial(CloudQuantiles, values=512),
        seen=1,
        subset=64,
    )
    return CaloPointFlow(
        spec(), None, transform=normal, numbers=numbers,
        latent=LatentVector(4, partial(DeepSetEncoder, point=[16], whole=[16]), latents),
        points=partial(
            SetFlow, blocks=4, spline=RationalQuadratic(8, 5.0), hidden=[24], summary=([16], [8])
        ),
        optim=optim,
    )  # fmt: skip


def caloclouds3(seed: int = 0) -> CaloClouds3:
    torch.manual_seed(seed)
    return CaloClouds3(
        spec(), None, transform=partial(LayerwiseCloudTransform, layers=30, seen=0, subset=128),
        numbers=numbers,
        net=partial(PointWise, hidden=[32, 64, 32], time=GaussianFourier(8, 1.0, 16)),
        process=preconditioned(sigma_max=20.0),
        ranked=False, solver=KarrasHeun(8), optim=optim,
    )  # fmt: skip


def allshowers(seed: int = 0, shape: Spec | None = None, correction: int = 0) -> AllShowers:
    torch.manual_seed(seed)
    counts = partial(
        RegressedDiffusion,
        net=partial(PlainTimedMLP, hidden=[64, 64], frequencies=3),
        process=flow_matching(predicts=ResidualVelocity()),
        solver=Heun(10),
        copies=8,
    )
    known = partial(
        KnownLayersTransform, layers=30, points=partial(CloudQuantiles, values=512), imposed=True,
        subset=64, correction=correction,
    )  # fmt: skip
    return AllShowers(
        spec() if shape is None else shape, None, transform=known, numbers=counts,
        net=partial(
            LayerTransformer, width=16, heads=2, blocks=1, hidden=32, counts=16, window=2,
            frequencies=3,
        ),
        process=flow_matching(), chunk=256, solver=Midpoint(6), optim=optim,
    )  # fmt: skip


Make = Callable[..., LayeredCloud]
MODELS = [caloclouds2, caloclouds, calopointflow, caloclouds3, allshowers]
each = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
