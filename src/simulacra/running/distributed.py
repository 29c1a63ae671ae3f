"""Several processes per job, also inside a multirun.

Lightning starts the other ranks by running the command line again. In a multirun that line names the whole
sweep, so it is pinned to the overrides of the present job, in Hydra's single-run mode and in the job's own
directory. What one job leaves in the environment would be taken by the next job for its own rank: it is
removed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict, read_write

from simulacra.core import UserError
from simulacra.running.ranks import Family, First

VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


def is_child() -> bool:
    """Whether this process is a further rank, started by Lightning or by the batch system."""
    return any(
        int(os.environ.get(name, "0")) > 0 for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    )


def lost_rank(error: RuntimeError) -> bool:
    """Whether an exchange between processes has failed since one of them is gone; gloo has no type of its own
    for that.
    """
    from torch.distributed import DistError

    return isinstance(error, DistError) or "/gloo/transport/" in str(error)


class LostRankError(UserError):
    """A training has ended since another of its processes has died."""


@contextmanager
def together(family: Family) -> Iterator[None]:
    """Around all that the processes of a training do together: none of them is left over.

    Raises:
        LostRankError: If an exchange has failed since one of them is gone.
    """
    success = False
    try:
        yield
        success = True
    except RuntimeError as error:
        if not lost_rank(error):
            raise
        raise LostRankError(family.lost()) from error
    finally:
        family.end(success)


def spoken_for(error: BaseException, text: str) -> bool:
    """Whether another process says why this one ends, or is told by it."""
    first = First.of_this_process()
    if first is None:
        return False
    if not isinstance(error, LostRankError) or first.died():
        first.tell(text)
    return True


def end_group() -> None:
    """Leave the process group, where the job was in one."""
    if "torch" not in sys.modules:  # without it there is none
        return
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def job(command: str, flags: Sequence[str]) -> Iterator[None]:
    """Pin the command line to the present Hydra job, and leave no trace of its ranks.

    Args:
        command: The command that runs.
        flags: Options of the command line that are no overrides, e.g. ``--config-dir``.
    """
    child = is_child()
    before = {name: os.environ.get(name) for name in VARIABLES}
    argv = sys.argv
    config: Any = HydraConfig.get()
    sys.argv = [argv[0], command, *flags, *config.overrides.task, "hydra.mode=RUN"]
    with read_write(config), open_dict(config):
        config.run.dir = config.runtime.output_dir
    try:
        yield
    finally:
        sys.argv = argv
        end_group()
        if not child:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
