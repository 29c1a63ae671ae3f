r"""FPND, the Fréchet ParticleNet distance of jets of 30 particles (arXiv:2106.11535, section 5.2).

The activations of a published ParticleNet on at most 50,000 generated jets are compared with the stored mean
and covariance of those on real gluon, light-quark or top jets. Weights and statistics come with the Python
package jetnet 0.2.5, folder ``jetnet/evaluation/fpnd_resources/jetnet/30_particles``; they are not part of
this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.distances.drawn import EVENTS_PER_FEATURE, Array
from simulacra.metrics.distances.frechet import BlockMoments, frechet, frechet_error
from simulacra.metrics.distances.jackknife import block_count, blocks
from simulacra.metrics.engine.score import Figure, Judged, NotRun, score_constructor
from simulacra.metrics.engine.weighted import Weight, part, probabilities
from simulacra.metrics.protocols.jets import clouds
from simulacra.nn.particlenet import ACTIVATIONS, ParticleNet, load

JETS, PARTICLES = 50_000, 30
SCALE = (1.6211985349655151, 0.520724892616272, 0.8934717178344727)
"""Largest absolute etarel, phirel and ptrel of the public data, which features are divided by."""
SHIFT = (0.0, 0.0, -0.5)
BATCH = 256
STATISTICS = ("g", "q", "t")


def activations(jets: Tensor, network: ParticleNet) -> Array:
    """Activations ``(B, 256)`` of jets ``(B, 30, 3)`` with etarel, phirel, ptrel, 0 for padding."""
    if jets.shape[1:] != (PARTICLES, 3):
        raise NotRun(f"FPND is defined for jets of {PARTICLES} particles, got {jets.shape[1]}")
    scaled = jets.float() / torch.tensor(SCALE) + torch.tensor(SHIFT)
    with torch.no_grad():
        return torch.cat([network(part) for part in scaled.split(BATCH)]).double().numpy()


def fpnd(
    jets: Tensor, network: ParticleNet, mean: Array, covariance: Array, weight: Weight = None
) -> Figure:
    """Distance of generated jets ``(B, 30, 3)`` from real ones, with the error of the generated jets.

    Args:
        jets: etarel, phirel, ptrel, 0 for padding; the first 50,000 are used.
        network: With published weights.
        mean: Mean of the activations on real jets ``(256,)``.
        covariance: Their covariance ``(256, 256)``.
        weight: Weights of the generated jets.
    """
    found = activations(jets[:JETS], network)
    shares = probabilities(part(weight, slice(JETS)))
    middle = found.mean(0) if shares is None else shares @ found
    value = frechet(mean, covariance, middle, np.cov(found, rowvar=False, aweights=shares))
    count = block_count(len(found))
    centred = BlockMoments(found - mean, shares, blocks(len(found), count), count)
    return Figure(
        value,
        frechet_error(lambda _: (np.zeros_like(mean), covariance), centred, count),
        power=1.0,
        most=JETS,
        stored=True,
        least=EVENTS_PER_FEATURE * len(mean),
    )


@score_constructor
def fpnd_score(
    reference: Judged,
    generated: Judged,
    seed: int,
    weights: str | None = None,
    classes: Sequence[str] = (),
) -> dict[str, Figure]:
    """``fpnd`` against the published statistics.

    Args:
        reference: Not used: the real jets are those of the published statistics.
        generated: Generated jets.
        seed: Not used.
        weights: Folder with ``pnet_state_dict.pt`` and the statistics, or None.
        classes: Classes of the jets; there are statistics for one of g, q and t.
    """
    if weights is None:
        raise NotRun(
            "FPND needs ParticleNet's published weights: set weights to the folder "
            "jetnet/evaluation/fpnd_resources/jetnet/30_particles of the Python package jetnet 0.2.5"
        )
    if len(classes) != 1 or classes[0] not in STATISTICS:
        raise NotRun(f"FPND has statistics for jets of one of {STATISTICS}, got {list(classes)}")
    jets = clouds(generated.events)[:JETS]
    if len(jets) <= 1:
        raise NotRun(f"FPND needs jets, got {len(jets)}")
    folder = Path(weights)
    mean = _statistics(folder / f"{classes[0]}_mu.txt", (ACTIVATIONS,))
    covariance = _statistics(folder / f"{classes[0]}_sigma.txt", (ACTIVATIONS, ACTIVATIONS))
    network = load(folder / "pnet_state_dict.pt")
    return {"fpnd": fpnd(jets, network, mean, covariance, generated.weight)}


def _statistics(path: Path, shape: tuple[int, ...]) -> Array:
    """Numbers of a text file.

    Raises:
        UserError: If the file is missing, or holds anything but finite numbers of that shape.
    """
    if not path.is_file():
        raise UserError(f"there is no file of ParticleNet statistics {path}")
    try:
        found = np.loadtxt(path)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} holds no ParticleNet statistics: {reason}") from error
    if found.shape != shape or not np.isfinite(found).all():
        raise UserError(
            f"{path} holds no ParticleNet statistics: expected {shape} finite numbers, got {found.shape}"
        )
    return found
