"""The log-posterior of several samples against its known value for normal distributions."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from simulacra.core import UserError
from simulacra.metrics.classifiers.networks import dense
from simulacra.metrics.classifiers.posterior import log_posterior
from simulacra.metrics.classifiers.recipe import Recipe

NETWORK = partial(dense, hidden=(32, 32))
RECIPE = Recipe(epochs=12, batch_size=300, learning_rate=3e-3)


def normal(n: int, seed: int, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(seed)) + mean


def test_log_posterior_is_that_of_normal_distributions() -> None:
    means = {"right": 0.1, "left": -0.8, "far": 1.0}
    samples = {name: normal(3000 + i, i, mean) for i, (name, mean) in enumerate(means.items())}
    truth = normal(2000, 9)
    found = log_posterior(samples, truth, NETWORK, seed=3, recipe=RECIPE)
    density = np.stack(
        [-0.5 * (truth[:, 0].double().numpy() - mean) ** 2 for mean in means.values()]
    )
    expected = (density - np.logaddexp.reduce(density)).mean(1)
    for name, value in zip(means, expected, strict=True):
        assert found[name].value == pytest.approx(value, abs=0.08), name
    assert max(found, key=lambda name: found[name].value) == "right"


def test_equal_samples_share_the_truth() -> None:
    samples = {str(i): normal(1500, i) for i in range(2)}
    found = log_posterior(samples, normal(800, 5), NETWORK, trainings=2, recipe=RECIPE)
    for figure in found.values():
        assert figure.value == pytest.approx(-math.log(2), abs=0.1)
        assert figure.floor == pytest.approx(-math.log(2))
        assert (figure.error or 0) > 0


def test_one_sample_has_no_posterior() -> None:
    with pytest.raises(UserError, match="several samples"):
        log_posterior({"only": normal(10, 0)}, normal(10, 1), NETWORK)
