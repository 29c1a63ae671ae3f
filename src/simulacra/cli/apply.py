"""``simulacra apply``: what a module that weighs or changes events makes of a file, streamed."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from simulacra.core import UserError
from simulacra.evaluation import saved
from simulacra.evaluation.schema import Apply
from simulacra.running.apply import apply_resolved


def apply(cfg: DictConfig) -> dict[str, Any]:
    """Apply as configured (``conf/apply.yaml``).

    Returns:
        Number of events and the file; of weighted events the mean weight and the effective share
        ``(sum w)^2 / (n sum w^2)``.

    Raises:
        UserError: For a checkpoint that changes no events, or a file that cannot be read or written; then no
            part of the output is left behind.
    """
    config = saved.resolve(cfg, Apply)
    missing = [key for key in ("checkpoint", "input", "output") if config[key] is None]
    if missing:
        raise UserError(
            f"applying needs checkpoint=FILE input=FILE output=FILE, not given: {missing}"
        )
    done = apply_resolved(config)
    print(
        f"wrote {done.output}: {done.events:,} events of {done.data}, mean weight {done.mean:.3f}, "
        f"effective share {done.effective:.3f}"
    )
    return {"events": done.events, "output": str(done.output), **done.figures}
