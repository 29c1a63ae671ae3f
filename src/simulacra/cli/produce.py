"""``simulacra produce``: events from a simulator, written in a public file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from simulacra.core import UserError
from simulacra.core.instantiate import TRUSTED, instantiate
from simulacra.core.signals import Interrupted
from simulacra.deploy.production import Plan, Simulator
from simulacra.deploy.production import produce as make
from simulacra.evaluation import saved
from simulacra.evaluation.outputs import check_output
from simulacra.evaluation.schema import Produce
from simulacra.running.signals import interruptible


def produce(cfg: DictConfig) -> dict[str, Any]:
    """Produce as configured (``conf/produce.yaml``).

    Returns:
        Number of events, the file, and the mean CPU time per event [ms].

    Raises:
        UserError: For a simulator that is not installed, a detector or a particle that cannot be simulated,
            an output that is there already or cannot be written.
    """
    config = saved.resolve(cfg, Produce)
    missing = [key for key in ("n", "output") if config[key] is None]
    if missing:
        raise UserError(
            f"producing needs n=NUMBER and output=FILE, not given: {', '.join(missing)}"
        )
    simulator: Simulator = instantiate(
        config["simulator"], Simulator, TRUSTED, "simulator", asked=config
    )
    check_output(config["output"], simulator.format, config["overwrite"])
    plan = Plan(config["n"], config["chunk"], config["seed"], config["processes"])
    target = Path(config["output"])
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with interruptible(), Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("events", total=plan.n)
        try:
            notes = make(simulator, plan, target, lambda n: bar.advance(task, n))
        except Interrupted as stop:
            raise Interrupted(
                stop.number, "finished chunks are kept: the same command goes on with the others"
            ) from None
    ms = 1e3 * float(notes["simulacra_cpu_seconds"]) / plan.n
    print(
        f"wrote {target}: {plan.n:,} events of {simulator.format.spec.name}, {ms:.3g} ms of CPU each; "
        f"{simulator.acknowledgement}"
    )
    return {"events": plan.n, "output": str(target), "ms": ms}
