"""The families of the campaign, each a module that makes its cases."""

from __future__ import annotations

from faults.case import Case
from faults.families import (
    bounds,
    checkpoints,
    command_lines,
    disks,
    files,
    files_other,
    python,
    runs,
    stops,
)


def cases() -> list[Case]:
    """All cases."""
    found = (files, files_other, checkpoints, runs, command_lines, disks, stops, bounds, python)
    return [case for family in found for case in family.cases()]
