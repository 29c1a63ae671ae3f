"""Schedules over the steps of a run."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from simulacra.training.optim import inverse_time, warmup_cosine


def test_a_rate_rises_is_held_and_falls_to_its_end() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 2.0)
    schedule = warmup_cosine(optimizer, 100, warmup=0.1, final=0.25, hold=0.4)
    rates = []
    for _ in range(101):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[10:51] == pytest.approx([2.0] * 41)
    assert rates[75] == pytest.approx(1.25)  # half way down
    assert rates[100] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(rates[51:]))


def test_a_rate_falls_in_steps_with_the_inverse_of_the_time() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 2.0)
    schedule = inverse_time(optimizer, 40, parts=4, decay=0.5)
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([2.0] * 10 + [2 / 1.5] * 10 + [1.0] * 10 + [2 / 2.5] * 10)
