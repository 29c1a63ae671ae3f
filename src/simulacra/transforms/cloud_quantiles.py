r"""Points whose every feature is a standard normal.

A feature of few distinct values (a layer, a position on a grid) is dequantised by its distribution function:
uniform noise spreads a value halfway to its neighbours, and with the distribution function :math:`F` of what
comes out, :math:`y = \Phi^{-1}(F(x))`: this is :math:`\Phi^{-1}` of a number uniform in the value's share of
:math:`F`. The inverse returns the nearest of the values, so that they are exact. Other features go through
their quantiles as they are (:mod:`simulacra.transforms.quantile`).

Reference: Schnake, Krücker, Borras 2024, arXiv:2403.15782, section 3 ("CDF dequantisation").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from simulacra.core import Field, Spec, UserError
from simulacra.transforms.cloud import CloudStandardise
from simulacra.transforms.cloud_layers import LayeredCloudTransform
from simulacra.transforms.quantile import QuantileMap


class CloudQuantiles(CloudStandardise):
    """See the module's docstring.

    Args:
        features: The columns.
        values: Largest number of distinct values of a feature that is dequantised.
        fitted: Points that the quantiles are taken from, at most, evenly chosen.
    """

    grid: Tensor
    gridded: Tensor

    def __init__(self, features: Sequence[Field], values: int, fitted: int = 200_000) -> None:
        super().__init__(features)
        self.fitted = fitted
        self.register_buffer("grid", torch.full((len(features), values), torch.inf))
        self.register_buffer("gridded", torch.zeros(len(features), dtype=torch.bool))
        self.quantiles = QuantileMap(len(features), knots=1025)

    def fit_stream(self, parts: Callable[[], Iterable[tuple[Tensor, Tensor | None]]]) -> None:
        """Distinct values and quantiles of all real points, in two passes.

        Args:
            parts: Starts a pass over points ``(B, N, F)`` with their masks.

        Raises:
            UserError: If there is no real point.
        """
        most, features = self.grid.shape[1], len(self.sizes)
        found, count = [torch.zeros(0) for _ in range(features)], 0
        for x, mask in parts():
            real = (x.flatten(0, 1) if mask is None else x[mask]).cpu()
            count += len(real)
            for i in range(features):
                if len(found[i]) <= most:
                    found[i] = torch.cat([found[i], real[:, i].float().unique()]).unique()
        if count == 0:
            raise UserError("the training clouds have no points")
        self.grid.fill_(torch.inf)
        for i, values in enumerate(found):
            self.gridded[i] = 1 < len(values) <= most
            if self.gridded[i]:
                self.grid[i, : len(values)] = values
        stride = max(count // self.fitted, 1)
        kept = [(x if m is None else x[m][None]).flatten(0, 1)[::stride] for x, m in parts()]
        noise = torch.Generator().manual_seed(0)
        self.quantiles.fit(self.spread(torch.cat(kept).to(self.grid), noise))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Physical to normal points."""
        y: Tensor = self.quantiles(x.flatten(0, -2)).view_as(x)
        return y if mask is None else torch.where(mask[..., None], y, 0.0)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normal to physical points, dequantised features as one of their values."""
        flat = self.quantiles.inverse(y.flatten(0, -2))
        columns = []
        for i, column in enumerate(flat.unbind(-1)):
            if bool(self.gridded[i]):
                column = self.grid[i][self._nearest(column, i)]
            columns.append(column)
        x = torch.stack(columns, -1).view_as(y)
        return x if mask is None else torch.where(mask[..., None], x, 0.0)

    def spread(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Uniform noise between the middles to the neighbours of a value, where there are few of them."""
        noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        columns = []
        for i, column in enumerate(x.unbind(-1)):
            if bool(self.gridded[i]):
                value = self.grid[i][self.grid[i].isfinite()].to(x.dtype)
                middle = (value[1:] + value[:-1]) / 2
                ends = 2 * value[[0, -1]] - middle[[0, -1]]
                edges = torch.cat([ends[:1], middle, ends[1:]])
                place = self._nearest(column, i)
                column = edges[place] + noise[..., i] * (edges[place + 1] - edges[place])
            columns.append(column)
        return torch.stack(columns, -1)

    def _nearest(self, column: Tensor, i: int) -> Tensor:
        middle = (self.grid[i, 1:] + self.grid[i, :-1]) / 2
        return torch.bucketize(column.contiguous(), middle.to(column.dtype))


class QuantileCloudTransform(LayeredCloudTransform):
    """Layered clouds with normal features.

    Args:
        spec: See :class:`LayeredCloudTransform`.
        given: See there.
        per: See there.
        layers: See there.
        values: Largest number of distinct values of a feature that is dequantised.
        seen: See there.
        subset: See there.
        calibration: See there.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str],
        per: str | None,
        layers: int,
        values: int,
        seen: int | None = None,
        subset: int | None = None,
        calibration: int = 0,
    ) -> None:
        super().__init__(
            spec, given, per, layers, seen=seen, subset=subset, calibration=calibration
        )
        self.points = CloudQuantiles(spec.features, values)
