"""The contract of every generative model: a Lightning module that owns its transform.

A family implements ``accepts``, ``objectives`` and ``generate``; stepping one or several
optimizers, sampling in physical units, thresholds, checkpoints and fine-tuning are inherited.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, overload

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, IncompatibleError, Latent, Spec, UserError
from simulacra.models.objective import Objective, frozen
from simulacra.models.record import Record
from simulacra.models.stepping import Stepping
from simulacra.nn import variational
from simulacra.transforms.base import Batches, Transform

__all__ = ["GenerativeModule", "Objective", "frozen"]

log = logging.getLogger(__name__)


class GenerativeModule(Stepping, pl.LightningModule, ABC):
    """A generator of events of one data set.

    Args:
        spec: What the data set promises.
        given: Conditions and event fields that the generator is given (None: all conditions of the
            spec); it makes the remaining event fields itself.

    Raises:
        IncompatibleError: If the family cannot represent the data set.
    """

    transform: Transform

    def __init__(self, spec: Spec, given: Sequence[str] | None = None) -> None:
        super().__init__()
        reason = self.accepts(spec)
        if reason is not None:
            raise IncompatibleError(f"{type(self).__name__} does not fit {spec.name}: {reason}")
        self.spec = spec
        self.given = (
            tuple(field.name for field in spec.conditions) if given is None else tuple(given)
        )
        self.given_fields = tuple(spec.field(name) for name in self.given)
        missing = [field.name for field in spec.conditions if field.name not in self.given]
        if missing:
            raise UserError(f"{spec.name} is conditioned on {missing}, which 'given' leaves out")
        self.record = Record()

    @classmethod
    @abstractmethod
    def accepts(cls, spec: Spec) -> str | None:
        """None if the family can represent the data set, else the reason in one sentence."""

    @abstractmethod
    def objectives(self) -> dict[str, Objective]:
        """Losses by name; one is stepped by Lightning, several are stepped in order by the base
        class.
        """

    @abstractmethod
    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Draw one latent event for each of the given conditions (physical units)."""

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of events, where the family has one.

        Raises:
            UserError: If it has none.
        """
        raise UserError(f"{type(self).__name__} has no likelihood: it generates events only")

    def generator_parameters(self) -> list[nn.Parameter]:
        """Parameters that sampling needs, those of which a moving average is kept; all by
        default.
        """
        return list(self.parameters())

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise a batch; in training mode with dequantisation noise from ``generator``."""
        latent: Latent = self.transform(batch, generator)
        return latent

    def decode(self, latent: Latent, cond: Conditions) -> Batch:
        """Physical events of latent ones."""
        return self.transform.inverse(latent, cond)

    def fit_transform(self, batches: Batches) -> Self:
        """Take the transform's statistics from training events; once, on a fresh run, before
        training.
        """
        self.transform.fit(batches)
        return self

    @property
    def has_posterior(self) -> bool:
        """Whether weights are normally distributed, so that one can draw networks."""
        return variational.has_posterior(self)

    @contextmanager
    def one_network(self, generator: torch.Generator | None = None) -> Iterator[None]:
        """One network drawn from the posterior for the duration of a block; outside of it the module
        is that of the mean weights.

        Raises:
            UserError: If the module has no posterior.
        """
        if not self.has_posterior:
            raise UserError(
                f"{type(self).__name__} has no posterior to draw networks from: its weights have one value"
            )
        with variational.one_network(self, generator):
            yield

    @overload
    def sample(
        self,
        cond: Conditions | int,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        posterior_draws: None = None,
    ) -> Batch: ...

    @overload
    def sample(
        self,
        cond: Conditions | int,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        posterior_draws: int,
    ) -> list[Batch]: ...

    def sample(
        self,
        cond: Conditions | int,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
        posterior_draws: int | None = None,
    ) -> Batch | list[Batch]:
        """Generate events in physical units.

        Args:
            cond: What to generate, or a number of events whose conditions are drawn from the spec's
                prior.
            batch_size: Events generated at once (None: the spec's ``sample_batch``).
            generator: Source of all randomness, on the module's device.
            posterior_draws: Number of networks to draw from the posterior of a Bayesian module (None:
                the mean weights).

        Returns:
            Valid events of the spec on the CPU: thresholds applied, event fields filled. With
            ``posterior_draws`` a list of one such batch per network, each with an event for every one
            of the same conditions, in order, and noise of its own.

        Raises:
            UserError: If ``cond`` is empty, lacks a given field, ``batch_size`` is not positive, or
                networks are asked of a module without a posterior.
        """
        if posterior_draws is None:
            return Batch.cat(list(self.stream(cond, batch_size=batch_size, generator=generator)))
        if posterior_draws < 1:
            raise UserError(f"posterior_draws must be at least 1, got {posterior_draws}")
        wanted = self.draw_conditions(cond, generator) if isinstance(cond, int) else cond
        found = []
        for _ in range(posterior_draws):
            with self.one_network(generator):
                found.append(self.sample(wanted, batch_size=batch_size, generator=generator))
        return found

    def stream(
        self,
        cond: Conditions | int,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        """As :meth:`sample`, one chunk after the other."""
        size = self.spec.sample_batch if batch_size is None else batch_size
        if size < 1:
            raise UserError(f"batch_size must be at least 1, got {size}")
        wanted = self.draw_conditions(cond, generator) if isinstance(cond, int) else cond
        if len(wanted) < 1:
            raise UserError(f"the number of events must be at least 1, got {len(wanted)}")
        missing = [name for name in self.given if name not in wanted.values]
        if missing:
            raise UserError(
                f"{type(self).__name__} is given {list(self.given)}, but the conditions lack {missing}"
            )
        self.record.warn_outside(wanted)
        for start in range(0, len(wanted), size):
            yield self._chunk(wanted[start : start + size], generator)

    def draw_conditions(self, n: int, generator: torch.Generator | None = None) -> Conditions:
        """Conditions from the spec's prior, narrowed to the range the model was trained in.

        Raises:
            UserError: If ``n`` is not positive or the model is given a field that has no prior.
        """
        if n < 1:
            raise UserError(f"the number of events must be at least 1, got {n}")
        priors = {prior.name: prior for prior in self.spec.prior}
        without = [name for name in self.given if name not in priors]
        if without:
            raise UserError(
                f"the model is given {without}, of which no prior is known: give conditions from a file"
            )
        cpu = generator if generator is None or generator.device.type == "cpu" else None
        values = {name: self.record.narrow(priors[name]).draw(n, cpu) for name in self.given}
        classes = {field.name for field in self.given_fields if field.classes is not None}
        return Conditions(
            n, {name: value.long() if name in classes else value for name, value in values.items()}
        )

    @torch.no_grad()
    def _chunk(self, cond: Conditions, generator: torch.Generator | None) -> Batch:
        with self.evaluating():
            on_device = cond.to(self.device)
            batch = self.decode(self.generate(on_device, generator), on_device).to("cpu")
        names = {field.name for field in self.spec.conditions}
        known = {name: value for name, value in cond.values.items() if name in names}
        given = {name: cond.values[name] for name in self.given if name not in names}
        x = batch.x
        if self.spec.threshold > 0 and self.spec.kind in ("grid", "layers", "image"):
            x = torch.where(x < self.spec.threshold, 0.0, x)
        done = Batch(x, known, {**batch.event, **given}, batch.mask)
        self.spec.validate(done)
        return done

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode for the duration of a block."""
        before = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(before)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes the file self-contained: spec, configuration, trained range, provenance,
        format version.
        """
        checkpoint["simulacra"] = {
            **self.record.to_dict(),
            "spec": self.spec.to_dict(),
            "given": list(self.given),
        }

    def compile_nets(self) -> None:
        """Compile every sub-network in place; names in the state dict stay as they are."""
        for name, child in self.named_children():
            if name != "transform":
                child.compile()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the losses on validation events with noise that is the same at every epoch."""
        generator = torch.Generator(device=self.device).manual_seed(batch_idx)
        latent = self.encode(batch, generator)
        losses = {
            name: objective.loss(latent, generator) for name, objective in self.objectives().items()
        }
        prefix = "" if len(losses) == 1 else "{}/"
        for name, values in losses.items():
            logs = {
                f"val/{prefix.format(name)}{key}": value.detach() for key, value in values.items()
            }
            self.log_dict(logs, batch_size=len(batch), sync_dist=True)
        return next(iter(losses.values()))["loss"].detach()
