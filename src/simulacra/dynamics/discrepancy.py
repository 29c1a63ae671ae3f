r"""Maximum mean discrepancy: distances of samples by kernels, which a network can make small.

With :math:`k_\alpha(x, y) = e^{-\alpha |x - y|^2}` and expectations over all pairs, also those of an event
with itself,

.. math:: D_\alpha = E[k_\alpha(x, x')] + E[k_\alpha(y, y')] - 2 E[k_\alpha(x, y)] \ge 0 .

Reference: Gretton et al., JMLR 13 (2012) 723, equation 5; sorted windows from arXiv:2005.05334, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import UserError, weighted_mean


def mmd_rbf(x: Tensor, y: Tensor, alphas: Sequence[float], weight: Tensor | None = None) -> Tensor:
    r"""Sum of :math:`D_\alpha` over kernels, a scalar.

    Args:
        x: Events ``(B, K)``.
        y: Events ``(B', K)``, all alike.
        alphas: Inverse squared widths of the kernels.
        weight: Event weights ``(B,)`` of ``x``, or None.
    """
    own = x.new_ones(len(x)) if weight is None else weight.to(x)
    share, other = own / own.sum(), y.new_full((len(y),), 1 / len(y))
    pairs = ((x, share, x, share, 1), (y, other, y, other, 1), (x, share, y, other, -2))
    parts = []
    for a, p, b, q, sign in pairs:
        apart = (a[:, None] - b[None]).square().sum(-1)
        kernel = torch.stack([torch.exp(-alpha * apart) for alpha in alphas]).sum(0)
        parts.append(sign * (p @ kernel @ q))
    return torch.stack(parts).sum()


def sorted_window_mmd(
    x: Tensor,
    y: Tensor,
    *,
    window: int,
    stride: int,
    hits: int,
    alpha: float,
    weight: Tensor | None = None,
) -> Tensor:
    r""":math:`D_\alpha` of the energies of cells of like rank, the mean over windows and events, a scalar.

    The cells of each shower are sorted, the strongest first, and compared within windows of ranks.

    Args:
        x: Cells ``(B, V)``.
        y: Cells of the same events ``(B, V)``.
        window: Ranks in a window; all, where there are fewer.
        stride: Ranks between the starts of two windows.
        hits: Strongest cells that are looked at.
        alpha: Inverse squared width of the kernel, in inverse squared energies.
        weight: Event weights ``(B,)``, or None.

    Raises:
        UserError: If ``window``, ``stride`` or ``hits`` is not positive.
    """
    if min(window, stride, hits) < 1:
        raise UserError(
            f"windows of hits need window, stride and hits from 1, got {window}, {stride} and {hits}"
        )
    first, second = (_windows(cells, window, stride, hits).unbind(1) for cells in (x, y))  # (B, k)

    def mean(a: Tensor, b: Tensor) -> Tensor:
        apart = a[:, :, None] - b[:, None, :]
        return torch.exp(-alpha * apart.square()).mean((1, 2))

    found = [mean(a, a) + mean(b, b) - 2 * mean(a, b) for a, b in zip(first, second, strict=True)]
    return weighted_mean(torch.stack(found, dim=1), weight)


def _windows(cells: Tensor, window: int, stride: int, hits: int) -> Tensor:
    ranked = cells.flatten(1).sort(dim=1, descending=True).values[:, :hits]
    return ranked.unfold(1, min(window, ranked.shape[1]), stride)
