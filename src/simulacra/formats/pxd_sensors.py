r"""The sensors of the Belle II pixel vertex detector: names, numbers and where their pixels lie.

The detector has two layers of silicon around the beam pipe, at radii 14 and 22 mm, with 8 and 12
ladders of two sensors. A sensor is named ``layer.ladder.sensor``, each counted from 1, and numbered
in that order,

.. math:: s = 2 (\text{ladder} - 1) + (\text{sensor} - 1) + 16\,[\text{layer} = 2], \qquad 0 \le s < 40,

never in the order of strings, in which ``2.10.1`` comes before ``2.2.1``. Each sensor has 250
pixels of 50 um along ``u`` (around the beam) and 768 along ``v`` (along the beam): 256 fine ones
and 512 coarse ones.

Reference: the public geometry of basf2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from simulacra.core import Geometry, Layer

ROWS, COLS = 250, 768  # pixels along u and v
LADDERS = (8, 12)
RADII = (14.0, 22.0)  # mm
PITCH_U = 0.050  # mm
PITCHES_V = ((0.055, 0.060), (0.070, 0.085))  # mm, fine and coarse pixels of each layer
FINE = 256  # how many pixels along v are fine
SENSORS = tuple(
    f"{layer}.{ladder}.{sensor}"
    for layer in (1, 2)
    for ladder in range(1, LADDERS[layer - 1] + 1)
    for sensor in (1, 2)
)
_NUMBER = {name: number for number, name in enumerate(SENSORS)}


def sensor_name(number: int) -> str:
    """``layer.ladder.sensor`` of sensor ``number``, 0 to 39."""
    if not 0 <= number < len(SENSORS):
        raise ValueError(f"sensor numbers run from 0 to {len(SENSORS) - 1}, got {number}")
    return SENSORS[number]


def sensor_number(name: str) -> int:
    """Number of the sensor called ``layer.ladder.sensor``."""
    if name not in _NUMBER:
        raise ValueError(
            f"there is no sensor {name!r}: names run from {SENSORS[0]} to {SENSORS[-1]}"
        )
    return _NUMBER[name]


def layer_of(number: int) -> int:
    """0 for a sensor of the inner layer, 1 for one of the outer layer."""
    return int(sensor_name(number)[0]) - 1


def azimuth(number: int) -> float:
    """Angle of the sensor's ladder around the beam [rad], 0 for the first ladder of its layer."""
    ladder = int(sensor_name(number).split(".")[1])
    return 2 * math.pi * (ladder - 1) / LADDERS[layer_of(number)]


def pixel_edges(layer: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Edges of the pixels of a sensor of ``layer`` (0 or 1) along u and v [mm], 251 and 769 numbers
    from 0.
    """
    fine, coarse = PITCHES_V[layer]
    rows = tuple(round(i * PITCH_U, 6) for i in range(ROWS + 1))
    cols = tuple(
        round(v, 6) for v in accumulate([fine] * FINE + [coarse] * (COLS - FINE), initial=0.0)
    )
    return rows, cols


def pxd_geometry(sensors: Sequence[int] = tuple(range(len(SENSORS))), pool: int = 1) -> Geometry:
    """One layer per sensor: its id is the sensor's number, its depth the radius [mm], its axes
    ``(u, v)`` [mm].

    Args:
        sensors: Numbers of the sensors, in the order of the images.
        pool: How many pixels along each axis form one cell. The rows are first padded evenly to a
            multiple of it (250 to 256 for 8), so that the first and the last row of cells hold
            fewer pixels.
    """
    return Geometry(tuple(_layer(number, pool) for number in sensors))


def pooled_shape(pool: int) -> tuple[int, int]:
    """Cells per sensor along u and v; see :func:`pxd_geometry`."""
    if pool < 1 or COLS % pool or -ROWS % pool % 2:
        raise ValueError(f"pool must divide {COLS} and pad {ROWS} rows evenly, got {pool}")
    return math.ceil(ROWS / pool), COLS // pool


def pad_rows(pool: int) -> int:
    """Rows of padding in front of the first row before ``pool`` rows become one."""
    return (pooled_shape(pool)[0] * pool - ROWS) // 2


def _layer(number: int, pool: int) -> Layer:
    rows, cols = pixel_edges(layer_of(number))
    cells, first = pooled_shape(pool)[0], pad_rows(pool)
    picked = [rows[min(max(i * pool - first, 0), ROWS)] for i in range(cells + 1)]
    return Layer(number, ("u", "v"), (tuple(picked), cols[::pool]), RADII[layer_of(number)])
