from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from simulacra.core import Conditions
from simulacra.evaluation.conditions import in_chunks

VALUES = torch.arange(994.0).reshape(-1, 1)
BLOCKS = [Conditions(7, {"e": part}) for part in VALUES.split(7)]


@pytest.mark.parametrize("size", [1, 5, 7, 100, 5000])
def test_chunks_hold_the_same_conditions(size: int) -> None:
    parts = list(in_chunks(iter(BLOCKS), size))
    assert torch.equal(torch.cat([part.values["e"] for part in parts]), VALUES)
    assert {len(part) for part in parts[:-1]} <= {size}


def test_many_blocks_of_a_chunk_are_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, copied = Conditions.cat, []

    def counted(parts: Sequence[Conditions]) -> Conditions:
        copied.append(sum(map(len, parts)))
        return whole(parts)

    monkeypatch.setattr(Conditions, "cat", counted)
    assert [len(part) for part in in_chunks(iter(BLOCKS), 5000)] == [994]
    assert copied == [994]
