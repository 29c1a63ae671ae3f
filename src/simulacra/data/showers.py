"""Calorimeter showers: one data module for every set that a format can read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from simulacra.core import Spec
from simulacra.data.base import Loading, View
from simulacra.data.file_data import Cache, FileDataModule, Files, fields_of, permutation
from simulacra.data.files import Published
from simulacra.data.source import Part
from simulacra.formats.base import Format
from simulacra.physics.base import ObservableSet

log = logging.getLogger(__name__)

_SPLIT_SEED, _VALIDATION_SEED = 2022, 2023

Energies = Sequence[float | Sequence[float]]


class ShowerDataModule(FileDataModule):
    """Showers from public files, own files or the embedded sample.

    Args:
        format, observables, published, loading, root, files, cache, view: As of the base class.
        energies: Use these incident energies only: values, or pairs (low, high) [the spec's unit];
            None for all.
        hold_out: Keep these incident energies out of train, val and test; the test file's stand in
            ``held_out``.
    """

    def __init__(
        self,
        format: Format,
        observables: Callable[[Spec], ObservableSet],
        published: Published,
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        cache: Cache = "auto",
        view: Callable[[Spec], View] | None = None,
        energies: Energies | None = None,
        hold_out: Energies | None = None,
    ) -> None:
        super().__init__(format, observables, published, loading, root, files, cache, view)
        self.energies, self.hold_out = energies, hold_out

    @property
    def sample(self) -> str:
        """Where its showers were simulated, and where the full data are."""
        return (
            "Geant4 showers in a simplified detector; the full data are published "
            f"({self.published.source}): put them into the folder data.root"
        )

    def order(self, n: int) -> Tensor:
        """As of the base class; not the same with a test file and without."""
        return permutation(n, _VALIDATION_SEED if self.found.test else _SPLIT_SEED)

    def split(self) -> dict[str, Part]:
        """Parts ``train``, ``val``, ``test`` and, with ``hold_out``, ``held_out``."""
        parts = super().split()
        if self.hold_out:
            test, _ = self.apart()
            parts["held_out"] = self._chosen(test, held=True)
        return parts

    def wanted(self, part: Part) -> Part:
        """Events of the energies that are asked for and not held out."""
        return self._chosen(part, held=False)

    @rank_zero_only
    def announce(self, parts: Mapping[str, Part]) -> None:
        """As of the base class; and how many of the events are of the energies that are asked for."""
        super().announce(parts)
        if self.energies is None:
            return
        test, rest = self.apart()
        sources = [test, rest, *([self._whole("val")] if "val" in self.sources else [])]
        kept, found = (
            sum(len(self._chosen(part, False)) for part in sources),
            sum(map(len, sources)),
        )
        log.info(
            "%s: %s of %s events have the energies %s",
            self.native_spec.name, f"{kept:,}", f"{found:,}", self.energies,
        )  # fmt: skip

    def few(self) -> str:
        """Which energies there are, and which are asked for."""
        energy = self.native_spec.by_role("energy")
        ranges = [
            self.format.header(path).ranges[energy.name]
            for paths in self.found.parts.values()
            for path in paths
        ]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        asked = f"energies={self.energies}, hold_out={self.hold_out}"
        return f"the files run from {low:g} to {high:g} {energy.unit}, {asked}"

    def _chosen(self, part: Part, held: bool) -> Part:
        """Events of ``energies``, either those that are held out or the others."""
        if self.energies is None and not self.hold_out:
            return part
        energy = fields_of(part)[self.native_spec.by_role("energy").name][part.index, 0]
        chosen = _matches(energy, self.hold_out or ()) == held
        if self.energies is not None:
            chosen &= _matches(energy, self.energies)
        return Part(part.source, part.index[chosen])


def _matches(energy: Tensor, wanted: Energies) -> Tensor:
    """Events ``(B,)`` at one of the values or within one of the (low, high) pairs."""
    chosen = torch.zeros(len(energy), dtype=torch.bool)
    for item in wanted:
        if isinstance(item, Sequence):
            low, high = item
        else:
            low, high = item * (1 - 1e-4), item * (1 + 1e-4)
        chosen |= (energy >= low) & (energy <= high)
    return chosen
