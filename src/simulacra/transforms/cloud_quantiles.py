r"""Points whose every feature is a standard normal.

A feature of few distinct values (a layer, a position on a grid) is dequantised by its distribution function:
uniform noise spreads a value halfway to its neighbours, and with the distribution function :math:`F` of what
comes out, :math:`y = \Phi^{-1}(F(x))`: this is :math:`\Phi^{-1}` of a number uniform in the value's share of
:math:`F`. The inverse returns the value whose share it is, so that values are exact. Other features go
through their quantiles as they are (:mod:`simulacra.transforms.maps.quantile`).

Reference: Schnake, Krücker, Borras 2024, arXiv:2403.15782, section 3 ("CDF dequantisation").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Field, UserError, draws
from simulacra.core.ranges import Count, Positive
from simulacra.transforms.cloud import PointMap, masked
from simulacra.transforms.maps.quantile import QuantileMap


class CloudQuantiles(PointMap):
    """See the module's docstring.

    Args:
        features: The columns.
        values: Largest number of distinct values of a feature that is dequantised.
        scale: Standard deviation of the result.
        fitted: Points that the quantiles are taken from, at most, evenly chosen.
    """

    grid: Tensor
    gridded: Tensor

    def __init__(
        self, features: Sequence[Field], values: Count, scale: Positive = 1.0, fitted: int = 200_000
    ) -> None:
        super().__init__()
        self.scale, self.fitted = scale, fitted
        self.register_buffer("grid", torch.full((len(features), values), torch.inf))
        self.register_buffer("gridded", torch.zeros(len(features), dtype=torch.bool))
        self.quantiles = nn.ModuleList(QuantileMap(1, knots=1025) for _ in features)

    @property
    def fixed(self) -> Tensor:
        """Those that are dequantised."""
        return self.gridded

    def fit_stream(self, parts: Callable[[], Iterable[tuple[Tensor, Tensor | None]]]) -> None:
        """See :meth:`PointMap.fit_stream`; distinct values and quantiles, in two passes."""
        features, most = self.grid.shape
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
        spread = self.spread(torch.cat(kept).to(self.grid), noise)
        for i in range(features):
            self._map(i).fit(spread[:, i : i + 1])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Physical to normal points."""
        columns = [
            self._map(i)(column.reshape(-1, 1)).view_as(column)
            for i, column in enumerate(x.unbind(-1))
        ]
        return masked(self.scale * torch.stack(columns, -1), mask)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normal to physical points, dequantised features as one of their values."""
        columns = []
        for i, column in enumerate((y / self.scale).unbind(-1)):
            if self.gridded.tolist()[i]:
                values, middles = self._values(i)
                shares = self._map(i)(middles.double()[:, None])[:, 0].to(column)
                columns.append(values[torch.bucketize(column.contiguous(), shares)].to(column))
            else:
                columns.append(self._map(i).inverse(column.reshape(-1, 1)).view_as(column))
        return masked(torch.stack(columns, -1), mask)

    def spread(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Uniform noise between the middles to the neighbours of a value, where there are few of them."""
        noise = draws.uniform(x.shape, x, generator)
        columns = []
        for i, column in enumerate(x.unbind(-1)):
            if self.gridded.tolist()[i]:
                values, middles = (known.to(x.dtype) for known in self._values(i))
                ends = 2 * values[[0, -1]] - middles[[0, -1]]
                edges = torch.cat([ends[:1], middles, ends[1:]])
                place = torch.bucketize(column.contiguous(), middles)
                column = edges[place] + noise[..., i] * (edges[place + 1] - edges[place])
            columns.append(column)
        return torch.stack(columns, -1)

    def _values(self, i: int) -> tuple[Tensor, Tensor]:
        """Values of a dequantised feature ``(V,)`` and the middles between them ``(V - 1,)``."""
        known = [value for value in self.grid.tolist()[i] if math.isfinite(value)]
        values = torch.tensor(known, dtype=self.grid.dtype, device=self.grid.device)
        return values, (values[1:] + values[:-1]) / 2

    def _map(self, i: int) -> QuantileMap:
        """That of one feature."""
        found = self.quantiles[i]
        assert isinstance(found, QuantileMap)
        return found
