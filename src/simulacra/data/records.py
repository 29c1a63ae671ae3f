"""Published records: which files a repository holds, how large they are, their checksums, licence, citation.

A data set names its record as ``zenodo:NUMBER`` or ``mendeley:NAME``. What the record holds is asked of its
repository when it is needed, so that no size and no checksum is copied by hand.
"""

from __future__ import annotations

import fnmatch
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from simulacra.core import UserError

EXTRA = "downloading needs the extra 'download': pip install 'simulacra[download]'"


class UnreachableError(UserError):
    """A server does not answer."""


@dataclass(frozen=True)
class Remote:
    """A file of a record.

    Args:
        name: Its name, without folders.
        url: Where it is.
        size: Bytes, or None where they are not told.
        checksum: ``md5:…`` or ``sha256:…``, or None where there is none.
    """

    name: str
    url: str
    size: int | None
    checksum: str | None


@dataclass(frozen=True)
class Listing:
    """What a record holds.

    Args:
        files: Its files.
        doi: To be cited.
        citation: Authors, year and title, where they are told.
        licence: Of the files, where it is told.
    """

    files: tuple[Remote, ...]
    doi: str
    citation: str | None = None
    licence: str | None = None

    def matching(self, patterns: Sequence[str]) -> list[Remote]:
        """The files whose names match one of the patterns, in the record's order.

        Raises:
            UserError: If a pattern matches none.
        """
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(file.name, pattern) for file in self.files):
                held = ", ".join(file.name for file in self.files) or "nothing"
                raise UserError(
                    f"{self.doi} has no file like {pattern!r}, it holds {held}: choose with files=[...]"
                )
        return [f for f in self.files if any(fnmatch.fnmatchcase(f.name, p) for p in patterns)]


class Repository(ABC):
    """Where records are published.

    Args:
        server: Its address, e.g. ``https://zenodo.org``.
        timeout: Seconds without an answer after which it counts as not reachable.
    """

    def __init__(self, server: str, timeout: float) -> None:
        self.server, self.timeout = server.rstrip("/"), timeout

    @staticmethod
    @abstractmethod
    def named(record: str) -> str:
        """A record in words."""

    @abstractmethod
    def listing(self, record: str) -> Listing:
        """What a record holds.

        Raises:
            UserError: If the repository cannot be reached, or has no such record.
        """

    def ask(self, path: str, what: str) -> Any:
        """What the server answers, as plain data.

        Raises:
            UserError: See :meth:`listing`.
        """
        requests = http()
        try:
            answer = requests.get(f"{self.server}{path}", timeout=self.timeout)
            answer.raise_for_status()
            return answer.json()
        except requests.HTTPError as error:
            status = error.response.status_code
            raise UserError(f"{self.server} answers {status} when asked for {what}") from error
        except requests.JSONDecodeError as error:
            raise UserError(f"{self.server} gives no list of the files of {what}") from error
        except requests.RequestException as error:
            raise UnreachableError(
                f"{self.server} cannot be reached from here: is there a network?"
            ) from error


class Zenodo(Repository):
    """Records by number; a number of all versions of a record stands for the newest."""

    @staticmethod
    def named(record: str) -> str:
        """As of the base class."""
        return f"Zenodo record {record}"

    def listing(self, record: str) -> Listing:
        """As of the base class."""
        what = self.named(record)
        found = self.ask(f"/api/records/{quote(record)}", what)
        try:
            number, about = int(found["id"]), found["metadata"]
            files = tuple(self._file(number, entry) for entry in found["files"])
            doi = str(found.get("doi") or about["doi"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{self.server} gives no list of the files of {what}") from error
        return Listing(files, f"doi:{doi}", _citation(about), _licence(about))

    def _file(self, number: int, entry: Mapping[str, Any]) -> Remote:
        name = plain_name(entry["key"])
        size = entry.get("size")
        url = f"{self.server}/records/{number}/files/{quote(name)}?download=1"
        return Remote(
            name, url, size if isinstance(size, int) else None, _checksum(entry.get("checksum"))
        )


class Mendeley(Repository):
    """Data sets of Mendeley Data by the last part of their DOI."""

    @staticmethod
    def named(record: str) -> str:
        """As of the base class."""
        return f"Mendeley Data 10.17632/{record}"

    def listing(self, record: str) -> Listing:
        """As of the base class."""
        what = self.named(record)
        found = self.ask(f"/public-api/datasets/{quote(record)}/files?folder_id=root", what)
        try:
            files = tuple(self._file(entry) for entry in found)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.server} gives no list of the files of {what}") from error
        return Listing(files, f"doi:10.17632/{record}")

    def _file(self, entry: Mapping[str, Any]) -> Remote:
        about = entry["content_details"]
        digest, size = about.get("sha256_hash"), about.get("size")
        return Remote(
            plain_name(entry["filename"]),
            str(about["download_url"]),
            size if isinstance(size, int) else None,
            _checksum(f"sha256:{digest}"),
        )


REPOSITORIES: Mapping[str, type[Repository]] = {"zenodo": Zenodo, "mendeley": Mendeley}
"""By the first word of a record's name."""


def parted(record: str) -> tuple[str, str]:
    """Repository and number of a record.

    Raises:
        UserError: If it is no name of a record.
    """
    where, _, number = record.partition(":")
    if where not in REPOSITORIES or not re.fullmatch(r"[\w.-]+", number):
        raise UserError(
            f"a record is named like zenodo:8099322 or mendeley:pvn3xc3wy5, got {record!r}"
        )
    return where, number


def http() -> Any:
    """The package that speaks with servers.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import requests
    except ImportError as error:
        raise UserError(EXTRA) from error
    return requests


def plain_name(name: object) -> str:
    """The name of a file that leads out of no folder.

    Raises:
        ValueError: If it is none.
    """
    text = str(name)
    if text in ("", ".", "..") or re.search(r"[/\\\x00]", text):
        raise ValueError(f"{text!r} is no name of a file")
    return text


def _checksum(text: object) -> str | None:
    known = isinstance(text, str) and re.fullmatch(r"(md5|sha1|sha256|sha512):[0-9a-fA-F]+", text)
    return str(text).lower() if known else None


def _citation(about: Mapping[str, Any]) -> str | None:
    names = [str(item["name"]) for item in about.get("creators") or () if "name" in item]
    people = f"{names[0]} et al." if len(names) > 3 else " and ".join(names)
    year = str(about.get("publication_date") or "")[:4]
    parts = [people, f"({year})" if year else "", str(about.get("title") or "")]
    return " ".join(part for part in parts if part) or None


def _licence(about: Mapping[str, Any]) -> str | None:
    found = about.get("license")
    found = found.get("id") if isinstance(found, Mapping) else found
    return str(found) if found else None
