"""A user's own study: a generator, weights for its events, and what both are worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from simulacra.core import UserError
from simulacra.studies.bench import Bench
from simulacra.studies.study import Study

SHORT = ("model/size=tiny", "trainer.max_epochs=1", "trainer.threads=1")


class ToyStudy(Study):
    """A toy generator.

    Args:
        width: Of its network.
        fails: Whether the last stage does.
        more: Further overrides of its training.
    """

    def __init__(self, width: int, fails: bool, more: Sequence[str]) -> None:
        self.width, self.fails, self.more = width, fails, more

    def run(self, bench: Bench) -> None:
        files = bench.split("split", "train", {"one": 0.5, "other": 0.25})
        asked = [f"model.width={self.width}", "trainer.max_epochs=2", "trainer.threads=1"]
        trained = bench.train("generator", "model=toy_flow", *asked, *self.more)
        made = bench.sample("made/events", trained.checkpoint, f"conditions={files['one']}")
        pair = [*bench.data_as("data.first"), *bench.data_as("data.second")]
        weigher = bench.train("weigher", "data=pair", *pair, "model=dctrgan", *SHORT)
        weighed = bench.apply("made/weighed", weigher.checkpoint, made)
        found = bench.evaluate("judged", files["other"], made)
        weights = bench.events(weighed).weight

        def mean(folder: Path) -> dict[str, float]:
            if self.fails:
                raise UserError("the last stage fails")
            (folder / "said.txt").write_text("said")
            return {"mean": float(torch.as_tensor(weights).mean())}

        null = bench.compute("mean", mean, weighed)
        bench.report("Toy", {"w1": found["w1_mean"], "w1/floor": found["w1_mean/floor"], **null})


class Counted(Study):
    """A study that computes one number.

    Args:
        number: What it finds.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def run(self, bench: Bench) -> None:
        found = bench.compute("count", lambda folder: {"number": self.number}, self.number)
        seed = bench.compute("seed", lambda folder: {"seed": bench.seed}, bench.seed)
        bench.report("Counted", {**found, **seed, "number/error": 0.5})
