"""Lightning's data parallel strategy, whose processes watch each other as in :mod:`simulacra.running.ranks`.

Lightning's own watch kills the first process, without a word, five seconds after another has ended in any
other way than well, also where both are stopping in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from pytorch_lightning.trainer.connectors.signal_connector import _SignalConnector
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from simulacra.core import UserError
from simulacra.nn import sharding
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


class WatchedShards(WatchedDDP):
    """As :class:`WatchedDDP`, but each process keeps a part of the weights (:mod:`simulacra.nn.sharding`).

    Checkpoints are those of one process. Weights are whole in validations.

    Args:
        family: The processes.
        backend: gloo, nccl or None for the device's own.
    """

    def __init__(self, family: Family, backend: str | None) -> None:
        super().__init__(family, backend, find_unused=False)

    def configure_ddp(self) -> None:
        """Take the module apart; it is not wrapped."""
        assert self.model is not None
        refused = gathered(self.model)
        if refused:
            raise UserError(
                f"trainer.strategy=fsdp2 keeps no statistics alike on all processes, and the model gathers "
                f"{len(refused)}, the first is {min(refused)!r}: set trainer.strategy=ddp"
            )
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        sharding.shard(self.model, mesh, "training_step")

    def on_validation_start(self) -> None:
        """Weights are whole, so that each process samples as many events as it likes."""
        assert self.model is not None
        sharding.put_together(self.model)

    def on_validation_end(self) -> None:
        """They are in parts again."""
        assert self.model is not None
        sharding.take_apart(self.model)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """That of the whole module, on the first process."""
        assert self.model is not None
        return sharding.state(self.model)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """As of one process, on the first."""
        assert self.model is not None
        return sharding.optimizer_state(self.model, optimizer)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """From a checkpoint of any number of processes."""
        assert self.model is not None
        for optimizer, found in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            sharding.load_optimizer_state(self.model, optimizer, found)


class CommandSignals(_SignalConnector):
    """Leaves signals to the command and to :class:`~simulacra.callbacks.interruption.Interruption`.

    Lightning's own answer to SIGTERM is an exchange between processes, from wherever the signal arrives.
    """

    def register_signal_handlers(self) -> None:
        """Register none."""
        self.received_sigterm = False
