"""``simulacra sample``: events from a checkpoint, streamed into the public file format of its data set."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from simulacra.core import UserError
from simulacra.evaluation import saved
from simulacra.evaluation.conditions import PRIOR
from simulacra.evaluation.schema import Sample
from simulacra.running.sample import sample_resolved


def sample(cfg: DictConfig) -> dict[str, Any]:
    """Generate as configured (``conf/sample.yaml``).

    Returns:
        Number of events of each file and the file, or with ``posterior_draws`` the files, one per network.

    Raises:
        UserError: For a number of events or a batch size below 1, more shards than batches, a checkpoint or
            a file of conditions that cannot be used, an output that is there already, a disk that is full;
            then no part of the output is left behind.
    """
    config = saved.resolve(cfg, Sample)
    if config["output"] is None or config["checkpoint"] is None:
        raise UserError("sampling needs checkpoint=FILE and output=FILE")
    if config["n"] is None and config["conditions"] in (None, PRIOR):
        raise UserError("sampling needs n=NUMBER or conditions=FILE")
    if config["n"] is None and config["shard"] is not None:
        raise UserError("a shard needs n=NUMBER, that of the events of all shards")
    done = []
    for file in sample_resolved(config):
        print(f"wrote {file.output}: {file.events:,} events of {file.data}")
        done.append(file)
    paths = [file.output for file in done]
    whole = paths[0] if config["posterior_draws"] is None else paths
    return {"events": done[-1].events, "output": whole}
