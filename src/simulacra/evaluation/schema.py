"""What the keys of each command must be: types and ranges of all that no constructor takes.

Keys of ``data``, ``model``, ``callbacks``, ``logger`` and the scores are typed by the constructors that they
reach.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import torch

from simulacra.core.ranges import (
    Count,
    Interval,
    MisfitError,
    NotNegative,
    PathName,
    Positive,
    Share,
    Whole,
)
from simulacra.core.typed import LARGEST
from simulacra.evaluation.shards import Shard


@dataclass(frozen=True)
class OnDevice:
    """A device of torch that is there."""

    def text(self, noun: str, plural: bool) -> str:
        """The names of devices."""
        return "cpu, cuda, cuda:NUMBER or mps"

    def __call__(self, value: str) -> str:
        """The name, if the device is there."""
        if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", value):
            raise MisfitError
        if value.startswith("cuda") and (torch.device(value).index or 0) >= _cards():
            raise MisfitError(f"torch sees {_cards()} cards")
        if value == "mps" and not torch.backends.mps.is_available():
            raise MisfitError("torch sees no such device")
        return value


@dataclass(frozen=True)
class AsShard:
    """A part of a file."""

    def text(self, noun: str, plural: bool) -> str:
        """How it is written."""
        return "NUMBER/OF, e.g. 3/16, the third of sixteen"

    def __call__(self, value: str) -> str:
        """The text, if there is such a part."""
        try:
            return str(Shard.read(value))
        except ValueError as error:
            raise MisfitError from error


def _cards() -> int:
    return torch.cuda.device_count()


Device = Annotated[str, OnDevice()]
Seed = Annotated[int, Interval(0, LARGEST)]
NumpySeed = Annotated[int, Interval(0, 2**32 - 1)]
"""A seed that numpy and scikit-learn take, too."""
Names = Sequence[str]
Files = PathName | Sequence[PathName]
End = Literal[-1] | Count | None
"""Epochs or steps until training ends; -1 or None: no bound."""


class Paths(TypedDict):
    """``conf/paths``."""

    outputs: PathName
    run: PathName


class Trainer(TypedDict):
    """``conf/trainer``."""

    accelerator: str
    devices: Literal[-1, "auto"] | Count | Sequence[Whole]
    num_nodes: Count
    strategy: Literal["auto", "ddp", "fsdp2"]
    backend: Literal["gloo", "nccl", "mpi"] | None
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    max_epochs: End
    max_steps: End
    gradient_clip_val: Positive | None
    skip_nonfinite: Whole
    accumulate_grad_batches: Count
    check_val_every_n_epoch: Count
    limit_train_batches: Annotated[float, Interval(0, 1, above=True)] | Count
    limit_val_batches: Share | Whole
    log_every_n_steps: Count
    num_sanity_val_steps: Literal[-1] | Whole
    deterministic: bool | Literal["warn"]
    enable_progress_bar: bool
    enable_model_summary: bool
    compile: bool
    channels_last: bool
    recompute: bool
    threads: Count | None
    profiler: Literal["simple", "advanced", "pytorch"] | None


class Evaluation(TypedDict):
    """``conf/evaluation``."""

    level: Literal["quick", "standard", "challenge"]
    events: Annotated[int, Interval(2)] | None
    replicas: Whole
    conditional: bool
    trainings: Count
    force: bool
    clean: bool
    draw: bool


class Figures(TypedDict):
    """``conf/figures``."""

    formats: Sequence[Literal["pdf", "png", "svg"]]
    panels: bool
    style: Literal["plain", "cms", "atlas"]
    label: str | None
    dpi: Annotated[int, Interval(30, 1200)]


class Scanned(TypedDict):
    """``scan`` of ``conf/evaluate.yaml``."""

    events: Count
    points: Count
    beyond: NotNegative


class Init(TypedDict):
    """``init`` of ``conf/train.yaml``."""

    checkpoint: PathName | None
    parts: Sequence[Literal["backbone", "embedders", "head"]] | None
    statistics: bool


class Train(TypedDict):
    """``conf/train.yaml``."""

    trainer: Trainer
    evaluation: Evaluation
    figures: Figures
    paths: Paths
    seed: NumpySeed
    resume: PathName | None
    init: Init
    allow: Names
    sweep: str
    tags: Names
    objective: str | None
    curve: str | None
    columns: Names


class Study(TypedDict):
    """``conf/study.yaml``."""

    trainer: Trainer
    evaluation: Evaluation
    figures: Figures
    paths: Paths
    seed: NumpySeed
    resume: PathName | None
    device: Device
    allow: Names
    sweep: str
    tags: Names
    objective: str | None
    curve: str | None
    columns: Names


class Sample(TypedDict):
    """``conf/sample.yaml``."""

    checkpoint: PathName | None
    output: PathName | None
    n: Count | None
    conditions: PathName | dict[str, Any] | None
    overwrite: bool
    batch_size: Count | None
    posterior_draws: Count | None
    shard: Annotated[str, AsShard()] | None
    redraw: Whole
    seed: Seed
    device: Device
    compile: bool
    graph: bool
    allow: Names


class Merge(TypedDict):
    """``conf/merge.yaml``."""

    output: PathName | None
    overwrite: bool
    remove: bool
    seed: Seed


class Produce(TypedDict):
    """``conf/produce.yaml``."""

    n: Count | None
    output: PathName | None
    overwrite: bool
    particle: str | None
    seed: Seed
    processes: Count
    chunk: Count


class Simulate(TypedDict):
    """``conf/simulate.yaml``."""

    figures: Figures
    checkpoint: PathName | None
    output: PathName | None
    overwrite: bool
    n: Count
    most: Count
    particle: str | None
    primaries: PathName | None
    particles: Names | None
    threshold: NotNegative
    every: Count
    noise: NotNegative
    cut: NotNegative
    physics: str
    production_cut: Positive
    seed: Seed
    threads: Count
    allow: Names
    paths: Paths


class Apply(TypedDict):
    """``conf/apply.yaml``."""

    checkpoint: PathName | None
    input: PathName | None
    output: PathName | None
    overwrite: bool
    batch_size: Count | None
    seed: Seed
    device: Device
    allow: Names


class Evaluate(TypedDict):
    """``conf/evaluate.yaml``."""

    evaluation: Evaluation
    figures: Figures
    reference: PathName | None
    generated: Files | None
    ensemble: Files | None
    checkpoint: PathName | None
    posterior_draws: Count | None
    truth: PathName | None
    training: PathName | None
    output: PathName
    overwrite: bool
    paths: Paths
    seed: NumpySeed
    device: Device
    allow: Names
    scan: Scanned


class Benchmark(TypedDict):
    """``conf/benchmark.yaml``."""

    checkpoint: PathName | None
    batch_sizes: Sequence[Count]
    repeats: Count
    events: Count | None
    seconds: Positive
    gib: Positive
    device: Device
    compile: bool
    graph: bool
    threads: Count | None
    output: PathName | None
    paths: Paths
    seed: NumpySeed
    allow: Names


class Export(TypedDict):
    """``conf/export.yaml``."""

    checkpoint: PathName | None
    output: PathName | None
    overwrite: bool
    format: Literal["onnx", "torchscript", "pt2", "aoti", "safetensors"]
    contract: Literal["plain", "par04", "ddml", "fastcalosim"]
    seed: Seed
    licence: str | None
    allow: Names


class Publish(TypedDict):
    """``conf/publish.yaml``."""

    run: PathName | None
    output: PathName
    name: str | None
    events: str | None
    licence: str | None
    overwrite: bool
    allow: Names


class Compare(TypedDict):
    """``conf/compare.yaml``."""

    figures: Figures
    runs: Files | None
    published: str | None
    output: PathName
    paths: Paths


class Check(TypedDict):
    """``conf/check.yaml``."""

    file: PathName | None
    output: PathName | None
    overwrite: bool
    events: Count
    clean: bool
    models: bool
    allow: Names
    seed: Seed


class Servers(TypedDict):
    """``servers`` of ``conf/download.yaml``."""

    zenodo: str
    mendeley: str


class Download(TypedDict):
    """``conf/download.yaml``."""

    files: Names | None
    dry: bool
    servers: Servers
    timeout: Positive
    retries: Whole
    seed: Seed


class Reproduce(TypedDict):
    """``conf/reproduce.yaml``."""

    run: PathName | None
    overrides: Names
    allow: Names
    paths: Paths
