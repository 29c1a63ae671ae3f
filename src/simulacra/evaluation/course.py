"""The course of a training from what it logged, to be drawn."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from simulacra.plotting.training import Course, training_page

FILE = "metrics.csv"
JUDGED = {"val/w1_mean": "mean W1, validation", "val/boosted_auc": "AUC boosted, validation"}
"""Judgements that are drawn, each in a panel of its own."""


def course(run: Path) -> dict[str, Figure]:
    """The figure ``training``; nothing where a run logged no losses to ``metrics.csv``."""
    columns = read(run / FILE)
    losses = {
        key: line
        for key, line in columns.items()
        if key.startswith(("train/", "val/")) and key.rpartition("/")[2] == "loss"
    }
    panels = {"loss": losses} if losses else {}
    panels |= {text: {key: columns[key]} for key, text in JUDGED.items() if key in columns}
    return {"training": training_page(panels)} if panels else {}


def read(path: Path) -> dict[str, Course]:
    """Finite figures over steps, by name; nothing where there is no file."""
    if not path.is_file():
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            step = float(row.pop("step"))
            for name, text in row.items():
                if text and np.isfinite(value := float(text)):
                    found.setdefault(name, []).append((step, value))
    return {
        name: (np.array([x for x, _ in line]), np.array([y for _, y in line]))
        for name, line in found.items()
    }
