"""Injected faults: whatever is broken, a command says so in one sentence, or does what is right.

``pytest -n 2 -m faults tests/faults`` runs all of them, ``--some`` a fixed tenth, and
``--faults-report FILE`` writes the counts and all that was found.

3,350 cases in one run (22 minutes on two busy cores): 2,547 clear errors, 803 right results, no silent one,
no breach, no traceback, no hang, no lost signal; the disks of production and export came after it. The first
version, by such a campaign of 1,063 cases: 495 clear, 293 right, 36 silent, 63 breaches, 167 tracebacks, 2
hangs, 7 others (signals that were lost).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from faults import families
from faults.case import GOOD, Case, Place, snapshot, verdict
from faults.conftest import Warm
from faults.stock import Stock

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
CASES = families.cases()


def test_the_cases_have_names_of_their_own() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_fault_is_met_with_a_sentence_or_the_right_result(
    case: Case,
    warm: Warm,
    stock: Stock,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    place = Place(tmp_path / "case", stock)
    try:
        job = case.make(place)
        before = snapshot(stock.folder)
        ended = warm.run(job, place.folder, place.work)
        outcome, reason = verdict(case, place, job, ended)
    finally:
        for step in reversed(place.undo):
            step()
    now = snapshot(stock.folder)
    if any(now.get(path) != was for path, was in before.items()):
        outcome, reason = "breach", "an input outside the folder was changed"
    for key, value in {
        "id": case.id,
        "family": case.family,
        "injected": case.injected,
        "outcome": outcome,
        "reason": reason,
        "arguments": list(job.arguments),
        "seconds": ended.seconds,
    }.items():
        record_property(key, value)
    assert outcome in GOOD, (
        f"{case.injected}: {outcome}: {reason}\nran {job.call} {' '.join(job.arguments)}\n"
        f"stdout: {ended.stdout[-800:]}\nstderr: {ended.stderr[-2500:]}"
    )
