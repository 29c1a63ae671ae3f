"""Weights of which each of several processes keeps a part (FSDP2), put together where they are needed.

Every :class:`~simulacra.nn.recompute.Block` is put together when it is called, on the way back once more, and
taken apart after it; what is outside of blocks is whole for the time of a training step. So no parameter is
whole on its own, and optimizers, clipping and averages see parts of one kind. Between
:func:`put_together` and :func:`take_apart` all are whole, for sampling; both, and a state of the whole
module, are exchanges that all processes take part in.

Reference: Zhao et al. 2023, arXiv:2304.11277.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.optim import Optimizer

from simulacra.nn import derived
from simulacra.nn.recompute import Block

if TYPE_CHECKING:  # each of these takes a second, which trainings of whole weights need not spend
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FSDPModule

_meshes: WeakKeyDictionary[nn.Module, DeviceMesh] = WeakKeyDictionary()


def shard(module: nn.Module, mesh: DeviceMesh, *methods: str) -> None:
    """Leave to each process of a mesh its part of all parameters.

    Args:
        module: Any module; it is changed.
        mesh: The processes, in one dimension.
        methods: What is called in training beside ``forward``, and returns what gradients are taken of.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for part in reversed(list(module.modules())):
        if isinstance(part, Block) and part is not module:
            fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for method in methods:
        register_fsdp_forward_method(module, method)
    fully_shard.state(module)._lazy_init()  # type: ignore[attr-defined]  # else a block called first is the root
    _meshes[module] = mesh


def mesh_of(module: nn.Module) -> DeviceMesh | None:
    """The processes that keep parts of a module that was sharded, None for any other."""
    return _meshes.get(module)


def put_together(module: nn.Module) -> None:
    """Make all parameters of a sharded module whole, until :func:`take_apart`."""
    for part in _sharded(module):
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    derived.changed()


def take_apart(module: nn.Module) -> None:
    """Leave the parts alone."""
    for part in _sharded(module):
        part.set_reshard_after_forward(part is not module, recurse=False)
        part.reshard()


def in_parts(module: nn.Module) -> bool:
    """Whether parameters of a module are parts at present."""
    return any(type(item.data) is not Tensor for item in module.parameters())


@contextmanager
def apart(module: nn.Module) -> Iterator[None]:
    """Parts for the duration of a block, of a sharded module that may be whole before and after."""
    whole = module in _meshes and not in_parts(module)
    if whole:
        take_apart(module)
    try:
        yield
    finally:
        if whole:
            put_together(module)


def state(module: nn.Module) -> dict[str, Tensor]:
    """The state of the whole module, on the CPU of the first process; nothing on the others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found: dict[str, Any] = get_model_state_dict(module, options=options)
    return found


def load_state(module: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Load the state of a whole module, which every process has."""
    if module not in _meshes:
        module.load_state_dict(dict(found))
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(module, dict(found), options=StateDictOptions(full_state_dict=True))


def optimizer_state(module: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """The state of an optimizer as if it moved the whole module, on the first process; nothing on others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
    from torch.distributed.fsdp import FullyShardedDataParallel, OptimStateKeyType

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = get_optimizer_state_dict(module, optimizer, options=options)
    if not found.get("state"):
        return {}
    return dict(
        FullyShardedDataParallel.rekey_optim_state_dict(
            found, OptimStateKeyType.PARAM_ID, module, optim=optimizer
        )
    )


def load_optimizer_state(module: nn.Module, optimizer: Optimizer, found: Mapping[str, Any]) -> None:
    """Load it again, on every process."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict
    from torch.distributed.fsdp import FullyShardedDataParallel, OptimStateKeyType

    named = FullyShardedDataParallel.rekey_optim_state_dict(
        dict(found), OptimStateKeyType.PARAM_NAME, module, optim=optimizer
    )
    options = StateDictOptions(full_state_dict=True)
    set_optimizer_state_dict(module, optimizer, named, options=options)


def whole(value: Tensor) -> Tensor:
    """A number of which processes may have parts, such as a norm of gradients."""
    if type(value) is Tensor:
        return value
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def _sharded(module: nn.Module) -> list[FSDPModule]:
    if module not in _meshes:
        return []
    from torch.distributed.fsdp import FSDPModule

    return [part for part in module.modules() if isinstance(part, FSDPModule)]
