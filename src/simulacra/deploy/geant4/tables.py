"""Geant4's data: the user's own if there are any, else the small folder of the package.

The small folder is enough for standard electromagnetic physics in twenty elements; its README says where
every number comes from. With the official data sets, which the variable ``GEANT4_DATA_DIR`` names or
``geant4_pybind`` has downloaded, all physics lists and particles can be used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from simulacra.core import UserError

VARIABLE, TABLES = "GEANT4_DATA_DIR", "G4LEDATA"
_PREFIX = "G4EMLOW"
_ELECTROMAGNETIC = ("brem_SB", "livermore")
_HADRONIC = "G4NDL"  # folder that only the official data sets have


@dataclass(frozen=True)
class Tables:
    """A folder with Geant4's data sets.

    Args:
        folder: It holds folders such as ``G4EMLOW8.8``.
        electromagnetic: The folder of tables of electromagnetic physics.
    """

    folder: Path
    electromagnetic: Path

    @property
    def small(self) -> bool:
        """Whether it is the folder of the package."""
        return self.folder == small_folder()

    @property
    def hadronic(self) -> bool:
        """Whether hadrons can be simulated."""
        return any(self.folder.glob(f"{_HADRONIC}*"))

    @property
    def environment(self) -> dict[str, str]:
        """Variables from which Geant4 finds the folder."""
        return {VARIABLE: str(self.folder), TABLES: str(self.electromagnetic)}

    def check(self, elements: Iterable[int]) -> None:
        """Make sure that there are tables of some elements, by atomic number.

        Raises:
            UserError: If there are none of one, for which Geant4 itself would end the process.
        """
        missing = [
            z for z in sorted(elements) if not (self.electromagnetic / f"brem_SB/br{z}").is_file()
        ]
        if missing:
            raise UserError(
                f"{self.electromagnetic} has no tables of the elements Z = {', '.join(map(str, missing))}: "
                f"{_HOW}"
            )


_HOW = (
    "download Geant4's data sets once with `python -c 'import geant4_pybind'` and set "
    f"{VARIABLE} to their folder, ~/.geant4_pybind"
)


def small_folder() -> Path:
    """The folder that the package brings."""
    return Path(str(resources.files("simulacra.deploy.geant4") / "data"))


def find(environment: Mapping[str, str] = os.environ) -> Tables:
    """The data sets that are used.

    Args:
        environment: Variables; what they name is taken, or refused, and nothing else is tried.

    Raises:
        UserError: If a variable names a folder without tables of electromagnetic physics.
    """
    for name in (VARIABLE, TABLES):
        if environment.get(name):
            named = Path(environment[name]).expanduser()
            found = _tables(named)
            if found is None:
                raise UserError(
                    f"{name}={named} holds no Geant4 tables (a folder {_PREFIX}* with "
                    f"{' and '.join(_ELECTROMAGNETIC)}): {_HOW}, or unset it"
                )
            return found
    own = _tables(Path.home() / ".geant4_pybind")
    small = own or _tables(small_folder())
    if small is None:
        raise UserError(f"there are no Geant4 tables: {_HOW}")
    return small


def _tables(folder: Path) -> Tables | None:
    """What a folder of data sets, or the folder of tables itself, holds."""
    if _complete(folder):
        return Tables(folder.parent, folder)
    inside = [path for path in sorted(folder.glob(f"{_PREFIX}*")) if _complete(path)]
    return Tables(folder, inside[-1]) if inside else None


def _complete(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in _ELECTROMAGNETIC)
