"""Networks of showers as one writes them down at first, with the weights of ours.

Padding before every convolution, attention as a softmax over a product of matrices, grids filled layer by
layer: nothing is fused, and nothing is left to a backend.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.nn.common_grid import CommonGrid
from simulacra.nn.cylindrical_unet import CylindricalUNet
from simulacra.nn.dit import DiTBlock, Modulation, SelfAttention
from simulacra.nn.padded_conv import PaddedConv, PaddedConvUp
from simulacra.nn.timed_unet import Level, LinearAttention, TimedBlock
from simulacra.nn.vision_transformer import VisionTransformer


def plain_unet(net: CylindricalUNet, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """What ``net`` makes of the cells."""
    assert net.given is not None
    known = torch.cat([net.time(t), net.given(context)], 1)
    maps = net.maps.repeat(len(x), 1, 1, 1, 1)
    h = torch.cat([_to_grid(net.grid, x).unsqueeze(1), maps], 1)
    unet, skips = net.net, []
    h = _conv(unet.first, h)
    for number, down in enumerate(unet.downs):
        h = _level(down, h, known)
        skips.append(h)
        if number < len(unet.join):
            h = _conv(unet.join[number], h)
    h = _level(unet.middle, h, known)
    for number in reversed(range(len(unet.ups))):
        h = _level(unet.ups[number], torch.cat([h, skips[number]], 1), known)
        if number > 0:
            h = _conv_up(unet.split[number - 1], h, skips[number - 1].shape[2:])
    return _from_grid(net.grid, unet.head(_block(unet.final, h, known))[:, 0])


def plain_transformer(net: VisionTransformer, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """What ``net`` makes of the cells of layers that are all alike."""
    (raster,) = net.patches.rasters
    sizes, box = raster.shape, raster.box
    depth, rows, cols = (size // side for size, side in zip(sizes, box, strict=True))
    cells = x.reshape(len(x), depth, box[0], rows, box[1], cols, box[2]).permute(
        0, 1, 3, 5, 2, 4, 6
    )
    h = net.embed(cells.reshape(len(x), depth * rows * cols, -1)) + net.positions()
    assert net.of_context is not None
    known = net.of_time(net.time(t)) + net.of_context(context)
    for block in net.blocks:
        assert isinstance(block, DiTBlock)
        parts = _modulation(block.steer, known)
        h = h + parts[2] * _attention(
            block.attention, _norm(h) * (1 + parts[1]) + parts[0], net.allowed
        )
        h = h + parts[5] * block.inner(_norm(h) * (1 + parts[4]) + parts[3])
    shift, scale = _modulation(net.head.steer, known)
    made = net.head.last(_norm(h) * (1 + scale) + shift)
    made = made.reshape(len(x), depth, rows, cols, *box).permute(0, 1, 4, 2, 5, 3, 6)
    return made.reshape(len(x), -1)


def _norm(h: Tensor) -> Tensor:
    mean, variance = h.mean(-1, keepdim=True), h.var(-1, unbiased=False, keepdim=True)
    return (h - mean) / torch.sqrt(variance + 1e-6)


def _modulation(steer: nn.Module, known: Tensor) -> tuple[Tensor, ...]:
    assert isinstance(steer, Modulation)
    return steer.map(functional.silu(known)).unsqueeze(1).chunk(steer.parts, -1)


def _attention(layer: SelfAttention, h: Tensor, allowed: Tensor | None) -> Tensor:
    batch, tokens, width = h.shape
    query, key, value = (
        part.reshape(batch, tokens, layer.heads, -1).transpose(1, 2)
        for part in layer.qkv(h).chunk(3, -1)
    )
    scores = query @ key.transpose(-2, -1) / math.sqrt(width // layer.heads)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    found = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, tokens, width)
    return layer.output(found)


def _to_grid(grid: CommonGrid, x: Tensor) -> Tensor:
    if grid.geometry.regular:
        return x.reshape(len(x), *grid.shape)
    found = x.new_zeros(len(x), *grid.shape)
    for number, part in enumerate(grid.geometry.split(x)):
        rows = grid.get_buffer(f"rows_to_{number}")
        found[:, number] = torch.einsum("Rr,brc,Cc->bRC", rows, part, grid.spread[number])
    return found


def _from_grid(grid: CommonGrid, x: Tensor) -> Tensor:
    if grid.geometry.regular:
        return x.reshape(len(x), -1)
    parts = []
    for number in range(x.shape[1]):
        rows = grid.get_buffer(f"rows_back_{number}")
        part = torch.einsum("rR,bRC,cC->brc", rows, x[:, number], grid.gather[number])
        parts.append(part.reshape(len(x), -1))
    return torch.cat(parts, 1)


def _conv(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, PaddedConv)
    for axis, size in enumerate(x.shape[2:]):
        kernel, stride, before = layer.kernel[axis], layer.stride[axis], layer.before[axis]
        after = kernel - stride - before + -size % stride
        pad = [0, 0] * (2 - axis) + [before, after] + [0, 0] * axis
        x = functional.pad(x, pad, mode="circular" if axis in layer.periodic else "constant")
    return functional.conv3d(x, layer.weight, layer.bias, layer.stride)


def _conv_up(layer: nn.Module, x: Tensor, sizes: torch.Size) -> Tensor:
    assert isinstance(layer, PaddedConvUp)
    for axis in layer.periodic:  # all cells once more at both ends
        x = torch.cat([x, x, x], 2 + axis)
    x = functional.conv_transpose3d(x, layer.weight, layer.bias, layer.stride)
    for axis, size in enumerate(sizes):
        turns = -(-size // layer.stride[axis]) * layer.stride[axis] if axis in layer.periodic else 0
        x = x.narrow(2 + axis, layer.before[axis] + turns, size)
    return x


def _level(level: nn.Module, x: Tensor, known: Tensor) -> Tensor:
    assert isinstance(level, Level)
    x = _block(level.second, _block(level.first, x, known), known)
    return _linear_attention(level.attention, x)


def _block(block: nn.Module, x: Tensor, known: Tensor) -> Tensor:
    assert isinstance(block, TimedBlock)
    h = functional.silu(block.first_norm(_conv(block.first, x)))
    h = h + block.steer(functional.silu(known)).reshape(len(x), -1, 1, 1, 1)
    h = functional.silu(block.second_norm(_conv(block.second, h)))
    return h + block.shortcut(x)


def _linear_attention(layer: LinearAttention, x: Tensor) -> Tensor:
    cells = layer.norm(x).reshape(*x.shape[:2], -1)
    query, key, value = torch.einsum("oc,bcv->bov", layer.take.weight, cells).chunk(3, 1)
    query = query.softmax(1) / math.sqrt(query.shape[1])
    seen = torch.einsum("bkv,bwv->bkw", key.softmax(2), value)
    found = torch.einsum("bkw,bkv->bwv", seen, query)
    found = torch.einsum("cw,bwv->bcv", layer.give.weight, found) + layer.give.bias[:, None]
    return x + layer.last_norm(found.reshape(x.shape))
