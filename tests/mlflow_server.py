"""As much of an MLflow server as a tracker asks for, which can fall silent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Server(ThreadingHTTPServer):
    """Knows one run, and remembers what it is asked.

    Args:
        folder: Where the run's files go.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.run = {"run_id": "a" * 32, "experiment_id": "0", "artifact_uri": str(folder)}
        self.asked: list[str] = []
        self.silent_after = 10**6
        """How many batches of figures are taken."""

    @property
    def address(self) -> str:
        """What ``MLFLOW_TRACKING_URI`` names."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.path.partition("?")[0].partition("/mlflow/")[2]
        self.server.asked.append("metrics" if b'"metrics"' in sent else name)
        if self.server.asked.count("metrics") > self.server.silent_after:
            self.close_connection = True
            return
        answer: dict[str, Any] = {}
        if name == "experiments/get-by-name":
            answer = {"experiment": {"experiment_id": "0", "name": "toy"}}
        elif name in ("runs/create", "runs/get"):
            answer = {"run": {"info": self.server.run, "data": {}}}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server that answers."""
    with Server(folder) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()
