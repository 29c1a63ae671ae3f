"""Geant4 in this process: import without a question, silence, physics, random numbers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simulacra.core import UserError
from simulacra.deploy.geant4.tables import Tables

MODULE = "geant4_pybind"
ELECTROMAGNETIC = "G4EmStandardPhysics"
"""Standard electromagnetic physics, the part of FTFP_BERT that needs the small folder of tables alone."""
Geant4 = Any
"""The imported module; it has no types."""


def require() -> None:
    """Make sure that Geant4 is installed, without importing it.

    Raises:
        UserError: If it is not.
    """
    if importlib.util.find_spec(MODULE) is None:
        raise UserError(
            "Geant4 is not installed: pip install 'simulacra[geant4]' brings it as geant4_pybind"
        )


def version() -> str:
    """Version of the package that brings Geant4."""
    return importlib.metadata.version(MODULE)


def load(tables: Tables) -> Geant4:
    """Import Geant4; only in a child process, once.

    The variables come first: without them the import would ask for a download.
    """
    require()
    os.environ.update(tables.environment)
    with silence():
        import geant4_pybind  # never its names: they would be g, m, s, ...
    return geant4_pybind


@contextmanager
def silence() -> Iterator[None]:
    """Send what Geant4 prints to nowhere; it does not pass through ``sys.stdout``."""
    saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(nowhere)


def physics(g4: Geant4, name: str, cut: float, tables: Tables) -> Any:
    """A physics list.

    Args:
        g4: Geant4.
        name: :data:`ELECTROMAGNETIC` or another constructor of electromagnetic physics, for photons,
            electrons and positrons; or a reference list such as ``FTFP_BERT``, which needs the official data
            sets.
        cut: Production cut, a range [mm].
        tables: The data sets.

    Raises:
        UserError: If there is no such list, or its data sets are missing.
    """
    made: Any = getattr(g4, name, None)
    if not callable(made):
        raise UserError(f"Geant4 knows no physics {name!r}: try {ELECTROMAGNETIC} or FTFP_BERT")
    if not name.startswith("G4Em"):
        if not tables.hadronic:
            raise UserError(
                f"{name} needs Geant4's official data sets, and {tables.folder} has none of hadrons: "
                f"download them with `python -c 'import {MODULE}'`, or use physics={ELECTROMAGNETIC}"
            )
        full = made()
        full.SetDefaultCutValue(cut * g4.mm)
        return full

    class Electromagnetic(g4.G4VModularPhysicsList):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.RegisterPhysics(made())
            parameters = g4.G4EmParameters.Instance()  # which the constructor has reset
            parameters.SetVerbose(0)
            if not (tables.electromagnetic / "epics2017").is_dir():
                parameters.SetLivermoreDataDir("livermore")
            # overriding SetCuts instead would crash at the end of the process
            self.SetDefaultCutValue(cut * g4.mm)

    return Electromagnetic()


def seed(g4: Geant4, value: int) -> None:
    """Start the engine (MixMax) afresh from a number below 2^62.

    It takes two numbers of 31 bits, in a list that ends in 0.
    """
    low, high = value & 0x7FFFFFFF, (value >> 31) & 0x7FFFFFFF
    g4.HepRandom.setTheSeeds([max(1, low), max(1, high), 0])
