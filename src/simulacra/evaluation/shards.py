r"""Parts of one file of events that are made apart and joined.

The batches of a request are numbered from 0. What shard ``k/K`` makes are the batches

.. math:: \lfloor (k - 1) B / K \rfloor \dots \lfloor k B / K \rfloor - 1

of all :math:`B`. The noise of a batch is a function of the seed of the request and of the number of the
batch, and so are the conditions of a block of events. What is made does not depend on how many make it:
shards joined in order are what ``1/1`` makes, bit for bit on one kind of machine.

Independent streams come from :class:`numpy.random.SeedSequence`, which spreads a seed and a place.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from simulacra.core import UserError

_WRITTEN = re.compile(r"(\d+)/(\d+)")
_NAMED = re.compile(r"(?P<stem>.+)_shard(?P<number>\d+)of(?P<of>\d+)")
NOISE, NETWORK, CONDITIONS = range(3)
"""What a stream of random numbers is for."""


@dataclass(frozen=True)
class Shard:
    """One of several parts.

    Args:
        number: Which, from 1.
        of: Of how many.
    """

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """From ``NUMBER/OF``.

        Raises:
            ValueError: If it is no such thing.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"{text!r} is no shard")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def path(self, whole: str | Path) -> str:
        """File of this part: of ``a.hdf5`` it is ``a_shard03of16.hdf5``."""
        file = Path(whole)
        return str(
            file.with_stem(f"{file.stem}_shard{self.number:0{len(str(self.of))}d}of{self.of}")
        )

    def batches(self, n: int, size: int) -> range:
        """Which batches of ``size`` events of all ``n`` are in this part.

        Raises:
            UserError: If there are fewer batches than parts.
        """
        number = -(-n // size)
        if number < self.of:
            raise UserError(
                f"{n:,} events are {number} batches of batch_size={size}, too few for {self.of} shards: make "
                "fewer shards or smaller batches"
            )
        return range((self.number - 1) * number // self.of, self.number * number // self.of)


def stream(seed: int, *place: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A source of random numbers of its own for every seed and place."""
    word = np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)[0]
    return torch.Generator(device=device).manual_seed(int(word) >> 1)  # seeds of torch have 63 bits


def shards(whole: str | Path) -> list[Path]:
    """Files of all parts of a file in order; empty where there is none.

    Raises:
        UserError: If some are missing, or there are parts of another number, too.
    """
    file = Path(whole)
    pattern = f"{glob.escape(file.stem)}_shard*of*{glob.escape(file.suffix)}"
    found: dict[int, dict[int, Path]] = {}
    for path in file.parent.glob(pattern):
        named = _NAMED.fullmatch(path.stem)
        if named is not None and named["stem"] == file.stem:
            found.setdefault(int(named["of"]), {})[int(named["number"])] = path
    if not found:
        return []
    if len(found) > 1:
        raise UserError(
            f"{whole} has parts of {' and of '.join(map(str, sorted(found)))} shards: remove some"
        )
    ((of, parts),) = found.items()
    missing = [str(Shard(number, of)) for number in range(1, of + 1) if number not in parts]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UserError(f"{whole} lacks parts: sample shard={', '.join(missing[:5])}{more} again")
    return [parts[number] for number in range(1, of + 1)]


def pieces(path: str | Path) -> list[Path]:
    """The files that a name stands for as one sample: itself, or where there is no such file those that match
    where it holds ``*``, sorted, or its shards.

    Raises:
        UserError: If nothing matches; see also :func:`shards`.
    """
    if Path(path).exists():
        return [Path(path)]
    if "*" in str(path):
        matched = sorted(map(Path, glob.glob(str(path))))
        if not matched:
            raise UserError(f"there is no file {path}")
        return matched
    return shards(path) or [Path(path)]
