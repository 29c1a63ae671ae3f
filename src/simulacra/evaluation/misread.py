"""Mistakes in configuration files, which their user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from simulacra.core import UserError

MISREAD = (YAMLError, ValueError, RecursionError)
"""What Hydra and YAML raise at mistakes in configuration files, beside errors of their own."""


def misread(error: BaseException) -> UserError:
    """One of :data:`MISREAD` as an error of the user, whose files they are as well."""
    if isinstance(error, RecursionError):
        return UserError("a configuration file includes itself")
    return UserError(" ".join(str(error).split()))


@contextmanager
def reading() -> Iterator[None]:
    """Mistakes in the configuration files that a block reads as errors of users."""
    try:
        yield
    except (OmegaConfBaseException, UserError):  # say by themselves what is wrong
        raise
    except MISREAD as error:
        raise misread(error) from error
