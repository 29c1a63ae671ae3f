"""One generator made of many, each of which serves a range of conditions.

Calorimeters of experiments are simulated by hundreds of networks, one for every particle, region and range of
energies. A file says which checkpoint serves which conditions (:mod:`simulacra.training.served`); it is
loaded like a checkpoint, and sampled, judged and timed like one. An event is made by the checkpoint that
serves its conditions, from noise of that checkpoint's own, so that nothing of it depends on what others
are asked for in the same chunk.

Reference: AtlFast3, arXiv:2109.02551.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, IncompatibleError, Latent, Spec, UserError
from simulacra.training import checkpoint, served
from simulacra.training.generative import GenerativeModule
from simulacra.training.latent_space import LatentSpace
from simulacra.training.module import Module
from simulacra.training.objective import Objective
from simulacra.training.record import Record
from simulacra.training.replay import Recorder

SEEDS = 2**62
"""Seeds of the noise of a chunk."""


class GeneratorSet(GenerativeModule):
    """See the module's docstring.

    Args:
        members: Trained generators of one kind of event, given the same fields.
        ranges: What each of them serves, and where it is from.

    Raises:
        IncompatibleError: If they generate different events, or are given different fields.
        UserError: If a range is that of something else than a number that they are given.
    """

    def __init__(
        self, members: Sequence[GenerativeModule], ranges: Sequence[served.Served]
    ) -> None:
        first = members[0]
        for member, item in zip(members, ranges, strict=True):
            if member.given != first.given or _events(member.spec) != _events(first.spec):
                raise IncompatibleError(
                    f"{item.path} generates {member.spec.name} given {', '.join(member.given)}, "
                    f"{ranges[0].path} {first.spec.name} given {', '.join(first.given)}: one generator "
                    "is made of checkpoints of the same events"
                )
        super().__init__(first.spec, first.given)
        numbers = [f.name for f in self.given_fields if f.dim == 1 and f.classes is None]
        strange = [name for name in ranges[0].ranges if name not in numbers]
        if strange:
            raise UserError(
                f"ranges are those of {', '.join(numbers) or 'nothing'}, the numbers that the checkpoints "
                f"are given, got {', '.join(strange)}"
            )
        self.members, self.served = nn.ModuleList(members), tuple(ranges)
        self.record = _record(members, ranges)

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Whatever its members generate."""
        return None

    def objectives(self) -> dict[str, Objective]:
        """There are none.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._text} are trained one by one")

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Each member has latent events of its own.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._text} have latent events of their own: sample them")

    def exported(self) -> Self:
        """See :meth:`GenerativeModule.exported`.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._text} are no single graph: export them one by one")

    def use_graphs(self, record: Recorder | None = None) -> None:
        """See :meth:`GenerativeModule.use_graphs`.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._text} are no single graph: set graph=false")

    def latent_space(self, cond: Conditions | None = None) -> LatentSpace:
        """See :meth:`GenerativeModule.latent_space`.

        Raises:
            UserError: Always.
        """
        raise UserError(f"{self._text} have latent spaces of their own: refine them one by one")

    @property
    def generators(self) -> list[GenerativeModule]:
        """The members."""
        return [member for member in self.members if isinstance(member, GenerativeModule)]

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of all members."""
        return [item for member in self.generators for item in member.used_parameters()]

    def chosen(self, cond: Conditions) -> Tensor:
        """Number of the member that serves each event, int64 ``(n,)``.

        Raises:
            UserError: If no checkpoint serves one of them.
        """
        found = served.choose(self.served, cond.values)
        lost = int((found < 0).sum())
        if lost:
            event = int((found < 0).nonzero()[0, 0])
            values = {name: float(cond.values[name][event, 0]) for name in self.served[0].ranges}
            told = ", ".join(
                f"{name}={values[name]:g} ({low:g} to {high:g} are served)"
                for name, (low, high) in served.hull(self.served).items()
            )
            raise UserError(f"no checkpoint serves {lost} of {cond.n} events, the first has {told}")
        return found

    def _drawn(self, cond: Conditions, generator: torch.Generator | None) -> tuple[Batch, Tensor]:
        chosen = self.chosen(cond)
        seed = torch.randint(SEEDS, (1,), generator=generator, device=self.device)
        parts: list[tuple[Tensor, Batch, Tensor]] = []
        for number, member in enumerate(self.generators):
            index = (chosen == number).nonzero()[:, 0]
            if len(index):
                noise = torch.Generator(device=self.device).manual_seed(int(seed) + number)
                wanted = cond[index.to(self.device)]
                member.record.warn_outside(wanted)
                parts.append((index, *member._drawn(wanted, noise)))
        order = torch.cat([index for index, _, _ in parts]).argsort().to(self.device)
        batch = Batch.cat([batch for _, batch, _ in parts])
        return batch[order], torch.cat([sound for _, _, sound in parts])[order]

    @property
    def _text(self) -> str:
        names = ", ".join(str(item.path) for item in self.served)
        return f"the {len(self.served)} checkpoints of this generator ({names})"


def load(
    path: str | Path,
    *,
    allow: Sequence[str] = (),
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Module:
    """A trained model from its checkpoint, or one generator of all checkpoints that a file names.

    Args:
        path: A checkpoint, or a file as in :mod:`simulacra.training.served`.
        allow: See :func:`simulacra.training.checkpoint.load`, of each checkpoint, like ``changes``.
        changes: See there.

    Raises:
        UserError: See there; also if the file is not what it should be, or a checkpoint generates nothing.
    """
    if not served.is_list(path):
        return checkpoint.load(path, allow=allow, changes=changes)
    ranges = served.read(path)
    members = []
    for item in ranges:
        member = checkpoint.load(item.path, allow=allow, changes=changes)
        if not isinstance(member, GenerativeModule):
            raise UserError(f"{item.path} is a {type(member).__name__}, which generates no events")
        members.append(member)
    return GeneratorSet(members, ranges).eval()


def _events(spec: Spec) -> dict[str, object]:
    """What generated events look like, whatever the data set is called."""
    return spec.with_(name="", prior=(), sample_batch=1).to_dict()


def _record(members: Sequence[GenerativeModule], ranges: Sequence[served.Served]) -> Record:
    """What all members have in common, the range that they serve, and conditions that each was trained on."""
    records = [member.record for member in members]
    names = dict.fromkeys(str((item.config.get("model") or {}).get("name")) for item in records)
    sizes = dict.fromkeys(str((item.config.get("model") or {}).get("size")) for item in records)
    config = {**records[0].config, "model": {"name": "+".join(names), "size": "+".join(sizes)}}
    shared = {
        key: value
        for key, value in records[0].provenance.items()
        if all(item.provenance.get(key) == value for item in records)
    }
    return Record(config, _trained(records, ranges), shared, _conditions(records, ranges))


def _trained(
    records: Sequence[Record], ranges: Sequence[served.Served]
) -> dict[str, tuple[float, float]]:
    """From the lowest to the highest value of each field that a member was trained on and serves."""
    found: dict[str, tuple[float, float]] = {}
    for record, item in zip(records, ranges, strict=True):
        for name, (low, high) in record.trained_range.items():
            least, most = item.ranges.get(name, (low, high))
            ends = max(low, least), min(high, most)
            before = found.get(name, ends)
            found[name] = min(before[0], *ends), max(before[1], *ends)
    return found


def _conditions(records: Sequence[Record], ranges: Sequence[served.Served]) -> Conditions | None:
    """Those of the training events that members remember and serve; None if one remembers nothing."""
    kept = []
    for number, record in enumerate(records):
        known = record.conditions
        if known is None or not all(name in known.values for name in ranges[0].ranges):
            return None
        kept.append(known[(served.choose(ranges, known.values) == number).nonzero()[:, 0]])
    return Conditions.cat(kept) if any(item.n for item in kept) else None
