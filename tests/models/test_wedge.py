"""Calibration of a Bayesian flow's error band on the wedge ramp p(x, y) = 2 x in the unit square.

Reference: Bellagente et al., arXiv:2104.04543, section 3.1.
"""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Layout
from simulacra.dynamics.flows import Flow, coupling_flow
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.nn.variational import Bayesian, divergence, one_network
from simulacra.transforms.maps.elementwise import Logit, Standardise

NETWORKS, BINS, ROWS = 30, 20, 40
LOGIT = Logit(1e-6)


def wedge(n: int, seed: int) -> torch.Tensor:
    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))
    return torch.stack([x[:, 0].sqrt(), x[:, 1]], 1)


def latent(x: torch.Tensor, scale: Standardise) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised logits and the log-determinant of this map."""
    slope = 1 / (x + 1e-6) + 1 / (1 - x + 1e-6)
    return scale(LOGIT(x)), (slope.log() - scale.std.log()).sum(-1)


def trained(n: int, seed: int, steps: int = 400) -> tuple[Flow, Standardise]:
    data, scale = LOGIT(wedge(n, seed)), Standardise(2)
    scale.fit(data)
    numbers = scale(data)
    torch.manual_seed(seed)
    flow = coupling_flow(
        Layout(2, 0), 2, RationalQuadratic(5, 6.0), [3], bayesian=Bayesian(1.0, 0.01)
    )
    flow.fit([(numbers, None, None)])
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-2, total_steps=steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        index = torch.randint(n, (4096,), generator=order)
        loss = -flow.log_prob(numbers[index]).mean() + divergence(flow) / n
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return flow.eval(), scale


def band(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over networks of the density p(x), and the truth, in bins off the edges."""
    flow, scale = trained(n, seed)
    x = (torch.arange(BINS) + 2.5) / (BINS + 4)
    y = (torch.arange(ROWS) + 0.5) / ROWS
    points, log_det = latent(torch.cartesian_prod(x, y), scale)
    source, found = torch.Generator().manual_seed(seed), []
    for _ in range(NETWORKS):
        with torch.no_grad(), one_network(flow, source):
            density = (flow.log_prob(points) + log_det).exp()
        found.append(density.view(BINS, ROWS).mean(1))
    drawn = torch.stack(found)
    return drawn.mean(0), drawn.std(0), 2 * x


@pytest.mark.smoke
def test_the_band_covers_the_truth_and_grows_with_fewer_events():
    # Seeds 0 to 4: covered of the 2 x 20 bins 0.78, 0.78, 0.72, 0.85, 0.70 (from 10,000 events alone 0.80 to
    # 1.00, from 100,000 alone 0.40 to 0.70); the relative width grows by 2.7, 2.6, 1.9, 2.7, 2.5 (the square
    # root of 10 would be 3.2).
    covered, widths = [], []
    for n in (10_000, 100_000):
        mean, std, truth = band(n, seed=0)
        covered.append((mean - truth).abs() <= std)
        widths.append(float((std / mean).mean()))
    assert 0.45 <= float(torch.cat(covered).float().mean()) <= 0.9
    assert widths[0] > 1.4 * widths[1]
