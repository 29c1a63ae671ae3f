from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from simulacra.core.collecting import uncollected


def test_garbage_waits_for_the_end_of_a_block_whatever_happens_in_it() -> None:
    assert gc.isenabled()
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()  # the outer block has not ended
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), uncollected():
        divmod(1, 0)
    assert gc.isenabled()


def test_what_there_is_stays_once_in_a_process() -> None:
    code = (
        "import gc\nfrom simulacra.core.collecting import settled, uncollected\n"
        "with uncollected():\n"
        "    settled()\n"
        "    assert gc.isenabled()\n"
        "    count = gc.get_freeze_count()\n"
        "    assert count > 1000\n"
        "    kept = [[] for _ in range(100)]\n"
        "    settled()\n"
        "    assert gc.get_freeze_count() <= count\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
