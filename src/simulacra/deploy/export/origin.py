"""Where an exported generator comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from simulacra.core.plain import check_plain
from simulacra.dynamics.solvers import Solver
from simulacra.evaluation.checkpoints import provenance
from simulacra.training.generative import GenerativeModule

PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors")


def origin(module: GenerativeModule, config: dict[str, Any]) -> Mapping[str, object]:
    """Entries of the sidecar: model, solver, trained ranges, provenance, licence.

    Args:
        module: The generator.
        config: Configuration of the command.
    """
    record = module.record
    ranges = {name: list(bounds) for name, bounds in record.trained_range.items()}
    return {
        "model": type(module).__name__,
        "data": module.spec.name,
        "solver": _solver(module),
        "trained_range": {name: ranges[name] for name in module.given if name in ranges},
        "licence": config["licence"] or "not stated",
        "provenance": {
            **provenance(config, ("solver", "seed", "contract", "format")),
            "packages": {name: found for name in PACKAGES if (found := _version(name))},
            "training": dict(record.provenance),
        },
    }


def _solver(module: GenerativeModule) -> object:
    """Solver of a flow or diffusion by class and settings, or None."""
    found = [
        value
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Solver)
    ]
    if not found:
        return None
    solver = found[0]
    values = asdict(solver) if is_dataclass(solver) else vars(solver)
    told = {"name": type(solver).__name__, **values}
    check_plain(told, "the solver")
    return told


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
