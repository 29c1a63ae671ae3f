r"""What a command line or a file asks of a generator, as conditions block by block.

``conditions.incident_energy=`` takes a number for all events, a list whose values events take in turn,
``uniform(a, b)``, ``loguniform(a, b)`` or ``normal(m, s)``, the last cut where the field ends:

.. math:: x = m + s\,\Phi^{-1}\left(\Phi(l) + u\,(\Phi(h) - \Phi(l))\right), \quad u \sim U(0, 1),

with the field's bounds :math:`l, h` in units of :math:`s` from :math:`m`. Classes are given by name or
number. Fields of which nothing is said are drawn as in training. Blocks have a fixed size, so that what is
drawn does not depend on how many events are generated at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from simulacra.core import Conditions, Field, UserError
from simulacra.core.typed import coerce
from simulacra.evaluation.shards import CONDITIONS, stream
from simulacra.training import asked
from simulacra.training.generative import GenerativeModule

BLOCK = 8192
"""Events whose conditions are drawn at once."""
PRIOR = "prior"
"""What is asked for in place of a file: the public prior of the data set."""
_CALL = re.compile(r"\s*(\w+)\s*\(([^(),]*),([^(),]*)\)\s*")


@dataclass(frozen=True)
class Fixed:
    """Values that events take in turn.

    Args:
        values: Values ``(k, dim)``.
    """

    values: Tensor

    def draw(self, start: int, n: int, generator: torch.Generator) -> Tensor:
        """Values of the events from ``start`` on, ``(n, dim)``."""
        return self.values[torch.arange(start, start + n) % len(self.values)]


@dataclass(frozen=True)
class Spread:
    """A distribution of one number.

    Args:
        kind: ``uniform``, ``loguniform`` or ``normal``.
        first: Smallest value, of ``normal`` the mean.
        second: Largest value, of ``normal`` the standard deviation.
        low: Where ``normal`` is cut.
        high: Where it is cut above.
        whole: Whether values are whole numbers.
    """

    kind: str
    first: float
    second: float
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False

    def draw(self, start: int, n: int, generator: torch.Generator) -> Tensor:
        """Values of ``n`` events, ``(n, 1)``."""
        unit = torch.rand(n, 1, generator=generator, dtype=torch.float64)
        values = self._spread(unit)
        return (values.round() if self.whole else values).float()

    def _spread(self, unit: Tensor) -> Tensor:
        a, b = self.first, self.second
        if self.kind == "uniform":
            return a + (b - a) * unit
        if self.kind == "loguniform":
            return torch.exp(math.log(a) + (math.log(b) - math.log(a)) * unit)
        ends = torch.tensor([self.low, self.high], dtype=torch.float64)
        low, high = torch.special.ndtr((ends - a) / b).tolist()
        values = a + b * torch.special.ndtri(low + (high - low) * unit)
        return values.clamp(self.low, self.high)


def drawn(
    module: GenerativeModule,
    given: Mapping[str, object] | str | None,
    n: int | None,
    seed: int,
    part: range | None = None,
) -> Iterator[Conditions]:
    """Conditions of ``n`` events in blocks.

    Args:
        module: What is asked.
        given: What is said of some fields, by name; None: nothing, all are drawn as in training; ``prior``:
            all are drawn from the public prior.
        n: Number of events; None: as many as the longest list has values.
        seed: Seed of what is drawn, in one stream.
        part: Which of the events, in a stream for each block; None: all, in one stream.

    Raises:
        UserError: For a field that the model is not given, what is no value of it, or no number of events.
    """
    said = {} if given is None or isinstance(given, str) else dict(given)
    fields = {name: value_of(module, name, item) for name, item in said.items()}
    total = n or max((len(f.values) for f in fields.values() if isinstance(f, Fixed)), default=0)
    if n is None and not any(isinstance(item, Sequence) for item in _listed(said)):
        raise UserError("sampling needs n=NUMBER, a list of conditions or conditions=FILE")
    if part is not None:
        apart = partial(stream, seed, CONDITIONS)
        return _blocks(module, fields, given == PRIOR, total, apart, part)
    one = torch.Generator().manual_seed(seed)
    return _blocks(module, fields, given == PRIOR, total, lambda block: one, range(total))


def value_of(module: GenerativeModule, name: str, said: object) -> Fixed | Spread:
    """What is said of one field.

    Raises:
        UserError: If the model is not given it, or it is no value of the field.
    """
    key = f"conditions.{name}"
    if name not in module.given:
        raise UserError(f"{key} is not asked of this model: it is given {list(module.given)}")
    field = next(item for item in module.given_fields if item.name == name)
    call = _CALL.fullmatch(said) if isinstance(said, str) else None
    if call is not None:
        return _spread(field, key, call)
    cells = said if isinstance(said, list) else [said]
    if not cells:
        raise UserError(f"{key} is an empty list: it needs one value at least")
    values = [item if field.classes else _number(item, key) for item in cells]
    if field.dim > 1 and not isinstance(said, list):
        raise UserError(f"{key} has {field.dim} components: give a list of them")
    rows = [values] if field.dim > 1 else [_class(field, item) for item in values]
    found = asked.conditions(module, {name: rows}, {}, None).values[name]
    return Fixed(found)


def in_chunks(blocks: Iterable[Conditions], size: int) -> Iterator[Conditions]:
    """The same conditions, ``size`` at a time."""
    held: list[Conditions] = []
    n = 0
    for block in blocks:
        held.append(block)
        n += len(block)
        if n < size:
            continue
        whole, end = Conditions.cat(held), n - n % size
        for start in range(0, end, size):
            yield whole[start : start + size]
        held, n = ([whole[end:]], n - end) if end < n else ([], 0)
    if held:
        yield Conditions.cat(held)


def _listed(said: Mapping[str, object]) -> list[object]:
    return [item for item in said.values() if isinstance(item, list)]


def _blocks(
    module: GenerativeModule,
    fields: Mapping[str, Fixed | Spread],
    prior: bool,
    total: int,
    source: Callable[[int], torch.Generator],
    part: range,
) -> Iterator[Conditions]:
    """A block is drawn whole, whatever part of it is wanted."""
    left = [name for name in module.given if name not in fields]
    for block in range(part.start // BLOCK, -(-part.stop // BLOCK)):
        start, generator = block * BLOCK, source(block)
        n = min(BLOCK, total - start)
        rest = module.draw_conditions(n, generator, left, prior) if left else Conditions(n)
        known = {name: item.draw(start, n, generator) for name, item in fields.items()}
        whole = Conditions(n, {**known, **rest.values})
        yield whole[max(0, part.start - start) : min(n, part.stop - start)]


def _spread(field: Field, key: str, call: re.Match[str]) -> Spread:
    kind, first, second = call[1], _number(call[2], key), _number(call[3], key)
    if kind not in ("uniform", "loguniform", "normal"):
        raise UserError(
            f"{key} knows uniform(a,b), loguniform(a,b) and normal(m,s), got {call[0]!r}"
        )
    if field.classes is not None or field.dim > 1:
        raise UserError(f"{key} is not one number, so that it has no {kind}: give values of it")
    low = -math.inf if field.low is None else field.low
    high = math.inf if field.high is None else field.high
    if kind == "normal":
        if second <= 0 or not low - 6 * second < first < high + 6 * second:
            raise UserError(
                f"{key} needs a width above 0 and a mean near its range {low:g} to {high:g} {field.unit}, "
                f"got {call[0].strip()}"
            )
        return Spread(kind, first, second, low, high, field.integer)
    if first > second or ((kind == "loguniform" or field.log) and first <= 0):
        raise UserError(
            f"{key} needs the smaller end first{', above 0' if field.log or kind == 'loguniform' else ''}, "
            f"got {call[0].strip()}"
        )
    return Spread(kind, first, second, whole=field.integer)


def _number(value: object, key: str) -> float:
    try:
        return float(coerce(value.strip() if isinstance(value, str) else value, float, key))
    except UserError as error:
        raise UserError(
            f"{error}: it takes a number, a list, uniform(a,b), loguniform(a,b) or normal(m,s)"
        ) from error


def _class(field: Field, value: object) -> object:
    """The number of a class that is given by its name; any other value as it is."""
    if field.classes is None or not isinstance(value, str):
        return value
    if value in field.classes:
        return field.classes.index(value)
    if not value.isdecimal():
        raise UserError(
            f"conditions.{field.name} is one of {', '.join(field.classes)}, got {value!r}"
        )
    return int(value)
