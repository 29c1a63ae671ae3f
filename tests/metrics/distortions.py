"""What generators get wrong, done on purpose to true events: functions return other events and change none.

Showers may be grids, layers or clouds, as the spec says; jets are clouds; sensors are images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.formats.calo_cloud import points_first

STRENGTH = 3.0
"""Energy of a cell that was switched on, in units of the evaluation's cut (of 1 keV where there is none)."""
CLOUD_CELLS = 30 * 30 * 30
"""Cells around the axis of a cloud, of which a share is switched on."""


def changed(batch: Batch, x: Tensor, mask: Tensor | None = None) -> Batch:
    """The same events with other values."""
    return Batch(x, batch.cond, batch.event, batch.mask if mask is None else mask, batch.weight)


def scaled(batch: Batch, spec: Spec, factor: float) -> Batch:
    """All energies of showers times a factor."""
    x = batch.x.clone()
    if spec.kind == "cloud":
        x[..., -1] *= factor
    else:
        x *= factor
    return changed(batch, x)


def exchanged_layer(batch: Batch, spec: Spec, layer: int, seed: int = 0) -> Batch:
    """One layer of each shower is that of another shower."""
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed))
    if spec.kind == "cloud":
        column = [field.name for field in spec.features].index("layer")
        inside = (batch.x[..., column] == layer) & batch.mask
        kept = batch.x * (batch.mask & ~inside)[..., None]
        x, mask = points_first(torch.cat([kept, (batch.x * inside[..., None])[order]], dim=1))
        return changed(batch, x[:, : spec.shape[0]], mask[:, : spec.shape[0]])
    assert spec.geometry is not None
    layers = list(spec.geometry.split(batch.x.flatten(1)))
    layers[layer] = layers[layer][order]
    return changed(batch, spec.geometry.join(layers).reshape(batch.x.shape))


def switched_on(batch: Batch, spec: Spec, share: float, seed: int = 0) -> Batch:
    """A share of all cells holds a little energy more."""
    generator = torch.Generator().manual_seed(seed)
    energy = STRENGTH * (spec.cut or 1e-3)
    if spec.kind != "cloud":
        on = torch.rand(batch.x.shape, generator=generator) < share
        return changed(batch, batch.x + energy * on)
    n = round(share * CLOUD_CELLS)
    columns = {field.name: number for number, field in enumerate(spec.features)}
    points = torch.zeros(len(batch), n, batch.x.shape[-1])
    middle = {"x": 0.0, "z": 40.0}  # mm
    for name, centre in middle.items():
        points[..., columns[name]] = centre + 150 * (
            torch.rand(len(batch), n, generator=generator) - 0.5
        )
    points[..., columns["layer"]] = torch.randint(30, (len(batch), n), generator=generator).float()
    points[..., -1] = energy
    x, mask = points_first(torch.cat([points, batch.x], dim=1))
    return changed(batch, x[:, : spec.shape[0]], mask[:, : spec.shape[0]])


def rotated(batch: Batch, spec: Spec, angle: float) -> Batch:
    """Particles of jets turned around the beam by an angle [rad], away from the jet axis."""
    x = batch.x.clone()
    column = [field.name for field in spec.features].index("phirel")
    x[..., column] += angle
    return changed(batch, torch.where(batch.mask[..., None], x, 0.0))


def busier_sensor(batch: Batch, sensor: int, factor: float, seed: int = 0) -> Batch:
    """One sensor fires ``factor`` times as many pixels; new ones have the charges of old ones."""
    generator = torch.Generator().manual_seed(seed)
    x = batch.x.clone()
    for image in x[:, sensor]:
        flat = image.view(-1)
        fired, empty = (flat > 0).nonzero()[:, 0], (flat == 0).nonzero()[:, 0]
        more = min(round((factor - 1) * len(fired)), len(empty))
        chosen = empty[torch.randperm(len(empty), generator=generator)[:more]]
        flat[chosen] = flat[fired[torch.randint(len(fired), (more,), generator=generator)]]
    return changed(batch, x)


def half_copies(batch: Batch, originals: int = 100) -> Batch:
    """The second half of the file repeats its first events over and over."""
    half = len(batch) // 2
    index = torch.arange(len(batch))
    index[half:] = torch.arange(len(batch) - half) % originals
    return batch[index]
