r"""Several trainings of one reweighter as one: ensembles, and folds that each weigh what they have not seen.

A YAML file names the checkpoints, and stands wherever one of them could:

.. code-block:: yaml

    folds:                             # trained with data.folds=3 and data.fold=0, 1, 2
      - run0/checkpoints/best.ckpt     # beside this file, or a path
      - run1/checkpoints/best.ckpt
      - [run2a/checkpoints/best.ckpt, run2b/checkpoints/best.ckpt]   # an ensemble

or ``ensemble:`` with a list of checkpoints. An ensemble weighs with the geometric mean

.. math:: w = \Big(\prod_{k=1}^K w_k\Big)^{1/K},

that is, by the mean logit: it treats both samples alike, as the arithmetic mean of ratios does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from simulacra.core import Batch, IncompatibleError, Spec, UserError
from simulacra.core.pair import LABEL
from simulacra.core.plain_yaml import read_yaml
from simulacra.core.rows import folds_of, row_hashes
from simulacra.core.strict import read as typed
from simulacra.tasks.reweighter import Reweighter
from simulacra.training import checkpoint, generator_set, served
from simulacra.training.module import Module
from simulacra.training.objective import Objective

ENTRIES = ("folds", "ensemble")


class Several(Reweighter):
    """Reweighters of the same two samples, which are trained one by one.

    Args:
        members: The reweighters, on the same kind of event.

    Raises:
        IncompatibleError: If they weigh different events.
    """

    def __init__(self, members: Sequence[Reweighter]) -> None:
        first = members[0]
        for member in members:
            if _events(member.spec) != _events(first.spec) or member.given != first.given:
                raise IncompatibleError(
                    f"one reweighter is made of trainings on the same events, got {first.spec.name} given "
                    f"{list(first.given)} and {member.spec.name} given {list(member.given)}"
                )
        super().__init__(first.spec, first.given)
        self.members = nn.ModuleList(members)
        self.transform = first.transform
        self.record = first.record

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Whatever its members weigh."""
        return None

    def objectives(self) -> dict[str, Objective]:
        """There are none.

        Raises:
            UserError: Always.
        """
        raise UserError(
            f"the {len(self.members)} members of this reweighter are trained one by one"
        )

    @property
    def each(self) -> list[Reweighter]:
        """The members."""
        return [member for member in self.members if isinstance(member, Reweighter)]


class Ensemble(Several):
    """The geometric mean of the weights of several trainings."""

    def refuse_learnt(self, batch: Batch) -> None:
        """See the base class; of any member."""
        for member in self.each:
            member.refuse_learnt(batch)

    def ratio(self, batch: Batch) -> Tensor:
        """See the base class."""
        logs = torch.stack([member.ratio(batch).log() for member in self.each])
        return logs.mean(0).exp()


class CrossFitted(Several):
    """Of each event the weight by the training whose fold it is, and which has not seen it.

    Args:
        members: One per fold, in their order.
    """

    def __init__(self, members: Sequence[Reweighter]) -> None:
        super().__init__(members)
        for number, member in enumerate(self.each):
            for one in member.each if isinstance(member, Several) else [member]:
                entry = one.record.config.get("data") or {}
                found = entry.get("folds"), entry.get("fold")
                if found != (len(members), number):
                    raise UserError(
                        f"number {number} of {len(members)} folds was trained with data.folds={found[0]} "
                        f"data.fold={found[1]}, expected data.folds={len(members)} data.fold={number}"
                    )

    def fold_of(self, batch: Batch) -> Tensor:
        """Fold of each event, from 0, int64 ``(B,)``."""
        return folds_of(row_hashes(batch, (LABEL.name,)), len(self.members))

    def refuse_learnt(self, batch: Batch) -> None:
        """See the base class; each member is asked for the events of its fold."""
        fold = self.fold_of(batch)
        for number, member in enumerate(self.each):
            member.refuse_learnt(batch[(fold == number).nonzero()[:, 0].to(batch.x.device)])

    def ratio(self, batch: Batch) -> Tensor:
        """See the base class."""
        fold, found = self.fold_of(batch), torch.ones(len(batch))
        for number, member in enumerate(self.each):
            rows = (fold == number).nonzero()[:, 0]
            if len(rows):
                found[rows] = member.ratio(batch[rows.to(batch.x.device)])
        return found


def members(path: str | Path) -> list[list[Path]] | None:
    """Checkpoints that a file of folds names, those of each fold; of an ensemble in one list; None if it is
    another kind of file.

    Raises:
        UserError: If there is no such file, or it is not what it should be.
    """
    entry = _entry(path)
    if entry is None:
        return None
    _, lists = entry
    return lists


def load(path: str | Path, *, allow: Sequence[str] = ()) -> Module:
    """A trained module from its checkpoint, or one module of all checkpoints that a file names.

    Args:
        path: A checkpoint, a file of folds or of an ensemble, or one as in :mod:`simulacra.training.served`.
        allow: See :func:`simulacra.training.checkpoint.load`.

    Raises:
        UserError: If the file is not what it should be, or its checkpoints do not belong together.
    """
    entry = _entry(path)
    if entry is None:
        return generator_set.load(path, allow=allow)
    name, lists = entry
    loaded = [[_reweighter(item, allow) for item in group] for group in lists]
    groups = [group[0] if len(group) == 1 else Ensemble(group) for group in loaded]
    found: Reweighter = groups[0] if name == "ensemble" else CrossFitted(groups)
    return found.eval()


def _entry(path: str | Path) -> tuple[str, list[list[Path]]] | None:
    if not served.is_list(path) or not Path(path).is_file():
        return None
    file = Path(path)
    contents = read_yaml(file)
    names = [name for name in ENTRIES if isinstance(contents, dict) and name in contents]
    if not names:
        return None
    found = typed(dict[str, list], contents, str(file))
    name = names[0]
    listed = found[name] if name == "folds" else [found[name]]
    groups = [[item] if isinstance(item, str) else item for item in listed]
    sound = all(
        isinstance(group, list) and group and all(isinstance(item, str) for item in group)
        for group in groups
    )
    if list(found) != [name] or not sound or len(groups) < (2 if name == "folds" else 1):
        raise UserError(
            f"{file} needs one entry, 'folds' with two or more checkpoints or lists of them, or 'ensemble' "
            "with a list of checkpoints"
        )
    return name, [[file.parent / item for item in group] for group in groups]


def _reweighter(path: Path, allow: Sequence[str]) -> Reweighter:
    found = checkpoint.load(path, allow=allow)
    if not isinstance(found, Reweighter):
        raise UserError(
            f"{path} is a {type(found).__name__}, which has no weights: give reweighters"
        )
    return found


def _events(spec: Spec) -> dict[str, object]:
    """What events look like, whatever the data set is called."""
    return spec.with_(name="", prior=(), sample_batch=1).to_dict()
