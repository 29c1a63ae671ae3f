"""Produced events against others of the same settings, which lie in the folder SIMULACRA_TRUTH.

That folder holds ``jets_jetnet/train/{t,g}150.hdf5`` and
``jets_lhco/train/events_anomalydetection_v2.features.h5``.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from simulacra.core import Batch
from simulacra.core.instantiate import instantiate
from simulacra.deploy.production import Simulator
from simulacra.formats.base import Format
from simulacra.formats.jetnet import JetNetFormat, jetnet
from simulacra.formats.lhco import LhcoFeatures
from support import CONF

TRUTH = os.environ.get("SIMULACRA_TRUTH")
pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(TRUTH is None, reason="SIMULACRA_TRUTH names no folder of events"),
]


def both(file: str, form: Format, n: int, *overrides: str) -> tuple[Batch, Batch]:
    """Produced and true events."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("produce", ["simulator=pythia", *overrides])
    simulator = instantiate(config.simulator, Simulator, asked=config)
    simulator.open()
    return simulator.run(0, n, 11), form.read(Path(TRUTH or "") / file)


def pull(ours: torch.Tensor, truth: torch.Tensor) -> float:
    """Difference of the means over its error."""
    one, two = (values.double().flatten() for values in (ours, truth))
    error = np.hypot(float(one.std()) / len(one) ** 0.5, float(two.std()) / len(two) ** 0.5)
    return float(one.mean() - two.mean()) / float(error)


@pytest.mark.parametrize("name", ["t", "g"])
def test_jets_have_the_mass_multiplicity_momentum_and_width_of_the_truth(name: str) -> None:
    overrides = ("process=jetnet", f"process.classes=[{name}]", "process.particles=150")
    form = JetNetFormat(jetnet(150, [name]), [name])
    ours, truth = both(f"jets_jetnet/train/{name}150.hdf5", form, 500, *overrides)

    def figures(jets: Batch) -> dict[str, torch.Tensor]:
        width = (jets.x[..., 2] * jets.x[..., :2].norm(dim=-1)).sum(1)
        columns = {name: jets.event[name] for name in ("mass", "num_particles", "pt", "eta")}
        return {**columns, "width": width, "hardest": jets.x[:, 0, 2]}

    true = figures(truth)
    pulls = {name: pull(values, true[name]) for name, values in figures(ours).items()}
    assert max(map(abs, pulls.values())) < 3, pulls


@pytest.mark.parametrize("label", [0, 1])
def test_dijets_have_the_masses_and_substructure_of_the_truth(label: int) -> None:
    overrides = ("process=lhco", f"process.fraction={label}")
    file = "jets_lhco/train/events_anomalydetection_v2.features.h5"
    ours, truth = both(file, LhcoFeatures(), 500, *overrides)

    def figures(events: Batch) -> dict[str, torch.Tensor]:
        x = events.x.double().reshape(-1, 2, 7)
        tau = x[..., 4:].clamp(min=1e-3)
        energy = (x[..., :3].square().sum(-1) + x[..., 3] ** 2).sqrt().sum(1)
        found = {
            "m_jj": (energy**2 - x[..., :3].sum(1).square().sum(-1)).sqrt(),
            "pt": x[:, 0, :2].norm(dim=-1),
        }
        for jet in (0, 1):
            found |= {
                f"mass{jet}": x[:, jet, 3],
                f"tau1{jet}": x[:, jet, 4],
                f"tau21{jet}": tau[:, jet, 1] / tau[:, jet, 0],
                f"tau32{jet}": tau[:, jet, 2] / tau[:, jet, 1],
            }
        return found

    true = figures(truth[(truth.cond["label"][:, 0] == label).nonzero()[:, 0]])
    pulls = {name: pull(values, true[name]) for name, values in figures(ours).items()}
    assert max(map(abs, pulls.values())) < 3, pulls
