"""Messages between the program and its engine process: length-prefixed pickles over the child's stdin and stdout.

Both ends are the same program started by the same user, so pickle is safe here. States never travel this way.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import IO, Any

_HEADER = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: what to build, and from what.

    Answered by `Result` number 0 with (settings, info) for an engine (kinds "llama", "fake", "bare"), with the
    `Vocabulary` for "tokenizer", with what the library can do for "system".
    """

    kind: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """Call a method of the engine. With `stream`, every item is sent as an `Item` before the `Result`."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the request with this number to end early; harmless when it has ended."""

    number: int


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a streaming call."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a call; for a streaming call, of its stream."""

    number: int
    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """The call raised one of cagchat's errors."""

    number: int
    error: BaseException


def write_message(stream: IO[bytes], message: object) -> None:
    """Send one message."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    stream.write(_HEADER.pack(len(content)) + content)
    stream.flush()


def read_message(stream: IO[bytes]) -> Any:
    """Receive one message. Raises `EOFError` when the other end is gone, also in the middle of a message."""
    (size,) = _HEADER.unpack(_read_exactly(stream, _HEADER.size))
    return pickle.loads(_read_exactly(stream, size))


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content
