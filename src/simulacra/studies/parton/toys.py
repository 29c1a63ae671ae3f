"""What these studies share: the toy behind their data set, and figures with bootstrap errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.data.toys import Drawn
from simulacra.studies.bench import Bench

T = TypeVar("T")
BOOTSTRAPS = 200


def toy_of(bench: Bench, kind: type[T], example: str) -> T:
    """The toy that the data set is drawn from.

    Raises:
        UserError: If it is another one, or none.
    """
    data = bench.datamodule
    if not isinstance(data, Drawn) or not isinstance(data.toy, kind):
        raise UserError(
            f"the answer is known for a toy, and {data.native_spec.name} is none of this kind: take "
            f"data={example}"
        )
    return data.toy


def resampled(
    figures: Callable[[Tensor, Tensor], Mapping[str, float]], sizes: tuple[int, int], seed: int
) -> dict[str, float]:
    """Figures of two samples, and the standard deviations over bootstraps of their events as ``…/error``.

    Args:
        figures: From the numbers of events that are taken of each.
        sizes: Events of both.
        seed: Seed of the bootstraps.
    """
    generator = torch.Generator().manual_seed(seed)
    central = figures(*(torch.arange(n) for n in sizes))
    drawn = [
        figures(*(torch.randint(n, (n,), generator=generator) for n in sizes))
        for _ in range(BOOTSTRAPS)
    ]
    found = dict(central)
    for name in central:
        values = torch.tensor([item[name] for item in drawn], dtype=torch.float64)
        found[f"{name}/error"] = float(values.std())
    return found


def auc(background: Tensor, signal: Tensor) -> float:
    """Area under the ROC curve of scores ``(n,)`` and ``(m,)``; ties count as a half."""
    ordered = background.sort().values
    below = torch.searchsorted(ordered, signal)
    reached = torch.searchsorted(ordered, signal, right=True)
    return float((below + reached).double().mean() / 2 / len(background))
