"""What a command imports before it begins, which is most of its time where it does little."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAINING = ("pytorch_lightning", "torchmetrics", "sklearn", "wandb")
UNWANTED = {  # in this order, in one process
    "produce": (*TRAINING, "matplotlib", "scipy"),
    "compare": (*TRAINING, "scipy.stats"),
    "sample": ("sklearn", "wandb"),
}


@pytest.mark.slow
def test_commands_import_what_they_use() -> None:
    code = (
        "import importlib, sys\n"
        f"for name, unwanted in {UNWANTED!r}.items():\n"
        "    importlib.import_module(f'simulacra.cli.{name}')\n"
        "    found = [item for item in unwanted if item in sys.modules]\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
