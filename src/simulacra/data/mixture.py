"""Several data sets of one mesh in one training, with a label that says where each shower stands.

Members agree in the cells of a shower, layer by layer, though not in their sizes: on a mesh that is measured
in radiation lengths and Molière radii a cell means the same in every calorimeter. Distances in observables
and views are those of the first member that is used. Every condition has the range of all members, used or
not, so that a model that learns of a further member finds the scale that it has learnt.

Training batches hold the members in fixed shares. Validation and test show every event once.

Reference: CaloDiT-2, arXiv:2509.07700; cross-geometry transfer, arXiv:2512.00187.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch

from simulacra.core import Conditions, Field, Geometry, IncompatibleError, Spec, UserError
from simulacra.data.base import FIT_EVENTS, EventDataModule, Loading, View, ViewedPart
from simulacra.data.joined import Joined
from simulacra.data.labels import Label
from simulacra.data.sampler import EpochSampler, ShareSampler
from simulacra.data.source import FixedBatches, Part
from simulacra.formats.base import Format
from simulacra.formats.hdf5 import Hdf5Format
from simulacra.formats.labelled import LabelledFormat, marked
from simulacra.physics.base import ObservableSet

SAME = ("kind", "shape", "unit", "features", "event", "threshold")
"""In what all members must agree, beside the names of their conditions and the cells of their layers."""


class MixtureDataModule(EventDataModule):
    """See the module's docstring.

    Files, splits and limits are those of the members; their own batch sizes are not used, nor is the fraction
    for validation of ``loading``. A view is one of the mixture, not of its members.

    Args:
        members: Data sets by name.
        label: Tells them apart.
        loading: Sizes of batches of all members together and their order.
        using: Members that are mixed; None: all.
        shares: Of the members in training batches; None: as many as each has events.
        judged_on: Members whose events validate and test; None: all that are mixed.
        view: Makes the form in which the model sees events, or None for the native form.

    Raises:
        IncompatibleError: If the members hold different kinds of events.
        UserError: If a name is none of a member's.
    """

    def __init__(
        self,
        members: Mapping[str, EventDataModule],
        label: Label,
        loading: Loading,
        using: Sequence[str] | None = None,
        shares: Mapping[str, float] | None = None,
        judged_on: Sequence[str] | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        super().__init__(loading, view)
        self.members, self.label, self._name = dict(members), label, "mixture"
        self.using = self._known("using", using, members)
        self.judged_on = self._known("judged_on", judged_on, self.using)
        if shares is not None and set(shares) != set(self.using):
            raise UserError(
                f"data.shares names {', '.join(shares)}, but {', '.join(self.using)} are mixed: give each of "
                "them a share"
            )
        if shares is not None and min(shares.values()) <= 0:
            raise UserError(f"data.shares are numbers above 0, got {min(shares.values()):g}")
        self.shares = None if shares is None else {name: shares[name] for name in self.using}
        seen = [name for name, member in members.items() if member.view is not None]
        if seen:
            raise UserError(
                f"the member {seen[0]} is seen through a view: leave data.members.{seen[0]}.view out and set "
                "data.view"
            )
        for other in list(members.values())[1:]:
            _check_same(next(iter(members.values())).spec, other.spec)

    @staticmethod
    def _known(
        key: str, names: Sequence[str] | None, known: Sequence[str] | Mapping[str, object]
    ) -> list[str]:
        """Some names out of those that are known, in the order of these; all if None."""
        strange = [name for name in names or () if name not in known]
        if strange or not (known if names is None else names):
            raise UserError(
                f"data.{key} names some of {', '.join(known)}, got {', '.join(names or ()) or 'none'}"
            )
        return [name for name in known if names is None or name in names]

    @property
    def first(self) -> EventDataModule:
        """The member whose distances count."""
        return self.members[self.using[0]]

    @cached_property
    def _labels(self) -> dict[str, dict[str, torch.Tensor]]:
        """The label of each member that is used."""
        return {name: self.label.values(name, list(self.members)) for name in self.using}

    @cached_property
    def _base(self) -> Spec:
        """All but the labels."""
        specs = [self.members[name].spec for name in self.using]
        fields = zip(*(member.spec.conditions for member in self.members.values()), strict=True)
        return self.first.spec.with_(
            name=self._name,
            conditions=tuple(_widest(some) for some in fields),
            cut=max(spec.cut for spec in specs),
            prior=tuple(prior for prior in specs[0].prior if all(prior in s.prior for s in specs)),
        )

    @cached_property
    def native_spec(self) -> Spec:
        """What the members promise, and the label."""
        names = list(self.members)
        shares = self.shares or dict.fromkeys(self.using, 1.0)
        return self._base.with_(
            conditions=(*self._base.conditions, *self.label.fields(names)),
            prior=(*self._base.prior, *self.label.priors(shares, names)),
        )

    @property
    def format(self) -> Format:
        """Reader and writer of the first member's files with labels; where it is the only one that is used,
        its files without labels are read, too.

        Raises:
            UserError: If its files cannot hold labels.
        """
        base = self.first.format
        if not isinstance(base, Hdf5Format):
            raise UserError(f"files of {self.using[0]} hold no labels: they are no HDF5 files")
        known = self._labels[self.using[0]] if len(self.using) == 1 else None
        return LabelledFormat(base, self.label.fields(list(self.members)), known, self.native_spec)

    @property
    def observables(self) -> ObservableSet:
        """Those of the first member."""
        return self.first.observables

    @property
    def provenance(self) -> dict[str, str]:
        """Where the events of all members come from."""
        return {
            f"{name}/{key}": value
            for name in self.using
            for key, value in self.members[name].provenance.items()
        }

    def named(self, name: str) -> None:
        """The name of the whole."""
        self._name = name

    def prepare_data(self) -> None:
        """Make the caches of all members."""
        for name in self.using:
            self.members[name].prepare_data()

    def load(self) -> Mapping[str, Part]:
        """All members' parts, evenly mixed."""
        parts = {}
        for part, names in (
            ("train", self.using),
            ("val", self.judged_on),
            ("test", self.judged_on),
        ):
            marks = [partial(marked, labels=self._labels[name]) for name in names]
            source = Joined([self.members[name].part(part) for name in names], marks)
            parts[part] = Part(source, source.mixed())
        return parts

    def sampler(
        self, part: Part, batch_size: int, train: bool, rank: int = 0, world: int = 1
    ) -> EpochSampler:
        """In training with the members' shares."""
        if not train or self.shares is None or self.loading.curriculum is not None:
            return super().sampler(part, batch_size, train, rank, world)
        return self._shared(part, batch_size, self.loading.seed, rank, world)

    def _shared(
        self, part: Part, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> ShareSampler:
        assert self.shares is not None
        assert isinstance(part.source, Joined)
        member = part.source.sample(part.index)
        groups = [(member == number).nonzero()[:, 0] for number in range(len(self.using))]
        for name, group in zip(self.using, groups, strict=True):
            if not len(group):
                raise UserError(
                    f"{name} has a share in data.shares, but no training events: raise data.limit"
                )
        return ShareSampler(groups, list(self.shares.values()), batch_size, seed, rank, world)

    def _as_trained(self) -> Part:
        """Training events in a fixed order in which every member has its share."""
        part = self.part("train")
        if self.shares is None:
            return part
        index = part.index[self._shared(part, 1, 0).order()]
        return (
            Part(part.source, index)
            if self.view is None
            else ViewedPart(Part(part.source, index), self.view)
        )

    def fit_batches(self) -> FixedBatches:
        """As of the base class, with the members' shares."""
        return FixedBatches(self._as_trained(), self.loading.eval_batch_size, FIT_EVENTS)

    def conditions(
        self, n: int, generator: torch.Generator | None = None, part: str = "test"
    ) -> Conditions:
        """As of the base class; those of training events with the members' shares."""
        chosen = self._as_trained() if part == "train" else self.part(part)
        batch = chosen[chosen.draw(n, generator).tolist()]
        return batch.conditions([*batch.cond, *batch.event])

    def remarks(self) -> dict[str, str]:
        """Those on all members."""
        return {
            f"{name}/{key}": text
            for name in self.using
            for key, text in self.members[name].remarks().items()
        }

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Toy files of every member."""
        for number, member in enumerate(self.members.values()):
            member.write_toy(folder, n, seed + number)


def _check_same(one: Spec, two: Spec) -> None:
    """Refuse members that hold different kinds of events."""
    pairs = [(name, getattr(one, name), getattr(two, name)) for name in SAME]
    pairs += [
        ("conditions", _names(one), _names(two)),
        ("cells", _cells(one.geometry), _cells(two.geometry)),
    ]
    for name, mine, other in pairs:
        if mine != other:
            raise IncompatibleError(
                f"{one.name} and {two.name} cannot be mixed, as they differ in {name}: all members need the "
                "same mesh, e.g. detector/mesh=common"
            )


def _names(spec: Spec) -> list[tuple[object, ...]]:
    return [(f.name, f.unit, f.dim, f.log, f.classes, f.role) for f in spec.conditions]


def _cells(geometry: Geometry | None) -> list[tuple[object, ...]]:
    layers = () if geometry is None else geometry.layers
    return [(layer.axes, layer.shape, layer.periodic) for layer in layers]


def _widest(fields: Sequence[Field]) -> Field:
    """One condition with the range of all members."""
    lows, highs = [field.low for field in fields], [field.high for field in fields]
    return replace(
        fields[0],
        low=None if None in lows else min(low for low in lows if low is not None),
        high=None if None in highs else max(high for high in highs if high is not None),
    )
