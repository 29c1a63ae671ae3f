from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import os
import torch
from simulacra.core.pages import keep_pages
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def stays():
    before = used()
    block = torch.ones(2**24)
    assert used() > before + 60 * 2**20
    del block
    return used() > before + 60 * 2**20
os.environ["MALLOC_ARENA_MAX"] = "2"
print(keep_pages(), stays())
del os.environ["MALLOC_ARENA_MAX"]
print(keep_pages(), stays())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library of GNU")
def test_what_a_tensor_frees_stays_with_the_process_unless_the_user_says_what_becomes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines() == ["False False", "True True"], done.stderr
