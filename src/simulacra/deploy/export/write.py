"""A folder with a generator: the graph, what there is to say of it, and pairs to check it by.

The folder is there whole or not at all, and only if the graph, read back and run, reproduces the pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from simulacra.core import UserError
from simulacra.core.files import whole_folder
from simulacra.deploy.export import pairs as checks
from simulacra.deploy.export.contract import Contract
from simulacra.deploy.export.formats import Format, required
from simulacra.deploy.export.graph import EVENTS, Sampler
from simulacra.deploy.export.hosts import CONTRACTS
from simulacra.deploy.export.pairs import Agreement, Pairs
from simulacra.deploy.export.program import program
from simulacra.deploy.export.sidecar import JSON, LINES, PAIRS, Sidecar
from simulacra.training.generative import GenerativeModule

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        agreement: How well the graph reproduces the pairs.
        bytes: Size of the graph's file.
    """

    agreement: Agreement
    bytes: int


def contract_of(module: GenerativeModule, name: str, seed: int) -> Contract:
    """The contract of that name for a generator.

    Raises:
        UserError: If it does not fit, or the generator cannot be unrolled.
    """
    generator = torch.Generator().manual_seed(seed)
    cond = module.draw_conditions(EVENTS, generator)
    return CONTRACTS[name](Sampler(module, cond))


def write(
    module: GenerativeModule,
    contract: str,
    form: Format,
    folder: Path,
    origin: Mapping[str, object],
    seed: int = 0,
    overwrite: bool = False,
) -> Exported:
    """Export a generator.

    Args:
        module: The generator, on the CPU.
        contract: Name of the contract.
        form: Format of the graph.
        folder: Where to.
        origin: Entries of the sidecar that tell where the generator comes from.
        seed: Of the pairs.
        overwrite: Whether a folder that is there is replaced.

    Raises:
        UserError: If the generator, the contract and the format do not fit, a package is missing, the graph
            does not reproduce the pairs, or the folder cannot be written; then nothing is left behind.
    """
    if form.name not in CONTRACTS[contract].formats:
        known = " or ".join(CONTRACTS[contract].formats)
        raise UserError(
            f"programs of contract={contract} read format={known}, not format={form.name}"
        )
    free(folder, overwrite)
    form.ready()
    held = contract_of(module, contract, seed)
    pairs = checks.made(held, seed)
    inputs = tuple(torch.from_numpy(a[: held.batch or EVENTS]) for a in pairs.inputs)
    graph = program(held, inputs)
    sidecar = Sidecar(
        contract, form.name, form.file, held.batch, held.inputs, held.outputs, checks.EVENTS
    )
    with whole_folder(folder) as part:
        form.write(graph, held, part / form.file)
        agreement = checked(form, part / form.file, pairs, held)
        pairs.write(part / PAIRS)
        told = {
            "agreement": {
                "numbers": agreement.numbers,
                "largest": agreement.largest,
                "in_99.9_percent": agreement.nearly_all,
            },
            "noise": {kind: width for kind, width in held.numbers.items() if width},
            "notes": list(held.notes),
            "spec": module.spec.to_dict(),
            "sha256": hashlib.sha256((part / form.file).read_bytes()).hexdigest(),
        }
        (part / JSON).write_text(sidecar.table({**told, **origin}), encoding="utf-8")
        (part / LINES).write_text(sidecar.lines(), encoding="utf-8")
        size = (part / form.file).stat().st_size
    return Exported(agreement, size)


def checked(form: Format, path: Path, pairs: Pairs, contract: Contract) -> Agreement:
    """How well a file reproduces the pairs.

    Raises:
        UserError: If it does not.
    """
    found = checks.agreement(form.load(path), pairs, contract.batch)
    if not found.holds:
        raise UserError(
            f"the {form.name} graph differs from Python by a relative {found.largest:.2g} "
            f"({found.nearly_all:.2g} in 99.9 % of {found.numbers:,} numbers), at most {checks.LARGEST:g} "
            f"({checks.MOST:g}) is tolerated: nothing was exported"
        )
    return found


def write_weights(
    module: GenerativeModule, folder: Path, origin: Mapping[str, object], overwrite: bool = False
) -> int:
    """Weights and statistics alone as ``safetensors``, and the sidecar; returns the bytes.

    Raises:
        UserError: If the package is missing or the folder cannot be written; then nothing is left behind.
    """
    free(folder, overwrite)
    serialised = required("safetensors.torch").save
    state = {name: value.contiguous().clone() for name, value in module.state_dict().items()}
    sidecar = Sidecar("weights", "safetensors", WEIGHTS, None, (), (), 0)
    with whole_folder(folder) as part:
        (part / WEIGHTS).write_bytes(serialised(state))
        told = {"spec": module.spec.to_dict(), "given": list(module.given)}
        (part / JSON).write_text(sidecar.table({**told, **origin}), encoding="utf-8")
        return (part / WEIGHTS).stat().st_size


def free(folder: Path, overwrite: bool) -> None:
    """Make sure that nothing but an exported generator is replaced, and that only if it may be.

    Raises:
        UserError: If something is there that stays.
    """
    if folder.exists() and not (folder / JSON).is_file():
        raise UserError(
            f"{folder} is there already and is no exported generator: name another output"
        )
    if folder.exists() and not overwrite:
        raise UserError(f"{folder} is there already: name another output, or set overwrite=true")
