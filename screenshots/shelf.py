"""A shelf of invented books that nobody has to read: their states say what a state of such a book would."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine import Clock

from cagchat.engine.protocol import KvType
from cagchat.sessions.store import Sessions
from cagchat.states.manifest import Manifest, StateFile
from cagchat.states.present import present_key
from cagchat.states.store import StateFolder, States

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Invented:
    """A book: how much of it was read, how many hours after the one before it was used, and what was asked then."""

    title: str
    author: str
    tokens: int
    token_bytes: int
    kv_type: KvType
    hours: float
    question: str = ""
    share: float = 1.0


# Bytes of a token as in a model with 8 attention layers, 8 heads of K and V with 128 numbers each, and in q8_0.
F16, Q8 = 32_768, 17_408
BOOKS = (
    Invented("The Glassblower's Ledger", "Ivo Marchetti", 203_675, Q8, "q8_0", 3, "What did Tessa owe?"),
    Invented("What the Hedge Keeps", "Ansel Tooke", 38_417, F16, "f16", 21.2, "Where do dormice sleep?"),
    Invented("Small Engines, Repaired", "Harl Winstead", 71_156, F16, "f16", 26.7, "How wide is the points gap?"),
    Invented("Nine Winters at Corrie Light", "Effie Strand", 118_930, Q8, "q8_0", 27.3, share=0.62),
    Invented("The Cartographer's Daughter-in-Law", "Bettany Sloe", 142_391, Q8, "q8_0", 22.1, "Was the will genuine?"),
    Invented("A Field Guide to Lost Railways", "T. R. Quillon", 96_804, F16, "f16", 25.4, "Which lines met at Orsham?"),
    Invented("The Salt Almanac", "Maren Oldacre", 184_220, Q8, "q8_0", 23.8, "Who moved the sluice gate?"),
)


def shelve(states: States, sessions: Sessions, like: Manifest, clock: Clock) -> None:
    """Put the invented books into the library, each with a manifest like the one of a book that was read."""
    for book in BOOKS:
        clock.advance(HOUR_S * book.hours)
        folder = states.folder(book.title, book.title)
        manifest = invented(book, like)
        write(folder, manifest)
        folder.touch(clock())
        if book.question:
            sessions.create(
                book_digest=manifest.book.digest,
                book_title=book.title,
                book_path=manifest.book.path,
                model=manifest.model_name,
                title=book.question,
            )


def invented(book: Invented, like: Manifest) -> Manifest:
    """Return the manifest of an invented book."""
    assert like.state is not None
    position = round(book.tokens * book.share)
    blob = replace(like.state.blob, n_tokens=position, size_bytes=position * book.token_bytes)
    file = StateFile(f"{'state' if book.share == 1 else 'checkpoint'}-{position}.bin", blob)
    name = "-".join(book.title.lower().replace(",", "").replace("'", "").split())
    return replace(
        like,
        key=present_key(replace(like.key, n_tokens=book.tokens, kv_type=book.kv_type), None, ""),
        book=replace(like.book, title=book.title, author=book.author, path=f"/books/{name}.txt", digest=book.title),
        checkpoint=file if book.share < 1 else None,
        state=None if book.share < 1 else file,
    )


def write(folder: StateFolder, manifest: Manifest) -> None:
    """Write a manifest, and a file that has the size of its state but no bytes."""
    folder.path.mkdir(parents=True)
    folder.write_manifest(manifest)
    file = manifest.state or manifest.checkpoint
    assert file is not None
    with (folder.path / file.name).open("wb") as sparse:
        sparse.truncate(file.blob.size_bytes)
