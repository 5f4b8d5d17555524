"""A web server on this machine that serves a few bytes, and lies about them in every way a download must notice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came, and how many bytes of a body it was sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    sent: list[int] = field(default_factory=list)

    @property
    def start(self) -> int:
        """The first byte that was asked for."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


Answerer = Callable[["Conversation"], None]


class LyingServer:
    """Answers each path as its `Answerer` says; remembers every request in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, Answerer] = {}
        self.ending = threading.Event()
        server = self

        class Handler(Conversation):
            lying_server = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """The host and port it listens on."""
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://{self.host}{path}"

    @property
    def requests(self) -> list[str]:
        """What was asked for, as "METHOD path"."""
        return [f"{asked.method} {asked.path}" for asked in self.asked]


class Conversation(BaseHTTPRequestHandler):
    """One request; the methods beyond the base class's are the words that answers are made of."""

    lying_server: LyingServer
    protocol_version = "HTTP/1.1"
    asked: Asked

    def handle_request(self) -> None:
        """Remember the request and answer it."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked = Asked(self.command, self.path, headers)
        self.lying_server.asked.append(self.asked)
        self.close_connection = True
        answer = self.lying_server.answers.get(self.path)
        try:
            if answer is None:
                self.say(404)
            else:
                answer(self)
        except OSError:  # the client has had enough
            return

    do_GET = do_HEAD = do_CONNECT = handle_request  # noqa: N815 - the base class looks for these names

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def say(self, status: int, body: bytes = b"", **headers: str | int) -> None:
        """Send a status, headers with _ for -, and a body; its length is told unless `Content_Length` is given."""
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value != "":
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.send(body)

    def send(self, body: bytes) -> None:
        """Send bytes of a body."""
        if self.command != "HEAD":
            self.wfile.write(body)
            self.asked.sent.append(len(body))


@dataclass(slots=True)
class Honest:
    """Serves bytes as a good server does: ranges, If-Range, a strong tag. Its fields are how it may not be good.

    `cuts` are the numbers of bytes after which one answer after the other breaks off.
    """

    content: bytes
    etag: str = '"first"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    extra: dict[str, str | int] = field(default_factory=dict)

    def __call__(self, conversation: Conversation) -> None:
        headers = conversation.asked.headers
        start = conversation.asked.start
        if not self.ranges or headers.get("if-range", self.etag) != self.etag:
            start = 0
        body = self.content[start:]
        sent = body[: self.cuts.pop(0)] if self.cuts and conversation.command == "GET" else body
        about: dict[str, str | int] = {"Content_Length": len(body), "ETag": self.etag}
        if start:
            about["Content_Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        conversation.say(206 if start else 200, sent, **(about | self.extra))


def redirect(to: str, status: int = 302, **headers: str | int) -> Answerer:
    """Send on to another address."""
    return lambda conversation: conversation.say(status, b"", Location=to, **headers)


def hub_redirect(to: str, content: bytes) -> Answerer:
    """Send on as Hugging Face does, with the size and SHA-256 of the file."""
    return redirect(to, X_Linked_ETag=f'"{sha256(content).hexdigest()}"', X_Linked_Size=len(content))


def status(number: int, **headers: str | int) -> Answerer:
    """Answer with a status and nothing else."""
    return lambda conversation: conversation.say(number, b"", **headers)


def chunked(content: bytes, etag: str = "") -> Answerer:
    """Send a body in chunks, without saying how long it will be."""

    def answer(conversation: Conversation) -> None:
        headers: dict[str, str | int] = {"Content_Length": "", "Transfer_Encoding": "chunked", "ETag": etag}
        conversation.say(200, b"", **headers)
        for start in range(0, len(content), 1000):
            piece = content[start : start + 1000]
            conversation.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        conversation.send(b"0\r\n\r\n")

    return answer


def in_turn(*answers: Answerer) -> Answerer:
    """Give one answer after the other, the last for ever."""
    left = list(answers)
    return lambda conversation: (left.pop(0) if len(left) > 1 else left[0])(conversation)


def raw(*pieces: bytes) -> Answerer:
    """Send bytes as they are, whatever HTTP has to say about it."""

    def answer(conversation: Conversation) -> None:
        for piece in pieces:
            conversation.send(piece)

    return answer


def drip(before: bytes, drop: bytes) -> Answerer:
    """Send a beginning at once and then a drop now and then, for ever."""

    def answer(conversation: Conversation) -> None:
        conversation.send(before)
        while not conversation.lying_server.ending.wait(0.02):
            conversation.send(drop)

    return answer
