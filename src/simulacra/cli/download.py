"""``simulacra download NAME``: the public files of a data set."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from simulacra import data as datasets
from simulacra.core import UserError
from simulacra.core.signals import Interrupted
from simulacra.data.fetching import Patience, fetch
from simulacra.data.file_data import FileDataModule
from simulacra.data.files import Published, below
from simulacra.data.records import REPOSITORIES, Listing, Remote, UnreachableError, parted
from simulacra.evaluation import build, saved
from simulacra.evaluation import config as tree
from simulacra.evaluation.schema import Download
from simulacra.running.signals import interruptible

log = logging.getLogger(__name__)


def download(cfg: DictConfig) -> dict[str, Any]:
    """Download as configured (``conf/download.yaml``).

    Returns:
        Where each file is; sizes, or None, of the files where they are listed alone.

    Raises:
        UserError: If the data set has no record, there is no folder, the server does not answer, or a file
            that is there or has arrived is not that of the record.
    """
    config = saved.resolve(cfg, Download)
    if not config.get("data"):
        return overview(config)
    name, published = config["data"]["name"], of(config)
    listing = ask(published, config)
    wanted = listing.matching(config["files"] or published.fetched)
    root = config["data"].get("root")
    if config["dry"]:
        print(contents(name, published, listing, wanted))
        return {remote.name: remote.size for remote in wanted}
    if root is None:
        raise UserError(
            "downloading needs data.root=FOLDER or the environment variable SIMULACRA_DATA"
        )
    for line in terms(published, listing):
        print(line)
    return fetch_all(name, wanted, Path(root), config)


def of(config: dict[str, Any]) -> Published:
    """The public files of a data set.

    Raises:
        UserError: If it has no record.
    """
    name, datamodule = config["data"]["name"], build.build_data(config)
    if not isinstance(datamodule, FileDataModule):
        raise UserError(f"{name} is read from no public files: there is nothing to download")
    published = datamodule.published
    if published.record is None:
        where = f", its files are to be had: {published.where}" if published.where else ""
        raise UserError(f"{name} has no record that could be downloaded{where}")
    return published


def ask(published: Published, config: dict[str, Any]) -> Listing:
    """What the record holds."""
    assert published.record is not None
    where, number = parted(published.record)
    return REPOSITORIES[where](config["servers"][where], config["timeout"]).listing(number)


def overview(config: dict[str, Any]) -> dict[str, int | None]:
    """Print the data sets that have a record, with sizes as far as servers tell them.

    Returns:
        Bytes by data set, or None.
    """
    rows, sizes = {}, {}
    silent: dict[str, str] = {}
    for name, entry in tree.load_choices("data", tree.choices("data")).items():
        datamodule = datasets.build(entry)
        if isinstance(datamodule, FileDataModule) and datamodule.published.record:
            published = datamodule.published
            rows[name] = f"{published.source}: {', '.join(published.fetched)}"
            sizes[name] = known_size(published, config, silent)
    width = max(map(len, rows))
    for name, text in rows.items():
        print(f"{name:<{width}}  {size(sizes[name]):>9}  {text}")
    for reason in dict.fromkeys(silent.values()):
        print(f"no sizes: {reason}")
    print("'simulacra download NAME dry=true' shows files, checksums, licence and citation")
    return sizes


def known_size(published: Published, config: dict[str, Any], silent: dict[str, str]) -> int | None:
    """Bytes of the files of a data set; None of a server that gave no answer before, it is not asked again.

    Args:
        published: The files.
        config: Configuration of the command.
        silent: Servers that gave none, with what is to be said of them.
    """
    where, _ = parted(str(published.record))
    if where in silent:
        return None
    try:
        found = ask(published, config).matching(published.fetched)
    except UnreachableError as error:
        silent[where] = str(error)
        return None
    except UserError as error:
        log.warning("%s", error)
        return None
    return sum(remote.size or 0 for remote in found)


def contents(name: str, published: Published, listing: Listing, wanted: list[Remote]) -> str:
    """What would be fetched."""
    width = max(len(remote.name) for remote in wanted)
    rows = [
        f"  {remote.name:<{width}}  {size(remote.size):>10}  {remote.checksum or 'no checksum'}"
        for remote in wanted
    ]
    total = sum(remote.size or 0 for remote in wanted)
    head = f"{name}: {len(wanted)} files, {size(total)}, of {len(listing.files)} in the record"
    return "\n".join([head, *rows, *terms(published, listing)])


def terms(published: Published, listing: Listing) -> list[str]:
    """Licence and citation."""
    cite = f"{listing.citation}, {listing.doi}" if listing.citation else listing.doi
    return [
        f"{published.source}, licence: {listing.licence or 'not told by the record, see its page'}",
        f"cite {cite}",
    ]


def fetch_all(
    name: str, wanted: list[Remote], root: Path, config: dict[str, Any]
) -> dict[str, Any]:
    """Fetch files one after the other; a file that lies elsewhere below the root stays where it is."""
    patience = Patience(config["timeout"], config["retries"])
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    found, fetched = {}, 0
    with interruptible(), Progress(*columns, console=Console(stderr=True)) as bar:
        for remote in wanted:
            there = below(root, remote.name) if root.is_dir() else []
            path = there[0] if there else root / name / remote.name
            task = bar.add_task(remote.name, total=remote.size)
            try:
                digest = fetch(remote, path, patience, partial(advance, bar, task))
            except Interrupted as stop:
                raise Interrupted(
                    stop.number, "what has arrived is kept: the same command goes on"
                ) from None
            if digest is not None and remote.checksum is None:
                log.warning(
                    "%s: its record gives no checksum; the SHA-256 found is %s", path, digest
                )
            fetched += digest is not None
            found[remote.name] = str(path)
    archives = [path for path in found.values() if path.endswith((".tar", ".tar.gz", ".zip"))]
    unpack = "; unpack the archives there" if archives else ""
    print(
        f"wrote {root}: {fetched} files of {name}, {len(found) - fetched} were there already{unpack}"
    )
    return found


def advance(bar: Progress, task: TaskID, there: int) -> None:
    """Show how much of a file has arrived."""
    bar.update(task, completed=there)


def size(number: int | None) -> str:
    """Bytes in the unit that suits them."""
    if number is None:
        return "not told"
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= one:
            return f"{number / one:.3g} {unit}"
    return f"{number} B"
