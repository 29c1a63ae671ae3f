from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import sys
import torch
from simulacra.core.pages import keep_pages
from simulacra.evaluation.memory import HostMemory
kept = keep_pages()
memory = HostMemory()
before = memory.used()
block = torch.ones(2**24)
assert memory.used() > before + 60 * 2**20
del block
print(kept, memory.used() > before + 60 * 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library of GNU")
@pytest.mark.parametrize(
    ("told", "kept"), [({}, "True True"), ({"MALLOC_ARENA_MAX": "2"}, "False False")]
)
def test_what_a_tensor_frees_stays_with_the_process(told: dict[str, str], kept: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=env | told, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.strip() == kept, done.stderr
