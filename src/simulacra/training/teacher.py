"""Students: models that learn from another, trained model.

A student names the checkpoint of its teacher. The file is read when fitting begins, never to sample, and the
teacher stays outside the student's module tree: it is in no state dict, no moving average and no optimizer.
The student takes its architecture and the weights that both share from it, and records the hash of its file,
so that the student's own checkpoint stands alone.
"""

from __future__ import annotations

import hashlib
import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import reduce
from operator import getitem
from typing import Any, ClassVar, Self

import torch
from hydra.utils import get_class
from torch import nn

from simulacra.core import IncompatibleError, UserError
from simulacra.core.instantiate import Trust, check
from simulacra.dynamics.splines import Spline
from simulacra.training import checkpoint, zoo
from simulacra.training.generative import GenerativeModule
from simulacra.training.module import Module
from simulacra.transforms.base import Batches


class Teacher:
    """A checkpoint that is loaded when it is first needed.

    Args:
        path: File.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._module: Module | None = None
        self._digest = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies of a student, as of its moving average, share the teacher."""
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        if not self._digest:
            checkpoint.read(self.path)  # says what is wrong with the file
            with zoo.located(self.path).open("rb") as file:
                self._digest = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digest

    def on(self, device: torch.device) -> Module:
        """The module on a device, in evaluation mode, with constant parameters."""
        if self._module is None:
            self._module = checkpoint.load(self.path).requires_grad_(False)
        return self._module.to(device).eval()


class Student(GenerativeModule):
    """Mixin of a model that learns from a teacher; stands before the family among the bases.

    Without a teacher it can be built and sampled, but not trained.
    """

    learns_from: ClassVar[type[GenerativeModule]]
    """Family of the teacher."""
    inherits: ClassVar[Mapping[str, str]]
    """Entries of the student's configuration that are the teacher's, with their names there."""
    chains: ClassVar[bool] = False
    """Whether the teacher may be a student itself."""
    teacher: Teacher | None = None
    _began_with: str | None = None

    @staticmethod
    def same(*names: str) -> Mapping[str, str]:
        """:attr:`inherits` of entries that have the same names in both configurations."""
        return {name: name for name in names}

    @classmethod
    def refused(cls, path: str, kind: str) -> IncompatibleError:
        """What is said of a teacher of another kind."""
        family = cls.learns_from.__name__
        return IncompatibleError(
            f"{cls.__name__} learns from a {family}, but {path} holds a {kind}"
        )

    @abstractmethod
    def adopt(self, teacher: GenerativeModule) -> None:
        """Check that the teacher fits and copy what both share but the transform.

        Raises:
            IncompatibleError: If the student cannot imitate it.
        """

    def fit_transform(self, batches: Batches) -> Self:
        """The teacher's statistics and shared stages; without a teacher the statistics of ``batches``."""
        if self.teacher is None:
            return GenerativeModule.fit_transform(self, batches)
        taught = self.taught_by()
        copy_weights(self.transform, taught.transform, "transforms")
        self.adopt(taught)
        return self

    def taught_by(self) -> GenerativeModule:
        """The teacher on the student's device.

        Raises:
            UserError: If there is none.
            IncompatibleError: If it is of another family or was trained for other data.
        """
        name, family = type(self).__name__, self.learns_from.__name__
        if self.teacher is None:
            raise UserError(
                f"{name} learns from a trained {family}: give its checkpoint as model.teacher=FILE"
            )
        found = self.teacher.on(self.device)
        if not isinstance(found, self.learns_from) or (
            isinstance(found, Student) and not self.chains
        ):
            raise self.refused(self.teacher.path, type(found).__name__)
        if found.spec != self.spec or found.given != self.given:
            raise IncompatibleError(
                f"the teacher {self.teacher.path} was trained for {found.spec.name} given "
                f"{list(found.given)}, this {name} is for {self.spec.name} given {list(self.given)}: "
                "data set and conditions must be the same"
            )
        return found

    def on_fit_start(self) -> None:
        """Refuse to train without a teacher, or to go on with another one; record which it is."""
        self.taught_by()
        super().on_fit_start()
        assert self.teacher is not None
        if self._began_with not in (None, self.teacher.digest):
            raise UserError(
                f"training began with another teacher than {self.teacher.path} is now: "
                "start a new run to change it"
            )
        self.record.provenance = {**self.record.provenance, "teacher": self.teacher.digest}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note the teacher of the run that goes on."""
        super().on_load_checkpoint(checkpoint)
        self._began_with = checkpoint["simulacra"]["provenance"].get("teacher")


def taught(config: Mapping[str, Any], allow: Sequence[str] = ()) -> dict[str, Any]:
    """The configuration of a model, of a student's with what it takes from its teacher's checkpoint.

    Args:
        config: Resolved configuration.
        allow: Prefixes of names outside simulacra that the checkpoint's configuration may name.

    Raises:
        UserError: If the teacher's checkpoint cannot be read or names foreign code.
        IncompatibleError: If it holds another kind of model.
    """
    found = deepcopy(dict(config))
    if found.get("teacher") is None:
        return found
    family = get_class(str(found["_target_"]))
    assert issubclass(family, Student)
    theirs = checkpoint.model_config(checkpoint.read(found["teacher"]), found["teacher"])
    taught_by = check(theirs, Trust(False, allow))
    if not (inspect.isclass(taught_by) and issubclass(taught_by, family.learns_from)):
        raise family.refused(found["teacher"], theirs["_target_"].rpartition(".")[2])
    for mine, name in {**Student.same("given"), **family.inherits}.items():
        *outer, last = mine.split(".")
        try:
            value = deepcopy(reduce(getitem, name.split("."), theirs))
        except (KeyError, TypeError) as error:
            raise IncompatibleError(
                f"{found['teacher']} does not say what its {name} is, which {family.__name__} takes from it"
            ) from error
        reduce(getitem, outer, found)[last] = value
    return found


def copy_weights(mine: nn.Module, theirs: nn.Module, what: str) -> None:
    """Take over the weights and buffers of a shared stage.

    Raises:
        IncompatibleError: If names, shapes or settings differ.
    """
    own, state = mine.state_dict(), theirs.state_dict()
    shapes = [{name: value.shape for name, value in part.items()} for part in (own, state)]
    if shapes[0] != shapes[1] or _settings(mine) != _settings(theirs):
        raise IncompatibleError(
            f"the {what} of student and teacher differ: their settings must be the same"
        )
    mine.load_state_dict(state)


def _settings(module: nn.Module) -> list[dict[str, object]]:
    """Plain values that the parts of a module hold, and the splines."""
    found: list[dict[str, object]] = []
    for part in module.modules():
        values = {key: value for key, value in vars(part).items() if key != "training"}
        splines = [value for value in values.values() if isinstance(value, Spline)]
        found += [
            {key: value for key, value in entry.items() if isinstance(value, (int, float, str))}
            for entry in (values, *(vars(spline) for spline in splines))
        ]
    return found
