"""Lightning's data parallel strategy, whose processes watch each other as in :mod:`simulacra.running.ranks`.

Lightning's own watch kills the first process, without a word, five seconds after another has ended in any
other way than well, also where both are stopping in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from simulacra.nn.gathering import gathered
from simulacra.running.ranks import Family


class Launcher(_SubprocessScriptLauncher):
    """Starts the further processes of a family.

    Args:
        strategy: Knows how many there are.
        family: Takes them up.
    """

    def __init__(self, strategy: DDPStrategy, family: Family) -> None:
        assert strategy.cluster_environment is not None
        super().__init__(strategy.cluster_environment, strategy.num_processes, strategy.num_nodes)
        self._family = family

    def launch(
        self,
        function: Callable[..., Any],
        *args: Any,
        trainer: pl.Trainer | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a function in all processes."""
        environment = self.cluster_environment
        environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not environment.creates_processes_externally:
            try:
                with self._family.starting():
                    self._call_children_scripts()
            finally:
                self._family.watch(self.procs)
        _set_num_threads_if_needed(num_processes=self.num_processes)
        try:
            return function(*args, **kwargs)
        except BaseException:
            self._family.unwatch()  # what is left to be written may take its time
            raise


class WatchedDDP(DDPStrategy):
    """Processes that are started by the first and watch each other.

    Args:
        family: The processes.
        backend: gloo, nccl or None for the device's own.
        find_unused: Whether a step leaves some parameters without a gradient.
    """

    def __init__(self, family: Family, backend: str | None, find_unused: bool) -> None:
        super().__init__(find_unused_parameters=find_unused, process_group_backend=backend)
        self._family = family

    def _configure_launcher(self) -> None:
        self._launcher = Launcher(self, self._family)

    def _setup_model(self, model: nn.Module) -> DistributedDataParallel:
        """As of the base class, which sends all buffers once; later ones only where they change."""
        made = super()._setup_model(model)
        fixed = {name for name, _ in model.named_buffers()} - gathered(model)
        made.parameters_to_ignore |= fixed
        made._assign_modules_buffers()
        return made


class CommandSignals(_SignalConnector):
    """Leaves signals to the command and to :class:`~simulacra.callbacks.interruption.Interruption`.

    Lightning's own answer to SIGTERM is an exchange between processes, from wherever the signal arrives.
    """

    def register_signal_handlers(self) -> None:
        """Register none."""
        self.received_sigterm = False
