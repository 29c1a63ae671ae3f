"""What a step of IEA-GAN at published size keeps and computes, counted in bfloat16 on images of a sixteenth
of the pixels; ``pytest -m bench -s tests/benchmarks/test_sensor_gan_memory.py`` prints it scaled to one event
of 40 full images.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from simulacra.core import Batch, Field, Latent, Spec
from simulacra.models.images.sensor_gan import SensorGAN
from simulacra.nn.recompute import Block
from support import made

IMAGES, ROWS, COLS = 2, 64, 192
EVENT = 40 * 256 * 768 / (IMAGES * ROWS * COLS)
"""Pixels of a full event in those that are counted."""
CARD = 16.0
"""Memory that a step shall fit into [GB]."""


class Kept:
    """Bytes that a graph keeps beside the weights, in GB of a full event."""

    def __init__(self, module: nn.Module) -> None:
        self.known = {p.untyped_storage().data_ptr() for p in module.state_dict().values()}
        self.held: list[Tensor] = []
        self.stored: dict[int, int] = {}

    def pack(self, x: Tensor) -> Tensor:
        """Note a tensor, which stays alive so that its place is not used twice."""
        place = x.untyped_storage().data_ptr()
        if place not in self.known and x.ndim == 4 and x.shape[0] == IMAGES:
            self.held.append(x)
            self.stored[place] = x.untyped_storage().nbytes()
        return x

    @property
    def size(self) -> float:
        """See the class."""
        return sum(self.stored.values()) * EVENT / 1e9


def module(recompute: bool) -> SensorGAN:
    spec = Spec(
        "toy", "image", (IMAGES, ROWS, COLS), "ADU", features=(Field("charge", "ADU", low=0.0, high=255.0),),
        threshold=7.0, cut=7.0,
    )  # fmt: skip
    found: SensorGAN = made("iea_gan", spec, "critic.attention=null", size="published")
    found.fit_transform([Batch(torch.zeros(2, IMAGES, ROWS, COLS))])
    if recompute:
        found.recompute()
    return found


def counted(net: SensorGAN, name: str, latent: Latent) -> tuple[float, float]:
    """Kept in a player's turn, and the floating-point operations of the turn [1e12]."""
    other = net.critic if name == "generator" else net.net
    other.requires_grad_(False)
    kept = Kept(net)
    with FlopCounterMode(display=False) as flops:
        with (
            torch.autocast("cpu", torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x),
        ):
            loss = net.objectives()[name].loss(latent, None)["loss"]
        size = kept.size
        kept.held.clear()
        loss.backward()
    other.requires_grad_(True)
    return size, flops.get_total_flops() * EVENT / 1e12


def largest(net: SensorGAN) -> float:
    """What the largest block keeps while it is recomputed, in GB of a full event."""
    sizes: list[float] = []
    usual = Block.__call__

    def alone(self: Block, *inputs: Tensor) -> Tensor:
        kept = Kept(net)
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda x: x):
            out: Tensor = usual(self, *inputs)
        sizes.append(kept.size)
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Block, "__call__", alone)
        with torch.autocast("cpu", torch.bfloat16):
            net.verdict(net.net(1, net.transform.prior))
    return max(sizes)


@pytest.mark.bench
def test_a_step_at_published_size_fits_a_card_of_16_gb() -> None:
    keeps: dict[bool, list[float]] = {}
    for recompute in (False, True):
        net = module(recompute)
        latent = net.encode(Batch(torch.zeros(1, IMAGES, ROWS, COLS)))
        keeps[recompute] = []
        for name in net.objectives():
            size, flops = counted(net, name, latent)
            keeps[recompute].append(size)
            print(f"{name}, {recompute=}: {size:.2f} GB, {flops:.1f} TFLOP per event")  # noqa: T201
        net.zero_grad()
    again = largest(module(False))
    weights = 16 * sum(p.numel() for p in net.parameters()) / 1e9  # with gradients and Adam's two
    print(f"largest block {again:.2f} GB, weights with what moves them {weights:.2f} GB")  # noqa: T201
    assert max(keeps[True]) + 2 * again + weights < CARD
    assert max(keeps[True]) < 0.4 * max(keeps[False])
