"""What people ask of a generator, in numbers, names and mappings, as conditions."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from simulacra.core import Conditions, Field, Spec, UserError
from simulacra.core.numbers import numbers

SEEDS = 2**63
"""Seeds lie below."""


class Generator(Protocol):
    """As much of a generative module as is needed here."""

    spec: Spec
    given: tuple[str, ...]
    given_fields: tuple[Field, ...]

    def draw_conditions(
        self, n: int, generator: torch.Generator | None = None, names: Sequence[str] | None = None
    ) -> Conditions:
        """Conditions of which nothing was said."""


def conditions(
    module: Generator,
    cond: object,
    fields: Mapping[str, object],
    generator: torch.Generator | None,
) -> Conditions:
    """What to generate.

    Args:
        module: The generator that is asked.
        cond: Conditions, a mapping that :meth:`Conditions.of` takes, or a number of events.
        fields: With a number of events: conditions that are not to be drawn, one value for all or one per
            event; classes may be given by their names.
        generator: Source of what is drawn.

    Raises:
        UserError: For a name that the model does not know, values that are no numbers, or not as many as
            there are events.
    """
    if isinstance(cond, (Conditions, Mapping)) and fields:
        raise UserError(f"conditions are given twice: as a whole, and {', '.join(sorted(fields))}")
    if isinstance(cond, Conditions):
        return _floating(module, cond)
    if isinstance(cond, Mapping):
        return Conditions.of({name: _checked(module, name, cond[name]) for name in cond})
    n = count(cond)
    known = Conditions.of({name: _checked(module, name, fields[name]) for name in fields}, n)
    left = tuple(name for name in module.given if name not in known.values)
    drawn = module.draw_conditions(n, generator, left) if left else Conditions(n)
    return Conditions(n, {**known.values, **drawn.values})


def count(number: object) -> int:
    """A number of events.

    Raises:
        UserError: If it is none.
    """
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    try:
        n = -1 if isinstance(number, bool) else operator.index(number)  # type: ignore[arg-type]  # says so itself
    except TypeError:
        n = -1
    if n < 1:
        text = repr(number) if isinstance(number, (int, float, str)) else type(number).__name__
        raise UserError(
            f"the number of events must be at least 1, got {text}: sample takes it, or conditions"
        )
    return n


def source(
    seed: object, generator: torch.Generator | None, device: torch.device
) -> torch.Generator | None:
    """The source of randomness, from a seed where one is given.

    Raises:
        UserError: If both are given, or the seed is none.
    """
    if seed is None:
        return generator
    if generator is not None:
        raise UserError("the noise comes from seed or from generator, not from both")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise UserError(f"a seed is a whole number from 0 to 2**63 - 1, got {seed!r}")
    return torch.Generator(device=device).manual_seed(seed)


def on_cpu(generator: torch.Generator | None) -> torch.Generator | None:
    """A source on the CPU that is determined by one of any device."""
    if generator is None or generator.device.type == "cpu":
        return generator
    seed = torch.randint(SEEDS - 1, (1,), generator=generator, device=generator.device)
    return torch.Generator().manual_seed(int(seed))


def _floating(module: Generator, cond: Conditions) -> Conditions:
    """Whole numbers as networks take them, unless they are classes."""
    classes = {field.name for field in module.given_fields if field.classes is not None}
    values = {
        name: value if value.is_floating_point() or name in classes else value.float()
        for name, value in cond.values.items()
        if name in module.given
    }
    return Conditions(cond.n, {**cond.values, **values})


def _checked(module: Generator, name: str, value: object) -> Tensor:
    """A value of a field that the model knows, in the type of the field."""
    names = dict.fromkeys((*module.given, *(field.name for field in module.spec.conditions)))
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"it is given {list(names)}"
        raise UserError(f"{type(module).__name__} knows no condition {name!r}: {hint}")
    field = module.spec.field(name)
    found = numbers(_numbered(field, value), f"condition {name!r}")
    column = Conditions.of({name: found}).values[name]
    if column.shape[1] != field.dim:
        raise UserError(
            f"condition {name!r} has {field.dim} components per event, got {column.shape[1]}"
        )
    if field.classes is not None:
        _check_classes(field, column)
        return found.long()
    if field.log and bool((column <= 0).any()):
        lowest = float(column.min())
        raise UserError(f"condition {name!r} must be above 0 [{field.unit}], got {lowest:g}")
    return found.float()


def _numbered(field: Field, value: object) -> object:
    """Names of classes as their numbers; anything else as it is."""
    if field.classes is None:
        return value
    if isinstance(value, str):
        return _class(field, value)
    if isinstance(value, (list, tuple)) and any(isinstance(item, str) for item in value):
        return [_class(field, str(item)) for item in value]
    return value


def _class(field: Field, name: str) -> int:
    assert field.classes is not None
    if name not in field.classes:
        raise UserError(f"{field.name} is one of {', '.join(field.classes)}, got {name!r}")
    return field.classes.index(name)


def _check_classes(field: Field, column: Tensor) -> None:
    assert field.classes is not None
    whole = column.double()
    if bool(((whole != whole.round()) | (whole < 0) | (whole >= len(field.classes))).any()):
        raise UserError(
            f"{field.name} is the number of a class, from 0 to {len(field.classes) - 1} "
            f"({', '.join(field.classes)}), got {float(whole.max()):g}"
        )
