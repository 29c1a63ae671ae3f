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
    "sample": (*COMPILER, "sklearn", "wandb", "matplotlib"),
    "train": (*COMPILER, "wandb"),
}


@pytest.mark.slow
@pytest.mark.parametrize("unwanted", [UNWANTED, OF_NETWORKS])
def test_commands_import_what_they_use(unwanted: dict[str, tuple[str, ...]]) -> None:
    code = (
        "import importlib, sys\nfrom simulacra.core import light\nlight.install()\n"
        f"for name, unwanted in {unwanted!r}.items():\n"
        "    importlib.import_module(f'simulacra.cli.{name}')\n"
        "    found = [item for item in unwanted if item in sys.modules]\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    succeeds(code)


@pytest.mark.slow
def test_what_stood_for_modules_while_lightning_was_imported_is_gone() -> None:
    succeeds(
        "from simulacra.core import light\nlight.install()\n"
        "import pytorch_lightning, scipy.signal, matplotlib.pyplot, torch\n"
        "from lightning_fabric.wrappers import OptimizedModule, _unwrap_compiled\n"
        "from torchmetrics.utilities import plot\n"
        "assert scipy.signal.hilbert and matplotlib.pyplot.subplots\n"
        "layer = torch.nn.Linear(1, 1)\n"
        "assert not isinstance(layer, OptimizedModule)\n"
        "assert _unwrap_compiled(torch.compile(layer))[0] is layer\n"
        "assert plot.plt.subplots\n"
        "with plot.style_change(['default']):\n"
        "    pass\n"
    )


def succeeds(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
