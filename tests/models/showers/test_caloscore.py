"""CaloScore and CaloScore v2: counts of parameters, and the chain of students."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor

from simulacra.core import Layout
from simulacra.dynamics.diffusion import angular_velocity
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.distilled_density import DistilledDensity
from simulacra.dynamics.samplers import DDIM
from simulacra.dynamics.students import Halving
from simulacra.nn.film_mlp import FilmMLP
from simulacra.training.checkpoint import build
from support import composed, spec_of


def parameters(model: str, data: str, size: str) -> int:
    with torch.device("meta"):
        module = build(
            composed("model", f"model={model}", f"model/size={size}"), spec_of(data, None)
        )
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("model", ["caloscore2", "caloscore2_student"])
@pytest.mark.parametrize(
    ("data", "size", "count"),
    [  # arXiv:2410.21611, of the model with all steps
        ("ds1_photons", "published_ds1", 2_447_370),
        ("ds2", "published", 14_436_200),
        ("ds3", "published", 14_436_200),
    ],
)
def test_version_two_has_the_published_numbers_of_parameters(
    model: str, data: str, size: str, count: int
) -> None:
    assert parameters(model, data, size) == pytest.approx(count, rel=0.02)


@pytest.mark.parametrize(
    ("data", "size", "widths", "kernel", "maps"),
    [
        ("ds1_photons", "published_ds1", (80, 320, 1280), 5, 2),
        ("ds2", "published", (32, 64, 128), 27, 4),
        ("ds3", "published_fine", (64, 64, 128), 27, 4),
    ],
)
def test_version_one_has_the_weights_of_its_published_levels(
    data: str, size: str, widths: tuple[int, ...], kernel: int, maps: int
) -> None:
    """No number is published: two convolutions a level each way and between them, norms, and what steers."""
    pairs = [(1 + maps, widths[0]), *itertools.pairwise(widths)]
    pairs += [(widths[-1], widths[-1])] * 2 + [(b, a) for a, b in itertools.pairwise(widths)]
    blocks = sum(kernel * (n * m + m * m) + 2 * m + (64 * m + m) + 2 * m for n, m in pairs)
    conditions = 1
    known = (1 + conditions) * (2 * 32 * 64 + 64) + 2 * 64 * 64 + 64
    assert parameters("caloscore", data, size) == blocks + known + widths[0] + 1


@pytest.mark.smoke
def test_a_chain_of_students_ends_with_one_step_that_leads_where_the_first_teacher_does() -> None:
    net = partial(FilmMLP, hidden=32, blocks=2, known=16, dropout=0.0)
    layout, process = Layout(2, 1), angular_velocity()

    def events(n: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two clumps, one twice as likely, that move with the condition."""
        context = torch.randn(n, 1, generator=g)
        side = torch.where(torch.rand(n, 1, generator=g) < 1 / 3, -1.0, 1.0)
        place = torch.cat([side, 0.5 * context], 1)
        return place + 0.2 * torch.randn(n, 2, generator=g), context

    def fit(part: DiffusionDensity, steps: int, rate: float) -> None:
        g, optimizer = (
            torch.Generator().manual_seed(1),
            torch.optim.Adam(part.net.parameters(), rate),
        )
        for _ in range(steps):
            optimizer.zero_grad()
            part.loss(*events(128, g), None, g).backward()
            optimizer.step()

    def drawn(part: DiffusionDensity, steps: int) -> Tensor:
        g = torch.Generator().manual_seed(2)
        _, context = events(2000, g)
        part.solver = DDIM(steps)
        with torch.no_grad():
            return part.sample(2000, context, g)

    torch.manual_seed(0)
    teacher: DiffusionDensity = DiffusionDensity(layout, net, process, DDIM(8))
    fit(teacher, 400, 5e-3)
    goal, untaught = drawn(teacher, 8), drawn(teacher, 1)
    for steps in (4, 2, 1):
        student = DistilledDensity(layout, net, process, Halving(steps), DDIM(steps))
        student.learn_from(lambda taught=teacher: taught)
        student.adopt(teacher)
        fit(student, 200, 2e-3)
        teacher = student
    taught = drawn(teacher, 1)
    before, after = ((made - goal).square().mean().sqrt() for made in (untaught, taught))
    assert after < 0.6 * before, (float(before), float(after))
