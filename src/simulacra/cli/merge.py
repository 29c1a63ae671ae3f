"""``simulacra merge``: the shards of a file as that file."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from simulacra.core import UserError
from simulacra.evaluation import saved
from simulacra.evaluation.schema import Merge
from simulacra.running.merge import merge_resolved


def merge(cfg: DictConfig) -> dict[str, Any]:
    """Join as configured (``conf/merge.yaml``).

    Returns:
        Number of events and the file.

    Raises:
        UserError: If shards are missing or do not belong together, or the output is there already.
    """
    config = saved.resolve(cfg, Merge)
    if config["output"] is None:
        raise UserError("merging needs output=FILE, the name that was given for all shards")
    done = merge_resolved(config)
    print(f"wrote {done.output}: {done.events:,} events of {done.data}")
    return {"events": done.events, "output": done.output}
