"""What physicists look at, while training: observables of generated events against the validation events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytorch_lightning as pl

from simulacra.callbacks.judge import ValidationJudge
from simulacra.callbacks.look import Pair, data_of, with_networks
from simulacra.core.constructors import writes
from simulacra.core.ranges import Count, Whole
from simulacra.metrics import EvaluationResult, Evaluator
from simulacra.metrics.engine.score import Score
from simulacra.plotting import figures
from simulacra.tracking.base import trackers
from simulacra.tracking.draw import save
from simulacra.training.module import Module

AT_LOOKS = frozenset({"observables_1", "response"})
"""Figures that are drawn at every look; the others, which take most of its time, only of the last one."""


@writes("folder")
class PhysicsValidation(ValidationJudge):
    """Logs ``val/w1_mean``, ``val/w1/<observable>``, ``val/separation/<observable>`` and draws the figures.

    At a look these are the first page of observables and the response; the others show the last look when
    training ends. Scores log what they are called, e.g. ``val/chi2``, and their floors beside it.

    Args:
        every: Validations between two looks.
        events: Validation events at most.
        seed: Seed of the noise.
        folder: Where the figures go.
        draw: Whether to draw figures.
        posterior_draws: Networks, at least two, that a module with a posterior draws for an error band on
            each histogram; 0: none.
        scores: Figures beside those of the observables, by name; one that these events do not allow is left
            out.
    """

    def __init__(
        self,
        every: Count,
        events: Count,
        seed: Whole,
        folder: str,
        draw: bool,
        posterior_draws: Whole = 0,
        scores: Mapping[str, Score] | None = None,
    ) -> None:
        super().__init__(every, events, seed)
        self.posterior_draws = posterior_draws
        self.folder, self.draw = Path(folder), draw
        self.scores = scores or {}
        self._evaluator: Evaluator | None = None
        self._shown: tuple[EvaluationResult, int] | None = None

    def look(self, trainer: pl.Trainer, module: Module) -> Pair | None:
        """Validation events, also of networks drawn from a posterior."""
        found = super().look(trainer, module)
        if not (self.posterior_draws and module.has_posterior):
            return found
        return with_networks(found, trainer, module, self.events, self.seed, self.posterior_draws)

    def judge(self, trainer: pl.Trainer, found: Pair) -> dict[str, float]:
        """Distances of the observables; the figures on the way."""
        if self._evaluator is None:
            self._evaluator = Evaluator(
                found.truth, data_of(trainer).judged, seed=self.seed, scores=self.scores
            )
        result = self._evaluator(found.generated, "val/", found.networks)
        if self.draw:
            self._shown = result, trainer.global_step
            self._draw(trainer, AT_LOOKS.__contains__)
        return {key: value for key, value in result.metrics.items() if self._logged(key)}

    def _logged(self, key: str) -> bool:
        """Whether a figure is logged: errors are not, floors are those of scores alone."""
        if key.endswith(("/error", "/z")):
            return False
        return not key.endswith("/floor") or key.split("/")[1] in self.scores

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the other figures of the last look."""
        self._draw(trainer, lambda name: name not in AT_LOOKS)
        self._shown = None

    def _draw(self, trainer: pl.Trainer, pages: Callable[[str], bool]) -> None:
        """Draw figures of the latest look on this rank, if there was one."""
        if self._shown is None:
            return
        assert isinstance(trainer.lightning_module, Module)
        result, step = self._shown
        model = str(
            trainer.lightning_module.record.config.get("model", {}).get("name", "generated")
        )
        for name, path in save(
            figures(result, model, chosen_pages=pages), self.folder, "val_"
        ).items():
            for tracker in trackers(trainer.loggers):
                tracker.image(f"figures/val/{name}", path, step)
