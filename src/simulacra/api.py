"""What a notebook needs: a data set, a trained model, an evaluation, by name and in memory.

The functions are those of the package itself: ``simulacra.dataset``, ``simulacra.load``,
``simulacra.evaluate``, ``simulacra.anomaly_score``; figures of plain samples are in
:mod:`simulacra.metrics`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from simulacra import data as datasets
from simulacra.core import Batch, Conditions, Spec, UserError
from simulacra.core.numbers import numbers
from simulacra.data.base import EventDataModule
from simulacra.evaluation import anomaly, build, saved, schema
from simulacra.evaluation import config as tree
from simulacra.evaluation.composing import in_one_sentence
from simulacra.evaluation.cut import Cut
from simulacra.evaluation.files import Opened, checked, open_judged
from simulacra.evaluation.judge_files import differing, enough, remarks
from simulacra.metrics import EvaluationResult
from simulacra.metrics.engine.score import Judged
from simulacra.tasks import folds
from simulacra.training.generative import GenerativeModule
from simulacra.training.module import Module

Sample = Batch | Mapping[str, Any] | str | os.PathLike[str]
"""Events: a batch, arrays by name as :meth:`Batch.numpy` gives them, or a file of the data set's format."""


def dataset(name: str, overrides: Sequence[str] = (), **settings: object) -> EventDataModule:
    """A data set, ready to be used; files are opened when events are asked for.

    Without files of its own, ``ds1_photons`` and some others come with an embedded sample.

    Args:
        name: A file of ``conf/data``, e.g. ``ds1_photons``.
        overrides: Changes as on the command line, e.g. ``["batch_size=64", "files.train=[a.hdf5]"]``.
        settings: Changes by keyword: ``root="/data"``, ``view="cloud"``, ``limit=1000``.

    Returns:
        A Lightning data module with ``batch(n)``, ``spec``, ``observables``, ``format`` and loaders.

    Raises:
        UserError: If there is no such data set, setting or view.

    Examples:
        >>> import simulacra
        >>> data = simulacra.dataset("ds1_photons", limit=100)
        >>> data.batch(4).x.shape
        torch.Size([4, 368])
        >>> data.sizes()["train"]
        100
    """
    return datasets.build(_data_config(name, overrides, settings))


def load(path: str | Path, *, allow: tuple[str, ...] = ()) -> Module:
    """A trained model, ready to be used, from its checkpoint alone; nothing in the file is run.

    Args:
        path: Checkpoint file, e.g. ``RUN/checkpoints/best.ckpt``, ``zoo:NAME`` for one that comes with the
            package (``simulacra check zoo:`` lists them), or a YAML file that says which checkpoint
            serves which conditions (:mod:`simulacra.training.served`).
        allow: Packages outside simulacra whose classes the checkpoint may name, for models of one's own.

    Returns:
        The module; a generator has :meth:`~simulacra.training.generative.GenerativeModule.sample`.

    Raises:
        UserError: If the file is no checkpoint of this version, or names what it may not.

    Examples:
        >>> import simulacra
        >>> model = simulacra.load("best.ckpt")
        >>> batch = model.sample(5, incident_energy=1024.0, seed=1)
        >>> batch.cond["incident_energy"][:, 0].tolist()
        [1024.0, 1024.0, 1024.0, 1024.0, 1024.0]
    """
    return folds.load(path, allow=allow)


def evaluate(
    reference: Sample,
    generated: Sample,
    data: str | EventDataModule,
    *,
    evaluation: str = "standard",
    truth: Sample | None = None,
    training: Sample | None = None,
    seed: int = 0,
    overrides: Sequence[str] = (),
) -> EvaluationResult:
    """Judge generated events against true ones, with errors and floors, as the command ``evaluate`` does.

    Args:
        reference: True events in native form.
        generated: Generated events in native form; best with the conditions of the true ones.
        data: The data set that they belong to, or its name.
        evaluation: ``quick``, ``standard`` or ``challenge``.
        truth: Independent true events for the floors, or None: the training events, else halves of the
            reference.
        training: Events that the generator was trained on, where copies of them are looked for.
        seed: Seed of bootstrap, folds and networks.
        overrides: Changes of the evaluation as on the command line, e.g. ``["evaluation.events=1000"]``.

    Returns:
        All figures (``metrics``), remarks (``notes``) and what is needed to draw them.

    Raises:
        UserError: If events are not what the data set promises, or arrays lack some of them.

    Examples:
        >>> import simulacra
        >>> data = simulacra.dataset("ds1_photons")
        >>> truth = data.batch(200, "test")
        >>> found = simulacra.evaluate(truth, data.batch(200), data, evaluation="quick")
        >>> 0.3 < found.metrics["test/classifier/boosted/auc"] < 0.7
        True
    """
    datamodule = dataset(data) if isinstance(data, str) else data
    if not isinstance(datamodule, EventDataModule):
        raise UserError(
            f"data is the name of a data set or a data set, got {type(data).__name__}: "
            f"there are {', '.join(tree.choices('data'))}"
        )
    config = _evaluation_config(datamodule, evaluation, seed, overrides)
    most, clean = config["evaluation"]["events"], config["evaluation"]["clean"]
    asked = {
        "reference": (reference, most),
        "generated": (generated, most),
        "truth": (truth, None),
        "training": (training, None),
    }
    events = {
        name: _events(sample, datamodule, name, limit, clean)
        for name, (sample, limit) in asked.items()
        if sample is not None
    }
    if "reference" not in events or "generated" not in events:
        raise UserError("judging needs reference and generated events, one of them is None")
    (first, true), (second, made) = events["reference"], events["generated"]
    enough([first, second], config)
    others = {name: item for name, (_, item) in events.items()}
    judge = build.build_evaluator(
        config,
        true,
        datamodule.observables,
        truth=others.get("truth", others.get("training")),
        training=others.get("training"),
    )
    result = judge(made)
    result.notes.update(differing(datamodule.format.spec, judge.reference, made))
    result.notes.update(remarks(first, second))
    result.metrics.update(second.cut.figures())
    return result


def anomaly_score(module: GenerativeModule, batch: Batch, reference: Batch | None = None) -> Tensor:
    """How unusual events are for a model with a likelihood, ``(B,)``, the higher the more; see
    :func:`simulacra.evaluation.anomaly.anomaly_score`.

    Examples:
        >>> import simulacra
        >>> model, data = simulacra.load("best.ckpt"), simulacra.dataset("ds1_photons")
        >>> simulacra.anomaly_score(model, data.batch(3)).shape
        torch.Size([3])
    """
    return anomaly.anomaly_score(module, batch, reference)


def _data_config(
    name: str, overrides: Sequence[str], settings: Mapping[str, object]
) -> dict[str, Any]:
    """The resolved configuration of a data set with changes."""
    known = tree.choices("data")
    if name not in known:
        close = difflib.get_close_matches(str(name), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        raise UserError(f"there is no data set {name!r}: {hint}")
    changes = [item if item.startswith("data.") else f"data.{item}" for item in overrides]
    whole = _composed("train", [f"data={name}", "paths.run=.", *changes])
    for key, value in settings.items():
        try:
            OmegaConf.update(whole.data, key, _plain(value), force_add=False)
        except OmegaConfBaseException as error:
            close = difflib.get_close_matches(key, map(str, whole.data), 1)
            hint = f": did you mean {close[0]!r}?" if close else ""
            reason = str(error).splitlines()[0]
            raise UserError(f"{name} does not take {key}={value!r} ({reason}){hint}") from error
    found = saved.resolve(whole, schema.Train)["data"]
    assert isinstance(found, dict)
    return found


def _plain(value: object) -> Any:
    """A setting as a configuration holds it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _composed(command: str, overrides: Sequence[str]) -> DictConfig:
    with in_one_sentence():
        return tree.compose(command, overrides)


def _evaluation_config(
    datamodule: EventDataModule, evaluation: str, seed: int, overrides: Sequence[str]
) -> dict[str, Any]:
    """As the command composes it; the scores are those of the data set, if it has a name that is known."""
    name = datamodule.native_spec.name
    asked = [f"evaluation={evaluation}", f"seed={seed}", "output=.", *overrides]
    if name in tree.choices("data"):
        return saved.resolve(_composed("evaluate", [f"data={name}", *asked]), schema.Evaluate)
    return {**saved.resolve(_composed("evaluate", asked), schema.Evaluate), "data": {"name": name}}


def _events(
    sample: Sample, datamodule: EventDataModule, name: str, most: int | None, clean: bool
) -> tuple[Opened, Judged]:
    """The first ``most`` events of a sample (None: all), cleaned as far as is allowed, and checked."""
    seen = datamodule.observables
    if isinstance(sample, (str, os.PathLike)):
        return open_judged(datamodule.format, os.fspath(sample), most, seen, clean)
    spec = datamodule.native_spec
    batch = sample if isinstance(sample, Batch) else _batch(sample, spec, name)
    if not len(batch):
        raise UserError(f"{name} holds no events")
    cut = Cut(spec, clean)
    chosen = cut.cleaning.batch(name, (batch if most is None else batch[:most]).to("cpu"))
    try:
        return checked(name, chosen, cut, seen)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _batch(arrays: Mapping[str, Any], spec: Spec, name: str) -> Batch:
    """Events of arrays by name."""
    conditions, event = ([field.name for field in group] for group in (spec.conditions, spec.event))
    needed = ["x", *conditions, *event, *(["mask"] if spec.kind == "cloud" else [])]
    if not isinstance(arrays, Mapping):
        raise UserError(
            f"{name} is a Batch, a file, or a mapping of arrays named {', '.join(needed)}, "
            f"got {type(arrays).__name__}"
        )
    missing = [key for key in needed if key not in arrays]
    unknown = [str(key) for key in arrays if key not in (*needed, "mask", "weight")]
    if missing or unknown:
        raise UserError(
            f"{name} needs arrays named {', '.join(needed)}: missing are {missing or 'none'}, "
            f"unknown are {unknown or 'none'}"
        )
    x = numbers(arrays["x"], f"{name}['x']").float()
    if not x.ndim:
        raise UserError(f"{name}['x'] is one number, expected events of shape {spec.shape}")
    classes = {field.name for field in (*spec.conditions, *spec.event) if field.classes}
    columns = {key: numbers(arrays[key], f"{name}[{key!r}]") for key in (*conditions, *event)}
    typed = {k: value.long() if k in classes else value.float() for k, value in columns.items()}
    per_event = Conditions.of(typed, len(x)).values
    mask, weight = arrays.get("mask"), arrays.get("weight")
    return Batch(
        x,
        {key: per_event[key] for key in conditions},
        {key: per_event[key] for key in event},
        None if mask is None else torch.as_tensor(mask),
        None if weight is None else numbers(weight, f"{name}['weight']").float(),
    )
