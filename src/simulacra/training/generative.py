"""The contract of every generative model.

A family implements ``accepts``, ``objectives`` and ``generate``; sampling in physical units, thresholds and
what :class:`~simulacra.training.module.Module` does are inherited.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self, overload

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Latent, Spec, UserError, draws
from simulacra.core.bags import FRACTION
from simulacra.core.pair import LABEL
from simulacra.training import asked
from simulacra.training.latent_space import EVENTS, LatentSpace
from simulacra.training.module import Module
from simulacra.training.objective import Objective, frozen
from simulacra.training.replay import Made, Recorder, Replays, cuda_graph

__all__ = ["GenerativeModule", "NonFiniteEventsError", "Objective", "Redraws", "frozen"]

log = logging.getLogger(__name__)


class NonFiniteEventsError(UserError):
    """Generated events hold values that are NaN or infinite.

    Args:
        failed: How many do.
        made: Of how many.
    """

    def __init__(self, failed: int, made: int) -> None:
        super().__init__(
            f"{failed} of {made} generated events hold values that are NaN or infinite: the model has "
            "diverged, or fails in its tails; sample can draw such events again with redraw=ROUNDS"
        )
        self.failed, self.made = failed, made

    def __reduce__(self) -> tuple[type[NonFiniteEventsError], tuple[int, int]]:
        return type(self), (self.failed, self.made)


@dataclass
class Redraws:
    """Events that were not finite and are drawn again, they alone.

    Args:
        rounds: How often at most.
        events: How many events were drawn again so far.
    """

    rounds: int = 0
    events: int = 0


Asked = Conditions | Mapping[str, object] | int
"""What a generator may be asked for, see :meth:`GenerativeModule.sample`."""


class GenerativeModule(Module):
    """A generator of events of one data set.

    Args:
        spec: What the data set promises.
        given: Conditions and event fields that the generator is given (None: all conditions of the
            spec); it makes the remaining event fields itself.
    """

    _replays: Replays | None = None

    @classmethod
    def unfit(cls, spec: Spec) -> str | None:
        """As of the base class; a generator makes one sample."""
        if LABEL in spec.event:
            return "it generates one sample, not the two of a pair"
        if FRACTION in spec.event:
            return "it generates one sample, not several bags"
        return super().unfit(spec)

    def judged(
        self,
        batch: Batch,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """Generated events with the conditions and the weights of the true ones, position by position."""
        made = self.sample(batch.conditions(self.given), batch_size=batch_size, generator=generator)
        weight = None if batch.weight is None else batch.weight.to(made.x.device)
        return replace(made, weight=weight)

    def exported(self) -> Self:
        """What is exported as one graph: the generator itself.

        Raises:
            UserError: If it cannot be one.
        """
        return self

    @abstractmethod
    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Draw one latent event for each of the given conditions (physical units)."""

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of events, where the family has one.

        Raises:
            UserError: If it has none.
        """
        raise UserError(f"{type(self).__name__} has no likelihood: it generates events only")

    def surprise(self, batch: Batch) -> Tensor:
        """How unusual each event is ``(B,)``, by default ``-log p`` [nat].

        Raises:
            UserError: If the family has no measure of it.
        """
        return -self.log_prob(batch)

    def latent_space(self, cond: Conditions | None = None) -> LatentSpace:
        """The space of the noise of one event, in which the generator is a function.

        Args:
            cond: Conditions with which its width is found (None: drawn as in training); the width is the same
                for all.

        Raises:
            UserError: If what is drawn for an event are not always the same numbers.
        """
        cpu = torch.Generator().manual_seed(0)
        wanted = self.draw_conditions(EVENTS, cpu) if cond is None else cond
        few = wanted[torch.arange(EVENTS) % wanted.n]
        return LatentSpace(type(self).__name__, self._of_given_noise, few)

    def _of_given_noise(self, cond: Conditions) -> Batch:
        return self._chunk(cond, None, Redraws())

    def decode(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Physical events of latent ones; what the way back draws comes from ``generator``."""
        return self.transform.inverse(latent, cond, generator)

    @overload
    def sample(
        self,
        cond: Asked,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        posterior_draws: None = None,
        redraw: int = 0,
        seed: int | None = None,
        **fields: object,
    ) -> Batch: ...

    @overload
    def sample(
        self,
        cond: Asked,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        posterior_draws: int,
        redraw: int = 0,
        seed: int | None = None,
        **fields: object,
    ) -> list[Batch]: ...

    def sample(
        self,
        cond: Asked,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        posterior_draws: int | None = None,
        redraw: int = 0,
        seed: int | None = None,
        **fields: object,
    ) -> Batch | list[Batch]:
        """Generate events in physical units.

        Args:
            cond: What to generate: a number of events whose conditions are drawn as in training,
                conditions, or a mapping of them by name to one value for all events or one per event.
            batch_size: Events generated at once (None: the spec's ``sample_batch``).
            generator: Source of all randomness, on the module's device.
            posterior_draws: Number of networks to draw from the posterior of a Bayesian module (None:
                the mean weights).
            seed: In place of ``generator``: the same events at the same seed.
            fields: With a number of events: conditions that are not drawn, e.g. ``incident_energy=1000`` for
                all events or one value per event; classes also by name.
            redraw: Rounds in which events that are not finite are drawn again, they alone; a warning says how
                many were.

        Returns:
            Valid events of the spec on the CPU: thresholds applied, event fields filled. With
            ``posterior_draws`` a list of one such batch per network, each with an event for every one
            of the same conditions, in order, and noise of its own.

        Raises:
            NonFiniteEventsError: If events are not finite, after all rounds.
            UserError: If ``cond`` is empty, lacks a given field or names one that the model does not know,
                values are no numbers or not as many as the events, ``batch_size`` is not positive, or
                networks are asked of a module without a posterior.

        Examples:
            >>> import simulacra
            >>> model = simulacra.load("best.ckpt")
            >>> model.sample(3, incident_energy=[1024.0, 2048.0, 4096.0], seed=1).x.shape
            torch.Size([3, 368])
        """
        generator = asked.source(seed, generator, self.device)
        wanted = asked.conditions(self, cond, fields, generator)
        if posterior_draws is None:
            redraws = Redraws(redraw)
            made = Batch.cat(
                list(
                    self.stream(wanted, batch_size=batch_size, generator=generator, redraws=redraws)
                )
            )
            if redraws.events:
                log.warning("%d events that were not finite were drawn again", redraws.events)
            return made
        if posterior_draws < 1:
            raise UserError(f"posterior_draws must be at least 1, got {posterior_draws}")
        found = []
        for _ in range(posterior_draws):
            with self.one_network(generator):
                found.append(
                    self.sample(wanted, batch_size=batch_size, generator=generator, redraw=redraw)
                )
        return found

    def stream(
        self,
        cond: Conditions | int,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        redraws: Redraws | None = None,
    ) -> Iterator[Batch]:
        """As :meth:`sample`, one chunk after the other; ``redraws`` counts."""
        wanted = self.draw_conditions(cond, generator) if isinstance(cond, int) else cond
        chunks = self.chunks(wanted, batch_size)
        missing = [name for name in self.given if name not in wanted.values]
        if missing:
            raise UserError(
                f"{type(self).__name__} is given {list(self.given)}, but the conditions lack {missing}"
            )
        self.record.warn_outside(wanted)
        for chunk in chunks:
            yield self._chunk(chunk, generator, redraws or Redraws())

    def draw_conditions(
        self,
        n: int,
        generator: torch.Generator | None = None,
        names: Sequence[str] | None = None,
        prior: bool = False,
    ) -> Conditions:
        """Conditions as in training; where those are not remembered, from the spec's prior.

        Args:
            n: Number of events.
            generator: Source of randomness.
            names: Which of the given fields (None: all).
            prior: Draw from the spec's prior all the same, narrowed to the range the model was trained in.

        Raises:
            UserError: If ``n`` is not positive, or a field is to be drawn from a prior that is not known.
        """
        if n < 1:
            raise UserError(f"the number of events must be at least 1, got {n}")
        wanted = self.given if names is None else names
        cpu = asked.on_cpu(generator)
        trained = None if prior else self.record.draw(n, wanted, cpu)
        if trained is not None:
            return trained
        priors = {item.name: item for item in self.spec.prior}
        without = [name for name in wanted if name not in priors]
        if without:
            raise UserError(
                f"the model is given {without}, of which no prior is known: give conditions from a file"
            )
        values = {name: self.record.narrow(priors[name]).draw(n, cpu) for name in wanted}
        classes = {field.name for field in self.given_fields if field.classes is not None}
        return Conditions(
            n, {name: value.long() if name in classes else value for name, value in values.items()}
        )

    def use_graphs(self, record: Recorder | None = None) -> None:
        """Record the sampler from now on, once for each number of events that are generated at once, see
        :mod:`simulacra.training.replay`.

        Args:
            record: What records (None: CUDA).

        Raises:
            UserError: If there is no card that could.
        """
        if record is None and self.device.type != "cuda":
            raise UserError(
                f"graph=true records what a card does, the generator is on the {self.device.type}: set "
                "device=cuda"
            )
        self._replays = Replays(record or cuda_graph)

    @contextmanager
    def one_network(self, generator: torch.Generator | None = None) -> Iterator[None]:
        """As of the base class; a recording is that of one network."""
        with super().one_network(generator):
            self._forget()
            yield
        self._forget()

    def _forget(self) -> None:
        if self._replays is not None:
            self._replays.forget()

    def _chunk(
        self, cond: Conditions, generator: torch.Generator | None, redraws: Redraws
    ) -> Batch:
        with self.evaluating(), torch.inference_mode():
            on_device = cond.to(self.device)
            batch, sound = self._drawn_fast(on_device, generator, cond.n)
            for _ in range(redraws.rounds):
                bad = torch.nonzero(~sound)[:, 0]
                if not len(bad):
                    break
                again, sound[bad] = self._drawn_fast(on_device[bad], generator, cond.n)
                batch = _put(batch, again, bad)
                redraws.events += len(bad)
        if not bool(sound.all()):
            raise NonFiniteEventsError(int((~sound).sum()), len(sound))
        batch = batch.to("cpu").clone()
        names = {field.name for field in self.spec.conditions}
        known = {name: value for name, value in cond.values.items() if name in names}
        given = {name: cond.values[name] for name in self.given if name not in names}
        x = batch.x
        if self.spec.threshold > 0 and self.spec.kind in ("grid", "layers", "image"):
            x = torch.where(x < self.spec.threshold, 0.0, x)
        done = Batch(x, known, {**batch.event, **given}, batch.mask)
        self.spec.validate(done)
        return done

    def _drawn_fast(self, cond: Conditions, generator: torch.Generator | None, size: int) -> Made:
        """As :meth:`_drawn`, where that is asked for by a recording of ``size`` events; none is of use for
        given noise.
        """
        if self._replays is None or draws.unrolled():
            return self._drawn(cond, generator)
        return self._replays.made(self._drawn, cond, generator, size, self)

    def _drawn(self, cond: Conditions, generator: torch.Generator | None) -> Made:
        """Events, and which of them are finite, bool ``(B,)``, looked at before and after decoding: a
        comparison with a threshold makes an empty cell of NaN, one with a number of points an empty
        event.
        """
        latent = self.generate(cond, generator)
        sound = _finite(len(cond), latent.x.values(), self.device)
        batch = self.decode(latent, cond, generator)
        return batch, sound & _finite(len(cond), (batch.x, *batch.event.values()), self.device)


def _finite(n: int, values: Iterable[Tensor], device: torch.device) -> Tensor:
    """Which of ``n`` events are finite in all of ``values``, each ``(n, *)``."""
    sound = torch.ones(n, dtype=torch.bool, device=device)
    for value in values:
        sound &= torch.isfinite(value).flatten(1).all(1)
    return sound


def _put(batch: Batch, again: Batch, index: Tensor) -> Batch:
    """Events with those at ``index`` exchanged."""

    def put(value: Tensor, new: Tensor) -> Tensor:
        return value.index_copy(0, index, new)

    assert (batch.mask is None) == (again.mask is None)
    mask = None if batch.mask is None or again.mask is None else put(batch.mask, again.mask)
    event = {name: put(value, again.event[name]) for name, value in batch.event.items()}
    return Batch(put(batch.x, again.x), batch.cond, event, mask)
