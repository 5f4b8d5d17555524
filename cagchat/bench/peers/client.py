"""A server of another program on this machine: started, asked over HTTP, its stream read as it comes, ended."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cagchat.bench.peers.failure import failure
from cagchat.errors import EngineError

HOST = "127.0.0.1"
READY_S = 120.0
ANSWER_S = 1800.0  # a book is read in one request
POLL_S = 0.005


class Server:
    """A server's process; closing it ends that."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        port: int,
        *,
        ready: str,
        timer: Callable[[], float] = time.perf_counter,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start it in `folder` and wait until GET `ready` is answered well. Raises `EngineError` when it ends first."""
        self._port = port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd=folder
        )
        try:
            end = timer() + READY_S
            while not self._answers(ready):
                if self._process.poll() is not None or timer() > end:
                    raise self._failure()
                wait(POLL_S)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Calling it twice is harmless."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return what is answered. Raises `EngineError` when that is an error, or nothing."""
        return next(iter(self._lines(path, body)))

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of an answer as they come."""
        return self._lines(path, body | {"stream": True})

    def _lines(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=ANSWER_S)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                said = response.read(2000).decode(errors="replace")
                raise EngineError(f"It answered {path} with {response.status}: {said}", "Leave it out.")
            for line in response:
                text = line.decode().removeprefix("data:").strip()
                if text.startswith("{"):
                    event: dict[str, Any] = json.loads(text)
                    if "error" in event:
                        raise EngineError(f"It answered {path} with an error: {event['error']}.", "Leave it out.")
                    yield event
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failure() from error
        finally:
            connection.close()

    def _answers(self, path: str) -> bool:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=READY_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _failure(self) -> EngineError:
        self._log.seek(0)
        return failure(self._process.poll(), self._log.read().decode(errors="replace"))


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
