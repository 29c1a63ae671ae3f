"""Generated files, or events of a checkpoint, against a reference file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure as Drawing

from simulacra.core import Spec, UserError
from simulacra.data.base import EventDataModule
from simulacra.evaluation import build, saved
from simulacra.evaluation.checkpoints import data_of, draw_paths, load
from simulacra.evaluation.facts import of_evaluation
from simulacra.evaluation.files import WARN, Opened, different_conditions, open_judged
from simulacra.evaluation.publish import publish
from simulacra.evaluation.scans import Generator, drawings, matching, regions, scans
from simulacra.metrics import EvaluationResult, Evaluator
from simulacra.metrics.engine.score import Figure, Judged, NotRun
from simulacra.metrics.engine.suite import flat
from simulacra.tracking.identity import identity

GENERATED = "generated.hdf5"
"""Events that an evaluation of a checkpoint leaves in its directory."""
PROTOCOL_EVENTS = 10_000
"""Events in each file that the published protocol asks for, at least."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """What became of a generated file.

    Args:
        path: The file.
        folder: Where figures, ``metrics.json`` and the report are.
        figures: What ``metrics.json`` holds.
        notes: Remarks by key.
    """

    path: str
    folder: Path
    figures: dict[str, float]
    notes: dict[str, str]


def judge_files(config: dict[str, Any]) -> list[Judgement]:
    """Judge generated files, or events of a checkpoint, against a reference, as ``conf/evaluate.yaml`` says.

    Args:
        config: Resolved configuration that names a reference and something to judge.

    Raises:
        UserError: If a file is not what its format promises.
    """
    datamodule = build.build_data(config)
    output = Path(config["output"])
    generator, timing = None, {}
    if config["checkpoint"] is not None:
        generator, milliseconds = generate(datamodule, config, output)
        timing = {"test/time_per_event_ms": milliseconds}
        config["generated"] = str(output / GENERATED)
    members = networks(config, generator, output)
    paths = listed(config["generated"] or members[0])
    if members and len(paths) > 1:
        raise UserError("an error band is that of one model: give one generated file")
    folders = places(output, paths)
    form, most = datamodule.format, config["evaluation"]["events"]
    clean = config["evaluation"]["clean"]
    reference, true = open_judged(form, config["reference"], most, datamodule.observables, clean)
    opened, samples = dict[str, Opened](), dict[str, Judged]()
    for path in dict.fromkeys([*paths, *members]):
        opened[path], samples[path] = open_judged(form, path, most, datamodule.observables, clean)
    enough([reference, *opened.values()], config)
    judge = evaluator(true, datamodule, config)
    if generator is not None:
        judge.scores |= regions(generator, judge)
    ranked = rank(judge, {path: samples[path] for path in paths}, config)
    found: dict[str, Judgement] = {}
    for path, folder in zip(paths, folders, strict=True):
        events = samples[path]
        result = judge(events, networks=[samples[name] for name in members])
        result.notes.update(differing(form.spec, judge.reference, events))
        result.notes.update(ranked.notes(path))
        result.notes.update(remarks(reference, opened[path]))
        result.metrics.update(opened[path].cut.figures())
        count = {"test/events": float(len(events))}
        figures = {**result.metrics, **ranked.figures(path), **count, **timing}
        drawn: Callable[[], Mapping[str, Drawing]] = dict
        if generator is not None:
            scanned = scans(generator, judge.reference, config["scan"], config["seed"])
            figures |= flat(figure for item in scanned.values() for figure in item.figures.items())
            drawn = partial(drawings, scanned, judge.reference, (result.truth, named(config, path)))
        module = None if generator is None else generator.module
        facts = of_evaluation(config, module)
        write(result, figures, path, folder, config, facts, drawn)
        found[path] = Judgement(path, folder, figures, result.notes)
    return list(found.values())


def remarks(reference: Opened, generated: Opened) -> dict[str, str]:
    """Notes on what was cut of two files and what is not plausible about them, which was said before."""
    found: dict[str, str] = {}
    for side, opened in {"reference": reference, "generated": generated}.items():
        text = opened.cut.text()
        found |= {f"test/cut/{side}": text} if text else {}
        found |= {f"test/plausible/{side}/{name}": item for name, item in opened.remarks.items()}
    return found


def listed(given: str | list[str]) -> list[str]:
    """One file or several."""
    return [str(path) for path in (given if isinstance(given, list) else [given])]


def differing(spec: Spec, reference: Judged, generated: Judged) -> dict[str, str]:
    """Remarks on conditions that are distributed differently in two files, which are warnings, too."""
    found = {}
    for name, sigmas in different_conditions(spec, reference, generated).items():
        if sigmas > WARN:
            text = f"distributed differently in the two files, by {sigmas:.1f} standard deviations"
            log.warning("%s is %s: sample conditions=REFERENCE makes like events", name, text)
            found[f"test/conditions/{name}"] = text
    return found


def generate(
    datamodule: EventDataModule, config: dict[str, Any], output: Path
) -> tuple[Generator, float]:
    """Events of a checkpoint with the conditions of the reference, as a file in the output directory.

    Returns:
        What generated them, and its time per event [ms].

    Raises:
        UserError: If generated files are given too, or the checkpoint is of another data set.
    """
    if config["generated"] is not None:
        raise UserError("evaluate generated=FILE or checkpoint=FILE, not both")
    module = load(config).to(config["device"])
    own = data_of(module, {"checkpoint": config["checkpoint"], "allow": config["allow"]})
    matching(datamodule, own)
    saved_model = module.record.config["model"]
    config["model"] = {key: saved_model.get(key) for key in ("name", "size")}  # for compare
    generator = Generator(module, own, module.spec.sample_batch)
    output.mkdir(parents=True, exist_ok=True)
    most = config["evaluation"]["events"]
    milliseconds = generator.write(config["reference"], most, output / GENERATED, config["seed"])
    return generator, milliseconds


def networks(config: Mapping[str, Any], generator: Generator | None, output: Path) -> list[str]:
    """Files of several networks of one model, those that are given or that a posterior draws.

    Raises:
        UserError: If there is one only, or networks are asked of a model without a posterior.
    """
    given, draws = listed(config["ensemble"] or []), config["posterior_draws"]
    if draws is not None and (generator is None or given):
        raise UserError(
            "posterior_draws are those of a checkpoint: give checkpoint=FILE, no ensemble"
        )
    if (given and len(given) < 2) or (draws is not None and draws < 2):
        raise UserError("an error band needs at least two networks")
    if generator is None or draws is None:
        return given
    source = torch.Generator(device=generator.module.device).manual_seed(config["seed"])
    made = draw_paths(str(output / GENERATED), draws)
    for number, path in enumerate(made, start=1):
        with generator.module.one_network(source):
            generator.write(
                config["reference"],
                config["evaluation"]["events"],
                Path(path),
                config["seed"] + number,
            )
    return made


@dataclass(frozen=True)
class Ranked:
    """Log-posteriors of several samples.

    Args:
        found: By the path of the sample; nothing of a single one.
        reason: Why there are none, or None.
    """

    found: Mapping[str, Figure]
    reason: str | None = None

    def figures(self, path: str) -> dict[str, float]:
        """Entries of ``metrics.json``."""
        return flat([("log_posterior", self.found[path])]) if path in self.found else {}

    def notes(self, path: str) -> dict[str, str]:
        """Remarks on the figure, or why there is none."""
        text = self.found[path].note if path in self.found else self.reason
        return {} if text is None else {"test/log_posterior": text}


def rank(judge: Evaluator, samples: Mapping[str, Judged], config: Mapping[str, Any]) -> Ranked:
    """Which of several samples the truth looks most like."""
    posterior = build.build_posterior(config)
    if posterior is None or len(samples) < 2:
        return Ranked({})
    try:
        return Ranked(posterior(judge.reference, samples, config["seed"]))
    except NotRun as reason:
        return Ranked({}, f"not run: {reason}")


def places(output: Path, paths: Sequence[str]) -> list[Path]:
    """Directory of the results of each generated file: below ``output`` where there are several.

    Raises:
        UserError: If two files have one name.
    """
    if len(paths) == 1:
        return [output]
    names = [Path(path).stem for path in paths]
    if len(set(names)) < len(names):
        raise UserError(f"generated files need different names, got {', '.join(names)}")
    return [output / name for name in names]


def enough(samples: Sequence[Opened], config: Mapping[str, Any]) -> None:
    """The published protocol means something from 10,000 events on.

    Raises:
        UserError: If a file has less and the evaluation is not forced.
    """
    evaluation = config["evaluation"]
    for opened in samples:
        path, events = opened.path, opened.events
        few = len(events) < PROTOCOL_EVENTS
        if few and evaluation["level"] == "challenge" and not evaluation["force"]:
            raise UserError(
                f"evaluation=challenge needs {PROTOCOL_EVENTS:,} events in each file and {path} has "
                f"{len(events):,}: take evaluation=standard, or evaluation.force=true"
            )


def evaluator(
    reference: Judged, datamodule: EventDataModule, config: Mapping[str, Any]
) -> Evaluator:
    """The judge of an evaluation; floors come from ``truth``, else from ``training``."""
    form = datamodule.format
    clean = config["evaluation"]["clean"]
    given = {key: config[key] for key in ("training", "truth") if config[key]}
    seen = datamodule.observables
    known = {key: open_judged(form, path, None, seen, clean)[1] for key, path in given.items()}
    training, truth = known.get("training"), known.get("truth", known.get("training"))
    return build.build_evaluator(config, reference, seen, truth=truth, training=training)


def write(
    result: EvaluationResult,
    figures: Mapping[str, float],
    generated: str,
    folder: Path,
    config: Mapping[str, Any],
    facts: Mapping[str, str | Path],
    drawn: Callable[[], Mapping[str, Drawing]],
) -> None:
    """Leave figures, report and configuration in a directory; ``drawn`` draws figures beside the result's."""
    folder.mkdir(parents=True, exist_ok=True)
    own, name = {**config, "generated": generated}, named(config, generated)
    made = Path(generated).name if config["checkpoint"] is None else name
    title, origin = f"{made} against {Path(config['reference']).name}", provenance(own)
    publish(result, figures, own, folder, title, origin, name, facts, drawn)
    saved.save(own, folder)


def named(config: Mapping[str, Any], generated: str) -> str:
    """Name of generated events in legends: of a checkpoint its model, else the file."""
    model = config.get("model") if config["checkpoint"] is not None else None
    return str((model or {}).get("name") or Path(generated).stem)


def provenance(config: Mapping[str, Any]) -> dict[str, str]:
    """The files that were compared, and the code that did."""
    keys = ("reference", "generated", "checkpoint", "truth", "training")
    files = {key: str(config[key]) for key in keys if config[key]}
    members = {"ensemble": ", ".join(listed(config["ensemble"]))} if config["ensemble"] else {}
    return {**files, **members, **identity()}
