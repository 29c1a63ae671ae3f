r"""Means over weighted events.

.. math:: \langle v \rangle = \frac{\sum_i w_i v_i}{\sum_i w_i},

so that an event of weight two counts as two equal events, and one of weight zero not at all. Without weights
every event counts the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core.errors import UserError


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of ``(B, *)`` over events and all other axes, a scalar; 0 where no event has a weight.

    Args:
        values: Any numbers, one row per event.
        weight: Event weights ``(B,)``, or None for unit weights.
    """
    if weight is None:
        return values.mean()
    return event_mean(values.flatten(1).mean(1) if values.ndim > 1 else values, weight)


def event_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of ``(B, *)`` over events alone, ``(*)``; 0 where no event has a weight.

    Args:
        values: Any numbers, one row per event.
        weight: Event weights ``(B,)``, or None for unit weights.
    """
    if weight is None:
        return values.mean(0)
    each = weight.to(values).view(-1, *[1] * (values.ndim - 1))
    return (each * values).sum(0) / _safe(weight.to(values).sum())


def counted_mean(values: Tensor, counts: Tensor) -> Tensor:
    """Sum of values times counts over the sum of the counts, a scalar; 0 where nothing counts.

    Args:
        values: ``(B, *)``.
        counts: ``(B, *, 1)``: what is real, times the weight of its event.
    """
    return (values * counts).sum() / _safe(counts.sum())


def _safe(total: Tensor) -> Tensor:
    return torch.where(total == 0, torch.ones_like(total), total)


def check_weight(weight: Tensor, n: int, signed: bool = False) -> None:
    """Refuse weights that cannot be those of ``n`` events.

    Args:
        weight: Event weights, which should be ``(n,)``.
        n: Number of events.
        signed: Whether weights below zero are allowed.

    Raises:
        UserError: For a wrong shape, NaN or infinity, and negative weights unless they are allowed.
    """
    if weight.shape != (n,):
        raise UserError(f"weights have shape {tuple(weight.shape)}, expected ({n},)")
    wrong = int((~torch.isfinite(weight)).sum())
    if wrong:
        raise UserError(f"the weights hold {wrong} NaN or infinite values")
    if not signed and bool((weight < 0).any()):
        raise UserError(
            f"the weights hold {int((weight < 0).sum())} negative values, which the data set does not allow"
        )


def refuse_weights(weight: Tensor | None, what: str) -> None:
    """Say that something that compares the events of a batch with each other takes no weights.

    Args:
        weight: Event weights ``(B,)``, or None.
        what: Begins the sentence.

    Raises:
        UserError: If there are weights.
    """
    if weight is not None:
        raise UserError(
            f"{what} takes no weights: it looks across the batch, where a weight is no repetition of an event"
        )
