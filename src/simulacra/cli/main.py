"""The console script: ``simulacra COMMAND key=value ...``."""

from __future__ import annotations

import importlib
import logging
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import Any

from simulacra import __version__
from simulacra.core.collecting import settled, uncollected
from simulacra.core.pages import keep_pages
from simulacra.running.ranks import First
from simulacra.running.signals import interruptible, starting

COMMANDS = {
    "train": "fit a model to a data set, then test it",
    "sample": "generate events from a checkpoint into a public file format",
    "merge": "the shards of a file (sample shard=3/16) as that file",
    "apply": "weights, or changed events, for a file by a checkpoint that weighs or changes events",
    "evaluate": "compare a generated file with a reference, or check one file",
    "study": "a chain of trainings with its closure and null tests, resumable by stage",
    "benchmark": "time per event, parameters and memory of a generator, against Geant4",
    "export": "a generator as one file for other programs: ONNX, TorchScript, pt2",
    "publish": "a light checkpoint of a finished run with a model card, for others",
    "compare": "one table and page over runs: quality, time, size, Pareto front",
    "produce": "simulate events with Geant4 or Pythia in a public file format",
    "simulate": "full and fast simulation of the same particles in Geant4, compared",
    "check": "what a file of events, a checkpoint or an exported generator holds",
    "download": "public files of a data set, with checksums; resumable",
    "reproduce": "run a finished training again and compare the weights",
}
"""A command is the function of its name in the module of its name, and the file of its name in ``conf``."""

HELP = ("--help", "-h", "help")


class Task:
    """What Hydra runs for a command; can be pickled, since launchers send it to other processes.

    Args:
        command: Name of the command.
        flags: Options of the command line that are no overrides.
        full_error: Whether the user asked for tracebacks.
        typed: What the user typed after the command.
    """

    def __init__(
        self, command: str, flags: Sequence[str], full_error: bool, typed: Sequence[str] = ()
    ) -> None:
        self.command, self.flags, self.full_error = command, tuple(flags), full_error
        self.typed = (command, *typed)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process: names of folders are made there."""
        from simulacra.evaluation import config
        from simulacra.evaluation.overrides import taken

        self.__dict__ |= state
        config.register()
        config.vary(taken(self.typed[1:], self.command))

    def __call__(self, cfg: Any) -> float | None:
        """Run one job; returns what a sweeper optimises."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from simulacra.cli import errors, failures, sweep
        from simulacra.evaluation import config
        from simulacra.running import distributed
        from simulacra.tracking.identity import typed

        config.register()
        if distributed.is_child():
            logging.getLogger().setLevel(logging.ERROR)
        sweep.set_group(cfg)
        several = HydraConfig.get().mode == RunMode.MULTIRUN and not self.full_error
        with (
            typed(self.typed),
            errors.as_asked(self.full_error),
            failures.as_failed_job() if several else errors.job_errors(self.full_error),
            distributed.job(self.command, self.flags),
        ):
            asked = command(self.command)
            settled()
            keep_pages()
            return sweep.objective(cfg, asked(cfg))
        return None


def command(name: str) -> Callable[[Any], dict[str, Any]]:
    """The function behind a command."""
    function: Callable[[Any], dict[str, Any]] = getattr(
        importlib.import_module(f"simulacra.cli.{name}"), name
    )
    return function


def overview() -> str:
    """Commands, models and data sets."""
    from simulacra.evaluation import config

    rows = [f"  {name:<11}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            f"simulacra {__version__}: generative models of particle detectors and collisions",
            "",
            "simulacra COMMAND [key=value ...]      simulacra COMMAND --help shows what can be set",
            "",
            *rows,
            "",
            f"models     {', '.join(config.choices('model'))}",
            f"data sets  {', '.join(config.choices('data'))}",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    first = First.of_this_process()
    if first is not None:
        first.watch()
    with starting(), uncollected():
        _main(list(sys.argv[1:] if argv is None else argv))


def _main(arguments: list[str]) -> None:
    """Answer what needs no command in a fraction of a second, with neither Hydra nor torch."""
    first = arguments[0] if arguments else "--help"
    if first == "--version":
        print(f"simulacra {__version__}")
        return
    if first not in (*HELP, "-sc", *COMMANDS):
        from simulacra.cli.suggest import closest

        meant = closest(first, COMMANDS) or f": there are {', '.join(COMMANDS)}"
        print(f"simulacra: there is no command {first!r}{meant}", file=sys.stderr)
        raise SystemExit(1)

    from simulacra.cli import errors
    from simulacra.core import light

    light.install()
    with errors.one_sentence() as full_error, interruptible():
        if first == "-sc":
            from simulacra.cli import completion

            print(completion.answer(arguments[1:], list(COMMANDS)))
        elif first in HELP and not arguments[1:]:
            print(overview())
        elif first in HELP or any(item in HELP for item in arguments[1:]):
            print(told([item for item in arguments if item not in HELP]))
        else:
            run(first, arguments[1:], full_error)


def told(arguments: list[str]) -> str:
    """What ``COMMAND --help [TOPIC ...]`` says."""
    from simulacra.cli import help as help_
    from simulacra.core import UserError

    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"there is no command {name!r}: there are {', '.join(COMMANDS)}")
    added = flags(rest)
    words = [item for item in rest if not item.startswith("-") and item not in added]
    topics = [item for item in words if "=" not in item]
    return help_.text(name, [item for item in words if "=" in item], topics, added[1:])


def run(name: str, arguments: list[str], full_error: bool) -> None:
    """Compose the configuration of a command with Hydra and run its jobs."""
    import hydra

    from simulacra.cli import failures
    from simulacra.evaluation import config
    from simulacra.evaluation.overrides import taken

    config.register()
    task = Task(name, flags(arguments), full_error, arguments)
    before = sys.argv
    chosen = config.without_nothing(taken(arguments, name), name)
    config.vary(chosen)
    sys.argv = [before[0], *chosen, *in_place(arguments)]
    conf = str(config.folder("conf"))
    try:
        with failures.told():
            hydra.main(version_base="1.3", config_path=conf, config_name=name)(task)()
    finally:
        sys.argv = before


def flags(arguments: Sequence[str]) -> list[str]:
    """The options by which a command line adds configuration folders; other ranks need them too.

    Raises:
        UserError: If an option has a value that it does not take.
    """
    from hydra._internal.utils import get_args_parser

    from simulacra.core import UserError

    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        known, _ = parser.parse_known_args(list(arguments))
    except ArgumentError as error:
        raise UserError(f"{error}") from None
    return ["--config-dir", known.config_dir] if known.config_dir else []


def in_place(arguments: Sequence[str]) -> list[str]:
    """``resume=DIR`` goes on in that directory and leaves the configuration that lies there as it is."""
    from simulacra.evaluation.overrides import quoted, value_of

    run = value_of(arguments, "resume")
    return [] if run is None else [f"hydra.run.dir={quoted(run)}", "hydra.output_subdir=null"]
