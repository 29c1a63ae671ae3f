"""``simulacra evaluate``: a generated file against a reference file; or one file, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from simulacra.cli import build, saved
from simulacra.cli.publish import headline, publish
from simulacra.core import Batch, UserError
from simulacra.formats.base import FileInfo, Format
from simulacra.metrics import evaluate as judge
from simulacra.tracking.identity import identity


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate as configured (``conf/evaluate.yaml``); needs no model and no training data.

    Returns:
        The figures of ``metrics.json``, or the number of events where one file is checked.

    Raises:
        UserError: If a file is not what its format promises.
    """
    config = saved.resolve(cfg)
    if config["reference"] is None:
        raise UserError(
            "evaluating needs data=NAME reference=FILE, and generated=FILE unless the file is to be checked"
        )
    datamodule = build.build_data(config)
    form = datamodule.format
    if config["generated"] is None:
        info = form.check(config["reference"])
        print(f"{info} ({datamodule.native_spec.name}, every value checked)")
        return {"events": info.n}
    evaluation = config["evaluation"]
    reference, generated = (
        load(form, config[key], evaluation["events"]) for key in ("reference", "generated")
    )
    truth = None if config["truth"] is None else load(form, config["truth"], None)
    result = judge(
        reference,
        generated,
        datamodule.observables,
        truth=truth,
        level=evaluation["level"],
        force=evaluation["force"],
        seed=config["seed"],
        scores=build.build_scores(config),
    )
    folder = Path(config["output"])
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{Path(config['generated']).name} against {Path(config['reference']).name}"
    publish(result, result.metrics, config, folder, title, provenance(config))
    print(f"wrote {folder}: {headline(result.metrics)}")
    return dict(result.metrics)


def load(form: Format, path: str, events: int | None) -> Batch:
    """The first events of a file (None: all), every value of them checked."""
    info: FileInfo = form.header(path)
    batch = form.read(path, 0, info.n if events is None else min(events, info.n))
    if not len(batch):
        raise UserError(f"{path} holds no events")
    form.spec.validate(batch)
    return batch


def provenance(config: dict[str, Any]) -> dict[str, str]:
    """The files that were compared, and the code that did."""
    files = {key: str(config[key]) for key in ("reference", "generated", "truth") if config[key]}
    return {**files, **identity()}
