r"""Error bands from repetitions: one central value and one half width of 68 % for any result of a study.

What is repeated may be a seed, a bootstrap of the events or a network of a posterior. Members of one *source*
are repetitions of the whole result; whatever differs between them is pooled, so that their spread is the
effect of all of it together. Several sources, of which each varies one thing and keeps the others, are
combined in quadrature. With :math:`x_k` of a source :math:`s`,

.. math:: \bar x = \langle x \rangle, \qquad \sigma^2 = \sum_s \mathrm{var}_s\, x_k,

the mean over the members of the first source and the variance between those of each. Where a figure has a
statistical error of its own, :math:`\sigma` is never below it; where the events behind the figure are the
same in all members, their error is not seen between members and is added in quadrature.

The half width says how far one more repetition would lie from the mean. Whether it covers the truth is for
``study=band_calibration`` to show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from simulacra.core import UserError
from simulacra.metrics.engine.columns import spread

Members = Sequence[Mapping[str, float]]
"""Figures by key of each repetition, with their statistical errors as ``…/error`` where they have any."""
ERROR, FLOOR = "/error", "/floor"
SKIPPED = (ERROR, "/z")
"""Twins that a member's figure has and that are made anew, or mean nothing for several."""


def banded(*sources: Members, same_events: bool = False) -> dict[str, float]:
    """Central values by key, and half widths of 68 % as ``…/error``.

    A figure that is NaN or missing in one member has neither. Floors are averaged.

    Args:
        sources: Members of each source, at least two.
        same_events: Whether all members look at the same events.

    Raises:
        UserError: If a source has fewer than two members.
    """
    if not sources or min(map(len, sources)) < 2:
        raise UserError("a band needs at least two members of each source, got fewer")
    figures: dict[str, float] = {}
    for key in sources[0][0]:
        if key.endswith(SKIPPED):
            continue
        columns = [[item.get(key, math.nan) for item in members] for members in sources]
        figures[key] = central = sum(columns[0]) / len(columns[0])
        if key.endswith(FLOOR):
            continue
        variance = sum(spread(column) ** 2 for column in columns)
        own = statistical(key, sources[0])
        whole = variance + own if same_events else max(variance, own)
        figures[key + ERROR] = math.nan if math.isnan(central + variance) else math.sqrt(whole)
    return figures


def around(members: Members, same_events: bool = False) -> dict[str, float]:
    """Figures of the first member with the half widths of :func:`banded`, where the others are bootstraps of
    it, whose mean lies farther from the truth; those of a single member as they are.

    Args:
        members: The result itself and its repetitions.
        same_events: Whether all members look at the same events.
    """
    result = dict(members[0])
    if len(members) < 2:
        return result
    found = banded(members, same_events=same_events)
    return {key: value if key.endswith(ERROR) else result[key] for key, value in found.items()}


def repeated(members: Members) -> dict[str, float]:
    """Figures of repetitions that look at the same events, with their bands; those of a single one as they
    are.
    """
    return banded(members, same_events=True) if len(members) > 1 else dict(members[0])


def quotient(above: tuple[float, float], below: tuple[float, float]) -> tuple[float, float]:
    """Quotient of two figures and its error, from their errors as if they were independent."""
    value = above[0] / below[0]
    return value, abs(value) * math.hypot(above[1] / above[0], below[1] / below[0])


def statistical(key: str, members: Members) -> float:
    """Mean squared statistical error of a figure; 0 where it has none."""
    errors = [item.get(key + ERROR, 0.0) ** 2 for item in members]
    known = [error for error in errors if not math.isnan(error)]
    return sum(known) / len(known) if known else 0.0


def of_mean(members: Members) -> dict[str, float]:
    """Means over members by key, and the errors of these means as ``…/error``: half widths over the root of
    their number, for a result that is an average over repetitions.
    """
    found, root = banded(members), math.sqrt(len(members))
    return {key: value / root if key.endswith(ERROR) else value for key, value in found.items()}
