"""Training that begins from the weights of a checkpoint."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from simulacra.core import IncompatibleError
from simulacra.dynamics.denoiser import Prediction
from simulacra.dynamics.diffusion import Diffusion
from simulacra.nn.neutral import neutral_entries
from simulacra.training.checkpoint import load, load_weights
from simulacra.training.module import Module
from simulacra.training.parts import PARTS, TRANSFORM, Part, Parts

log = logging.getLogger(__name__)


def fine_tune(
    module: Module,
    path: str | Path,
    parts: Sequence[Part] | None = None,
    statistics: bool = False,
    allow: Sequence[str] = (),
) -> None:
    """Start from weights of a checkpoint of the same kind of data; one line says what is taken.

    A neutral part that the checkpoint lacks keeps its first weights.

    Args:
        module: With a fitted transform.
        path: The checkpoint.
        parts: What is taken; None: all.
        statistics: Whether the transform takes its statistics from the checkpoint, too.
        allow: As for :func:`load`.

    Raises:
        IncompatibleError: If the kinds differ, or names or shapes of what is taken, or if it gives out what
            another kind of prediction asks for.
        UserError: If the module has no such part.
    """
    given = load(path, allow=allow)
    if given.spec.kind != module.spec.kind:
        raise IncompatibleError(
            f"{path} was trained on {given.spec.kind} data, {module.spec.name} is {module.spec.kind} data"
        )
    held, wanted = Parts(module), list[str](PARTS if parts is None else parts)
    if parts is not None:
        held.check(parts)
    if statistics:
        wanted.append(TRANSFORM)
    state = given.state_dict()
    mine = module.state_dict()
    taken = {name: value for name, value in state.items() if held.of(name) in wanted}
    spared = neutral_entries(module) - taken.keys()
    own = {
        name: value for name, value in mine.items() if held.of(name) not in wanted or name in spared
    }
    _check_predictions(module, given, held, taken)
    load_weights(module, {**taken, **own}, str(path))
    _say_taken(str(path), held, taken, own)


def _check_predictions(
    mine: Module, given: Module, held: Parts, taken: Mapping[str, Tensor]
) -> None:
    """Refuse weights that give out a result which means something else here.

    Raises:
        IncompatibleError: If they do.
    """
    theirs = _predictions(given)
    for net, predicts in _predictions(mine).items():
        inside = [name for name in mine.state_dict() if name.startswith(net)]
        last = "head" if any(held.of(name) == "head" for name in inside) else "backbone"
        found = theirs.get(net, predicts)
        if type(found) is not type(predicts) and any(
            name in taken and held.of(name) == last for name in inside
        ):
            raise IncompatibleError(
                f"networks of the checkpoint predict {type(found).__name__}, here {type(predicts).__name__} "
                "is asked for: give both the same process.predicts, or leave out the head (init.parts)"
            )


def _predictions(module: nn.Module) -> dict[str, Prediction]:
    """What networks that learn on a path predict, by how the names of their weights begin."""
    owners = ((name, getattr(part, "process", None)) for name, part in module.named_modules())
    return {
        f"{name}.net.".lstrip("."): process.predicts
        for name, process in owners
        if isinstance(process, Diffusion)
    }


@rank_zero_only
def _say_taken(
    path: str, held: Parts, taken: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> None:
    """One line on where the weights are from."""
    texts = []
    for state in (taken, own):
        counts: Counter[str] = Counter(dict.fromkeys((*PARTS, TRANSFORM), 0))
        for name, value in state.items():
            counts[held.of(name)] += value.numel()
        some = [f"{part} ({count:,} numbers)" for part, count in counts.items() if count]
        texts.append(", ".join(some) or "nothing")
    log.info("from %s: %s; left as it was made: %s", path, *texts)
