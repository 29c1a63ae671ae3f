"""What a command imports before it begins, which is most of its time where it does little."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMPILER = ("torch._dynamo", "scipy.signal")
TRAINING = ("pytorch_lightning", "torchmetrics", "sklearn", "wandb")
UNWANTED = {  # in this order, in one process
    "produce": (*TRAINING, "matplotlib", "scipy"),
    "compare": (*TRAINING, "scipy.stats"),
}
OF_NETWORKS = {
    "sample": (*COMPILER, "scipy.integrate", "sklearn", "wandb", "matplotlib"),
    "train": (*COMPILER, "wandb"),
}
"""Commands and what they do without."""
IMPORTED = """
import importlib, sys
from simulacra.core import light
light.install()
for name, unwanted in {}.items():
    importlib.import_module("simulacra.cli." + name)
    found = [item for item in unwanted if item in sys.modules]
    assert not found, (name, found)
"""
REPLACED = """
import pytorch_lightning, scipy.signal, matplotlib.pyplot, torch
from lightning_fabric.wrappers import OptimizedModule, _unwrap_compiled
from torchmetrics.utilities import plot
assert scipy.signal.hilbert and matplotlib.pyplot.subplots
layer = torch.nn.Linear(1, 1)
assert not isinstance(layer, OptimizedModule)
assert _unwrap_compiled(torch.compile(layer))[0] is layer
assert plot.plt.subplots
with plot.style_change(["default"]):
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unwanted", "then"),
    [
        pytest.param(UNWANTED, "", id="without torch's trainer"),
        pytest.param(OF_NETWORKS, REPLACED, id="of networks, and what stood for modules is gone"),
    ],
)
def test_commands_import_what_they_use(unwanted: dict[str, tuple[str, ...]], then: str) -> None:
    code = IMPORTED.format(unwanted) + then
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
