"""Memory that runs out, trainings that diverge, solvers without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from faults.case import Case, Ended, Job, Place, command, refused
from faults.families.disks import jobs
from faults.stock import MODELS, train

MEGABYTE = 2**20
ROOM = (5, 20, 50, 100, 200, 400)
"""Megabytes beyond those of a process that has imported everything."""


def memory() -> Iterator[Case]:
    """Too little memory."""
    for name in (
        "sample",
        "sample_jets",
        "apply",
        "evaluate",
        "scan",
        "train",
        "compare",
        "benchmark",
        "resume",
    ):
        for room in ROOM[:: 1 if name in ("sample", "train", "evaluate") else 2]:
            yield Case(f"{name}-{room}", "memory", f"{name}: {room} MB of memory", _in(name, room))
    requests = {
        "batch": ("n=100000000", "batch_size=100000000"),
        "events": ("n=1000000000000", "batch_size=1000000000000"),
        "batch_too_large_for_numbers": ("n=10", "batch_size=1000000000000000000000"),
    }
    for name, asked in requests.items():
        yield Case(
            f"sample-{name}", "memory", f"sample: {' '.join(asked)}",
            lambda place, asked=asked: replace(
                command("sample", f"checkpoint={place.stock.checkpoint()}", "output=g.hdf5", *asked),
                memory=600 * MEGABYTE
            ),
        )  # fmt: skip


def _in(name: str, room: int) -> Callable[[Place], Job]:
    def make(place: Place) -> Job:
        job = jobs(place)[name]
        if name == "resume":
            place.stock.copied_run(place.work / "run")
        return replace(job, memory=room * MEGABYTE)

    return make


DIVERGING = {
    **MODELS,
    "realnvp": ("data=ds1_photons", "model=realnvp"),
    "caloflow_teacher": ("data=ds1_photons", "model=caloflow_teacher"),
    "pc_jedi": ("data=jetnet30", "model=pc_jedi"),
    "mpgan": ("data=jetnet30", "model=mpgan"),
    "table_fm": ("data=table", "model=table_fm"),
    "epic_fm_cloud": ("data=ds1_photons", "model=epic_fm", "data.view=cloud"),
    "fpcd": ("data=jetnet30", "model=fpcd"),
}


def diverging() -> Iterator[Case]:
    """Learning rates at which a training diverges."""
    for name, chosen in DIVERGING.items():
        rates = ("1e30", "1e300") if name in MODELS else ("1e30",)
        for rate in rates:
            yield Case(
                f"{name}-{rate}", "diverging", f"{name}: rates of {rate}",
                lambda place, chosen=chosen, rate=rate: _fast(chosen, rate), finite,
            )  # fmt: skip


def _fast(chosen: tuple[str, ...], rate: str) -> Job:
    rate = f"model.optim.optimizer.lr={rate}"
    return train(*chosen, "trainer.max_epochs=3", "trainer.gradient_clip_val=null", rate)


def finite(place: Place, ended: Ended) -> str | None:
    """No checkpoint of a run that ended well holds a value that is no number."""
    for path in place.work.rglob("*.ckpt"):
        state = torch.load(path, weights_only=True)["state_dict"]
        odd = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
        if odd:
            return f"{path.name} holds values that are no numbers in {odd[0]}"
    return None


SOLVERS = (
    ("solver=dormand_prince", "solver.rtol=1e-12", "solver.atol=1e-12"), ("solver=dormand_prince",
    "solver.rtol=0", "solver.atol=0"),
    ("solver=dormand_prince", "solver.rtol=-1"), ("solver=dormand_prince", "solver.rtol=nan"),
    ("solver=dormand_prince", "solver.rtol=text"),
    ("solver=dormand_prince", "solver.rtol=1e30", "solver.atol=1e30"), ("solver=euler", "solver.steps=0"),
    ("solver=euler", "solver.steps=-3"),
    ("solver=euler", "solver.steps=text"), ("solver=euler", "solver.steps=1.5"), ("solver=euler",
    "solver.steps=null"), ("solver=heun", "solver.steps=1"),
    ("solver=gone",), ("solver=ddim",), ("solver=ddpm",), ("solver=karras_heun",),
    ("solver=euler_maruyama",), ("solver=rk4", "solver.steps=true"),
    ("solver=midpoint", "+solver.colour=red"),
)  # fmt: skip


def solvers() -> Iterator[Case]:
    """Solvers of a flow, right and wrong."""
    for number, chosen in enumerate(SOLVERS):
        yield Case(
            f"epic_fm-{number}", "solvers", " ".join(chosen),
            lambda place, chosen=chosen: replace(
                command("sample", f"checkpoint={place.stock.checkpoint('epic_fm')}", "n=4",
                "output=j.hdf5", *chosen), seconds=120
            ),
        )  # fmt: skip
    for model in ("caloinn", "table_flow", "dctrgan"):
        yield Case(
            f"{model}-none", "solvers", f"{model} has no solver",
            lambda place, model=model: command(
                "sample", f"checkpoint={place.stock.checkpoint(model)}", "n=4", "output=g.hdf5", "solver=heun"
            ), refused,
        )  # fmt: skip


def cases() -> list[Case]:
    """All of the family."""
    return [*memory(), *diverging(), *solvers()]
