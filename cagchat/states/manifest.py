"""What a state folder holds, in its own words: the source of truth about it.

A manifest is JSON with a digest over its own content, so that a flipped bit in it is found like one in a state.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from cagchat.documents.document import Document, Page, Section
from cagchat.engine.protocol import Blob, Part, Probe
from cagchat.errors import StateDamaged
from cagchat.files import write_bytes
from cagchat.prompt import Frame
from cagchat.states.key import StateKey

_FILE_NAME = re.compile(r"(state|checkpoint|boundary)-(?P<position>[0-9]{1,10})\.bin")


@dataclass(frozen=True, slots=True)
class BookRecord:
    """The book a state was made from. `section_tokens` are the token indices at which its sections end.

    `sections` are (title, start, end, level) and `pages` (label, start), in characters of the text.
    """

    title: str
    author: str
    path: str
    digest: str
    kind: str
    n_characters: int
    sections: tuple[tuple[str, int, int, int], ...]
    section_tokens: tuple[int, ...]
    truncated: bool
    language: str = ""
    pages: tuple[tuple[str, int], ...] = ()

    def document(self, text: str) -> Document:
        """Return the book as it was read, from the text that is kept beside the manifest."""
        sections = tuple(Section(title, start, end, level) for title, start, end, level in self.sections)
        pages = tuple(Page(label, start) for label, start in self.pages)
        return Document(self.title, text, sections, self.kind, self.author, self.language, pages=pages)


@dataclass(frozen=True, slots=True)
class StateFile:
    """One file of a sequence's state: its name in the folder and what was written.

    A boundary's `probe` is of the sequence that was rewound to it; None where it was kept before there were such.
    """

    name: str
    blob: Blob
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A state folder's content.

    `state` is the sealed state of the whole prefix, None while the book is being read; then `checkpoint` is how far it
    got. `boundaries` are snapshots at section ends. `build` is the llama.cpp that made the state; `read_s` the seconds
    of pure reading so far.
    """

    key: StateKey
    model_name: str
    model_path: str
    memory: str
    build: str
    frame: Frame
    n_head: int
    book: BookRecord
    created_at: float
    read_s: float = 0.0
    checkpoint: StateFile | None = None
    boundaries: tuple[StateFile, ...] = ()
    state: StateFile | None = None
    probe: Probe | None = None

    @property
    def n_tokens(self) -> int:
        """The length of the whole prefix, in tokens."""
        return self.key.n_tokens

    @property
    def position(self) -> int:
        """How many tokens of the prefix are on disk."""
        file = self.state or self.checkpoint
        return file.blob.n_tokens if file else 0


def write(path: Path, manifest: Manifest) -> None:
    """Replace the manifest in one step."""
    content = asdict(manifest)
    # ASCII, because the path of a book may hold bytes that are no UTF-8 (lone surrogates in a str).
    text = json.dumps({"digest": _digest(content), "content": content}, indent=1)
    write_bytes(path, text.encode())


def read(path: Path) -> Manifest:
    """Read a manifest back. Raises `StateDamaged` when it is missing, not ours or not what was written."""
    hint = "The book has to be read again; the damaged folder is set aside, not deleted."
    try:
        document = json.loads(path.read_bytes())
        content = document["content"]
        if document["digest"] != _digest(content):
            raise StateDamaged(f"{path} is damaged: its content does not match its digest.", hint)
        return _manifest(content)
    except OSError as error:
        raise StateDamaged(f"{path} cannot be read: {error.strerror}.", hint) from error
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise StateDamaged(f"{path} is not a manifest of this version.", hint) from error


def _digest(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return str(xxhash.xxh3_128_hexdigest(canonical.encode()))


def _manifest(content: dict[str, Any]) -> Manifest:
    book = content["book"]
    fields = content | {
        "key": StateKey(**content["key"]),
        "frame": Frame(**content["frame"]),
        "book": BookRecord(
            **book
            | {
                "sections": tuple((str(t), int(s), int(e), int(n)) for t, s, e, n in book["sections"]),
                "section_tokens": tuple(book["section_tokens"]),
                "pages": tuple((str(label), int(start)) for label, start in book.get("pages", ())),
            }
        ),
        "checkpoint": _file(content["checkpoint"]),
        "boundaries": tuple(filter(None, map(_file, content["boundaries"]))),
        "state": _file(content["state"]),
        "probe": _probe(content["probe"]),
    }
    return Manifest(**fields)


def _probe(content: dict[str, Any] | None) -> Probe | None:
    if content is None:
        return None
    top = tuple((int(token), float(logit)) for token, logit in content["top"])
    if not top or not all(math.isfinite(logit) for _, logit in top):
        raise ValueError(top)  # nothing could be proved by it
    return Probe(int(content["token"]), top)


def _file(content: dict[str, Any] | None) -> StateFile | None:
    if content is None:
        return None
    blob = content["blob"]
    parts = tuple(
        Part(**part | {"layers": tuple((int(kind), int(size)) for kind, size in part["layers"])})
        for part in blob["parts"]
    )
    name = str(content["name"])
    found = _FILE_NAME.fullmatch(name)  # a manifest names files of its own folder only, by where they end
    if found is None or int(found["position"]) != blob["n_tokens"] or blob["piece_bytes"] < 1:
        raise ValueError(name)
    pieces = tuple(blob["pieces"])
    return StateFile(name, Blob(**blob | {"pieces": pieces, "parts": parts}), _probe(content.get("probe")))
