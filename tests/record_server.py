"""A server of one record on this machine, with the faults that real ones have."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


class RecordServer(ThreadingHTTPServer):
    """Answers as Zenodo's interface does.

    Attributes:
        files: Contents by name.
        cuts: Bytes after which each of the next answers ends; the connection is then closed.
        ranges: Whether parts of files are given.
        lengths: Whether the length of an answer is told.
        status: Answer to requests for files.
        asked: Value of ``Range`` of each request for a file, None where there was none.
        about: Changes of what is told of every file.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.ranges = self.lengths = True
        self.status = 200
        self.asked: list[str | None] = []
        self.about: dict[str, object] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def record(self, number: int) -> dict[str, object]:
        files = [
            {"key": name, "size": len(text), "checksum": f"md5:{hashlib.md5(text).hexdigest()}"}
            | self.about
            for name, text in self.files.items()
        ]
        about = {
            "title": "Showers",
            "creators": [{"name": "Doe, Jane"}],
            "publication_date": "2022-03-04",
            "license": {"id": "cc-by-4.0"},
        }
        return {"id": number + 1, "doi": f"10.5281/zenodo.{number + 1}", "metadata": about} | {
            "files": files
        }

    def entries(self) -> list[dict[str, object]]:
        return [
            {
                "filename": name,
                "content_details": {
                    "size": len(text),
                    "sha256_hash": hashlib.sha256(text).hexdigest(),
                    "download_url": f"{self.address}/records/1/files/{name}",
                },
            }
            for name, text in self.files.items()
        ]


class Handler(BaseHTTPRequestHandler):
    server: RecordServer

    def log_message(self, format: str, *values: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path).strip("/").split("/")
        if path[:2] == ["api", "records"] and path[2].isdigit():
            self.plain(json.dumps(self.server.record(int(path[2]))))
        elif path[:2] == ["public-api", "datasets"]:
            self.plain(json.dumps(self.server.entries()))
        elif path[0] == "records" and path[-1] in self.server.files:
            self.file(self.server.files[path[-1]])
        elif path[0] == "api" and path[2] == "page":
            self.plain("<html>")
        else:
            self.send_error(404)

    def plain(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def file(self, text: bytes) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and self.server.ranges:
            if begin >= len(text):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(text) - 1}/{len(text)}")
        else:
            begin = 0
            self.send_response(200)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(text) - begin))
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else len(text)
        self.wfile.write(text[begin : begin + cut])
        self.close_connection = True


@contextmanager
def serving() -> Iterator[RecordServer]:
    with RecordServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
