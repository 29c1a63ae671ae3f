"""Parts that change nothing before they are trained."""

from __future__ import annotations

from torch import nn


class Neutral(nn.Module):
    """A part whose first weights leave a network what it is without the part, so that the weights of one that
    lacks it are a start for one that has it.
    """


def neutral_entries(module: nn.Module) -> set[str]:
    """Names of what a module's neutral parts hold, among those of its state."""
    return {
        f"{name}.{entry}"
        for name, part in module.named_modules()
        if isinstance(part, Neutral)
        for entry in part.state_dict()
    }
