"""Numbers as people have them, in scalars, lists, numpy arrays or tensors, as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import UserError


def numbers(value: object, name: str) -> Tensor:
    """A tensor on the CPU of the same shape: int64 of whole numbers, else float32 or float64.

    Args:
        value: A number, nested sequences of numbers, an array or a tensor.
        name: What it is, for the message.

    Raises:
        UserError: If it holds anything but numbers, rows of unequal length or masked entries.
    """
    if isinstance(value, Tensor):
        array = value.detach().cpu()
        if array.layout != torch.strided:
            raise _not_numbers(
                name, f"a tensor of layout {str(array.layout).removeprefix('torch.')}"
            )
        if array.is_complex() or array.dtype == torch.bool:
            raise _not_numbers(name, str(value.dtype).removeprefix("torch."))
        return array if array.dtype in (torch.float32, torch.float64) else _widened(array)
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise UserError(f"{name} has masked entries: leave them out, or fill them")
    try:
        found = np.asarray(value)
    except UserError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} must be numbers in rows of equal length: {error}") from error
    if found.dtype.kind not in "iuf":
        kind = type(value).__name__ if found.dtype == object else found.dtype.name
        raise _not_numbers(name, kind)
    floating = "f4" if found.itemsize <= 4 else "f8"
    return torch.from_numpy(np.array(found, dtype=floating if found.dtype.kind == "f" else "i8"))


def _widened(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value.long()


def _not_numbers(name: str, kind: str) -> UserError:
    return UserError(f"{name} must be numbers, got {kind}")
