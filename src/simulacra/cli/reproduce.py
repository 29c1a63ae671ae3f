"""``simulacra reproduce``: run a finished training again and compare the weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from simulacra.cli.train import trained
from simulacra.core import UserError
from simulacra.core.instantiate import Trust
from simulacra.evaluation import saved
from simulacra.evaluation.publish import write_json
from simulacra.evaluation.schema import Reproduce
from simulacra.training import checkpoint

STATES = ("state_dict", "current_model_state")
"""Averaged and live weights in a checkpoint; there is one where no average is kept."""
TEXT = {
    "equal": "weights are bitwise equal",
    "close": "weights are close: the largest difference is {difference:.3g}, in {where}",
    "different": "weights differ in shape or name, first in {where}",
}


@dataclass(frozen=True)
class Verdict:
    """How two trained models compare.

    Args:
        verdict: ``equal`` (bitwise), ``close`` (same shapes) or ``different``.
        difference: Largest absolute difference of any entry.
        where: Entry in which it is found.
        changed: Packages, Python or machine that are not the same, as ``name: old -> new``.
    """

    verdict: str
    difference: float
    where: str
    changed: tuple[str, ...]

    def __str__(self) -> str:
        text = TEXT[self.verdict].format(**asdict(self))
        return (
            f"{text}; changed since: {', '.join(self.changed)}"
            if self.changed and self.verdict != "equal"
            else text
        )


def reproduce(cfg: DictConfig) -> dict[str, Any]:
    """Rerun as configured (``conf/reproduce.yaml``) and judge.

    Returns:
        The verdict and the new run directory.

    Raises:
        UserError: If the run directory is incomplete.
    """
    config = saved.resolve(cfg, Reproduce)
    if config["run"] is None:
        raise UserError("reproducing needs run=DIRECTORY of a finished training")
    old, new = Path(config["run"]), Path(config["paths"]["run"])
    if not (old / "checkpoints" / "last.ckpt").is_file():
        raise UserError(f"{old} cannot be reproduced: it has no checkpoints/last.ckpt")
    outputs = Path(config["paths"]["outputs"])
    again = saved.load_at(old, new, outputs, config["overrides"])
    trained(again, trust=Trust(False, tuple(config["allow"]), (new, outputs)))
    verdict = compare(old, new)
    conclude(verdict, new)
    return {**asdict(verdict), "run": str(new)}


def compare(old: Path, new: Path) -> Verdict:
    """Compare the last checkpoints of two run directories."""
    first, second = (checkpoint.read(run / "checkpoints" / "last.ckpt") for run in (old, new))
    was, now = (item["simulacra"]["provenance"] for item in (first, second))
    changed = tuple(
        f"{key}: {was.get(key)} -> {now.get(key)}"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key) and key != "command"
    )
    worst, where = 0.0, ""
    for state in STATES:
        a, b = first.get(state, {}), second.get(state, {})
        odd = sorted(a.keys() ^ b.keys()) + [
            name for name in a.keys() & b.keys() if a[name].shape != b[name].shape
        ]
        if odd:
            return Verdict("different", math.inf, odd[0], changed)
        for name in a:
            difference = _difference(a[name], b[name])
            if difference > worst or math.isnan(difference):
                worst, where = difference, name
    return Verdict("close" if where else "equal", worst, where, changed)


def _difference(a: Tensor, b: Tensor) -> float:
    if torch.equal(a, b):
        return 0.0
    return float((a.double() - b.double()).abs().max())


@rank_zero_only
def conclude(verdict: Verdict, new: Path) -> None:
    """Write and print the verdict."""
    write_json(new / "verdict.json", asdict(verdict))
    print(f"wrote {new / 'verdict.json'}: {verdict}")
