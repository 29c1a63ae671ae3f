"""Published results as rows beside those of runs, with a sentence that says on what they were measured.

Those of the CaloChallenge (arXiv:2410.21611) were measured on the public data with the public evaluation.
Distances are quoted there times 1000, which is undone here; the row of Geant4, truth against truth, is the
floor of the others.

Those of the pixel detector are distances that we computed between the histograms of 10,000 events of Geant4
and of four generators, which accompany the public code of IEA-GAN (arXiv:2303.08046). The order of their
outer sensors is doubtful: read in the order of strings, the mean occupancies of three generators fit far
better, so that ``sensor_occupancy`` may be too large.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from importlib.resources import files

from simulacra.core import UserError
from simulacra.tracking.compare_runs import Figure, Run

SETS = ("ds1_photons", "ds1_pions", "ds2", "ds3")
"""Those of the CaloChallenge."""
MARK = (
    "measured by the CaloChallenge on the public data (arXiv:2410.21611), "
    "other data than the runs above"
)
PIXELS = "pxd"
PIXELS_MARK = (
    "computed by us from histograms published with the code of IEA-GAN (arXiv:2303.08046, "
    "github.com/Hosein47/IEA-GAN, commit e982481): Geant4 events of the collaboration, "
    "other data than the runs above; the order of the outer sensors is doubtful there"
)
TRUTH = "GEANT4"
FIGURES = {
    "classifier/low/auc": ("binary cls low", 1.0),
    "classifier/high/auc": ("binary cls high", 1.0),
    "classifier/resnet/auc": ("binary cls cnn", 1.0),
    "log_posterior": ("multi cls", 1.0),
    "fpd": ("FPD * 1e3", 1e-3),
    "kpd": ("KPD * 1e3", 1e-3),
    "prdc/precision": ("precision", 1.0),
    "prdc/recall": ("recall", 1.0),
    "prdc/density": ("density", 1.0),
    "prdc/coverage": ("coverage", 1.0),
    "separation/energy": ("sep E layer (mean)", 1.0),
    "separation/e_tot_over_e_inc": ("sep E total (mean)", 1.0),
    "separation/voxel_energy": ("sep cell (mean)", 1.0),
    "separation/ec_eta": ("sep EC eta (mean)", 1.0),
    "separation/ec_phi": ("sep EC phi (mean)", 1.0),
    "separation/ec_r": ("sep EC r (mean)", 1.0),
    "separation/width_eta": ("sep EC eta std (mean)", 1.0),
    "separation/width_phi": ("sep EC phi std (mean)", 1.0),
    "separation/width_r": ("sep EC r std (mean)", 1.0),
    "separation/sparsity": ("sep sparsity (mean)", 1.0),
}
"""Column and factor of each figure."""
PIXEL_FIGURES = {
    "w1/pixel_charge": "w1 charge",
    "separation/pixel_charge": "sep charge",
    "sensor_occupancy": "occupancy error",
    "separation/sensor_occupancy": "sep occupancy",
}
"""Column of each figure of the pixel detector."""


def published_runs(data: str) -> list[Run]:
    """The published rows of a data set.

    Raises:
        UserError: If there are none for it.
    """
    if data == PIXELS:
        return [_pixels(row) for row in _rows(data)]
    if data not in SETS:
        choices = ", ".join((*SETS, PIXELS))
        raise UserError(f"there are no published results of {data!r}: choose one of {choices}")
    rows = _rows(data)
    truth = next(row for row in rows if row["name"] == TRUTH)
    return [_run(data, row, truth) for row in rows]


def _rows(data: str) -> list[dict[str, str]]:
    text = (files("simulacra.tracking") / "published" / f"{data}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def _pixels(row: Mapping[str, str]) -> Run:
    return Run(
        name=row["name"],
        source="arXiv:2303.08046",
        data=PIXELS,
        model=row["name"],
        figures={key: Figure(float(row[column])) for key, column in PIXEL_FIGURES.items()},
        published=True,
        mark=PIXELS_MARK,
    )


def _run(data: str, row: Mapping[str, str], truth: Mapping[str, str]) -> Run:
    figures = {}
    for key, (column, factor) in FIGURES.items():
        value = _number(row, column)
        if value is not None:
            error = _number(row, f"{column} std")
            floor = None if row is truth else _number(truth, column)
            figures[key] = Figure(
                factor * value,
                None if error is None else factor * error,
                None if floor is None else factor * floor,
            )
    times = {}
    for device, text in (("cpu", "CPU"), ("cuda", "GPU")):
        for size in (1, 100, 10_000):
            value = _number(row, f"time {text} {size}")
            if value is not None:
                times[device, size] = Figure(value, _number(row, f"time {text} {size} std"))
    parameters = {
        kind: round(value)
        for kind in ("training", "generation")
        if (value := _number(row, f"Parameters {kind}")) is not None
    }
    return Run(
        name=row["name"],
        source="arXiv:2410.21611",
        data=data,
        model=row["name"],
        level="challenge",
        figures=figures,
        times=times,
        parameters=parameters,
        published=True,
        mark=MARK,
    )


def _number(row: Mapping[str, str], column: str) -> float | None:
    text = row.get(column, "")
    return float(text) if text else None
