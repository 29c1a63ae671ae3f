"""Models whose generated events are calibrated against true ones whenever they are validated."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace

import torch

from simulacra.training.generative import GenerativeModule
from simulacra.transforms.calibration import Calibration

REDRAWS = 10
"""Rounds in which events that are not finite are drawn again, as they may be early in a training."""


class Calibrated(GenerativeModule):
    """A generative module with a calibration that travels in its checkpoint."""

    @property
    @abstractmethod
    def calibration(self) -> Calibration:
        """What is fitted to the events that the present weights generate."""

    def calibrate(self) -> None:
        """Fit the calibration to events of the present weights, uncalibrated ones first."""
        self.calibration.forget()
        cond, weight = self.calibration.conditions().to("cpu"), self.calibration.weights
        for share in self.calibration.rounds:
            n = math.ceil(share * len(cond))
            generator = torch.Generator(device=self.device).manual_seed(0)
            made = self.sample(cond[:n], generator=generator, redraw=REDRAWS)
            self.calibration.fit_generated(
                replace(made, weight=None if weight is None else weight[:n].cpu())
            )

    def on_validation_epoch_start(self) -> None:
        """Calibrate the weights that are validated and saved."""
        if self.calibration.events > 0:
            self.calibrate()
