"""Columns of JetClass files, what may be missing in a generated one, and what must hold for their values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from simulacra.core import FormatError
from simulacra.formats.hdf5 import Array

CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
MASSES = (0.13957039, 0.0, 0.0, 0.00051099895, 0.1056583755)
TRACK = ("d0val", "d0err", "dzval", "dzerr", "charge")
PARTICLE = ("px", "py", "pz", "energy", "deta", "dphi", *TRACK, *FLAGS)
JET = ("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles")
UNKNOWABLE = ("jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4")
EXACT = ("part_ptrel", "jet_mass")
GENERATED = {"generated_by": "simulacra"}
EVENT = ("pt", "eta", "mass", "num_particles")


def is_generated(attributes: Mapping[str, object]) -> bool:
    """Whether the attributes say that a file was generated here: unknowable columns may be missing."""
    return GENERATED.items() <= dict(attributes).items()


def column_names(generated: bool, found: set[str]) -> list[str]:
    """Columns that a file must hold: the unknowable ones, or in a generated file the exact ones it has."""
    names = [*(f"part_{name}" for name in PARTICLE), *JET, *(f"label_{name}" for name in CLASSES)]
    return names + ([name for name in EXACT if name in found] if generated else list(UNKNOWABLE))


def relative_pt(arrays: Mapping[str, Array]) -> Array:
    """Transverse momenta of particles over that of their jet, ``(n, N)``."""
    if "part_ptrel" in arrays:
        return arrays["part_ptrel"]
    ratio = np.hypot(arrays["part_px"], arrays["part_py"]) / arrays["jet_pt"].reshape(-1, 1)
    return ratio.astype(np.float32)


def jet_mass(arrays: Mapping[str, Array]) -> Array:
    """Mass of the summed particles [GeV], ``(n,)``; a negative squared mass (rounding) counts as 0."""
    if "jet_mass" in arrays:
        return arrays["jet_mass"]
    energy, *momentum = (
        arrays[f"part_{name}"].astype(np.float64).sum(1) for name in ("energy", "px", "py", "pz")
    )
    squared = energy**2 - sum(component**2 for component in momentum)
    return np.sqrt(np.maximum(squared, 0.0)).astype(np.float32)


def check_values(path: Path, arrays: Mapping[str, Array], mask: np.ndarray) -> None:
    """Refuse negative energies, jets without momentum, types that are not one-hot and charges beyond one."""
    if (arrays["part_energy"] < 0).any():
        raise FormatError(
            f"{path}: key 'part_energy' is negative (down to {arrays['part_energy'].min():.6g} GeV)"
        )
    if (arrays["jet_pt"] <= 0).any():
        raise FormatError(
            f"{path}: key 'jet_pt' holds {arrays['jet_pt'].min():.6g}, expected GeV above 0"
        )
    flags = np.stack([arrays[f"part_{name}"] for name in FLAGS], -1)
    if not np.isin(flags, (0, 1)).all() or (flags.sum(-1)[mask] > 1).any():
        raise FormatError(
            f"{path}: the keys part_is* must be 0 or 1, and at most one of them 1 for each particle"
        )
    if not np.isin(arrays["part_charge"], (-1, 0, 1)).all():
        raise FormatError(f"{path}: key 'part_charge' holds values other than -1, 0 and 1")
