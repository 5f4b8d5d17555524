"""Choose the loader for a file by what it holds, then by its suffix, or say by name why it cannot be opened.

A new format is one more `Loader` in `LOADERS`. Loaders of formats with an inner structure (archives, markup, PDF), and
any that get a large file, work in a process of their own with limits on time and memory: what they are given may have
been made to harm.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import PurePath

from cagchat.documents.document import Document
from cagchat.documents.encoding import mark_of, unmarked_utf16
from cagchat.documents.kinds import DOCX, EPUB, HTML, PDF, SUFFIXES, ZIP, Kind, recognise
from cagchat.errors import BookError


@dataclass(frozen=True, slots=True)
class Loader:
    """One format: `target` is its function as "module:function"; `suffixes` are lower case, with their dot.

    The function takes content, name and password, and returns a document whose `kind` is `name`. `kind` here is what
    its files are recognised as; a format without one has no signature, its suffix alone tells. `apart` says that it
    always works in a process of its own.
    """

    name: str
    target: str
    suffixes: tuple[str, ...]
    kind: Kind | None = None
    apart: bool = False


PLAIN = Loader("text", "cagchat.documents.registry:load_plain", (".txt", ".text", ".asc"))
LOADERS = (
    Loader("epub", "cagchat.documents.epub:load_epub", (".epub",), EPUB, apart=True),
    Loader("pdf", "cagchat.documents.pdf:load_pdf", (".pdf",), PDF, apart=True),
    Loader("docx", "cagchat.documents.docx:load_docx", (".docx", ".docm"), DOCX, apart=True),
    Loader("html", "cagchat.documents.html:load_html", (".html", ".htm", ".xhtml"), HTML, apart=True),
    Loader("markdown", "cagchat.documents.registry:load_marked", (".md", ".markdown", ".mdown", ".mkd")),
    PLAIN,
)

# Twenty times War and Peace, more than any model holds; loading it takes three seconds and half a gigabyte of memory.
MAX_TEXT_BYTES = 64 << 20
# A text in which every line may be a heading takes minutes at ten times as much; a long novel takes less than this.
_LARGE_BYTES = 4 << 20

# Escape and backspace colour and underline terminal output that was saved.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x08\x1b\x1a")) + b"\x7f"
_MOST_NULS = 0.001
_MOST_CONTROLS = 0.02


def parse(content: bytes, name: str, password: str = "") -> Document:
    """Return the document in `content`; `name` is its path, for suffix, title and messages.

    Raises `BookError` for formats that no loader takes, for binary files, for files without text and for damaged ones,
    and its `PasswordNeeded` when `password` does not open the file.
    """
    loader = chosen(content, name)
    document = _load(loader, content, name, password)
    if note := _misnamed(loader, name):
        return replace(document, notes=(note, *document.notes))
    return document


def chosen(content: bytes, name: str) -> Loader:
    """Return the loader that takes a file. Raises `BookError` when there is none."""
    if kind := recognise(content):
        for loader in LOADERS:
            if loader.kind is kind:
                return loader
        raise _unsupported(kind, name)
    suffix = PurePath(name).suffix.lower()
    if is_binary(content):
        raise _binary(suffix, name)
    for loader in LOADERS:
        # What is text is no EPUB, PDF or DOCX, whatever it is called; markup may be a part of a page without its tag.
        if suffix in loader.suffixes and loader.kind in (None, HTML):
            return loader
    return PLAIN


def worth_reading(head: bytes) -> bool:
    """Tell by a file's first bytes whether a loader may take it, so that films need not be read to the end."""
    kind = recognise(head)
    return bool(head) and (kind is None or kind is ZIP or any(loader.kind is kind for loader in LOADERS))


def suffixes() -> list[str]:
    """Return the suffixes of files that can be opened."""
    return [suffix for loader in LOADERS for suffix in loader.suffixes]


def is_binary(content: bytes) -> bool:
    """Tell whether the bytes have more control characters than any text, in an encoding of 8 bits or of 16."""
    if mark_of(content) or unmarked_utf16(content):
        return False
    controls = len(content) - len(content.translate(None, _CONTROLS))
    return content.count(0) > _MOST_NULS * len(content) or controls > _MOST_CONTROLS * len(content)


def _load(loader: Loader, content: bytes, name: str, password: str) -> Document:
    """Run a loader where it belongs; it is imported only now."""
    if loader.kind is None and len(content) > MAX_TEXT_BYTES:
        raise BookError(
            f"{name} is a text of more than {MAX_TEXT_BYTES >> 20} MiB, which no model can hold.",
            f"Cut it into books: `split --line-bytes=4M {shlex.quote(name)}`.",
        )
    if loader.apart or len(content) > _LARGE_BYTES:
        from cagchat.documents.sandbox import apart

        return apart(loader.target, content, name, password)
    module, _, function = loader.target.partition(":")
    document = getattr(import_module(module), function)(content, name, password)
    assert isinstance(document, Document)
    return document


def load_plain(content: bytes, name: str, password: str = "") -> Document:
    """Load plain text, which no password protects."""
    from cagchat.documents.text import load_text  # 15 ms of patterns for headings

    return load_text(content, name)


def load_marked(content: bytes, name: str, password: str = "") -> Document:
    """Load Markdown, which no password protects."""
    from cagchat.documents.markdown import load_markdown  # 5 ms

    return load_markdown(content, name)


def _misnamed(loader: Loader, name: str) -> str:
    """Say that a file is something else than its suffix tells; "" when it is not."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in suffixes() or suffix in loader.suffixes:
        return ""
    kind = loader.kind.name if loader.kind else "plain text"
    return f"The file is called {suffix}, but it is {kind}."


def _binary(suffix: str, name: str) -> BookError:
    """Describe a file that is no text and begins like nothing that is known."""
    if kind := SUFFIXES.get(suffix):
        return BookError(
            f"{name} is called {suffix}, but it does not begin like {kind.name}: it is damaged or something else.",
            "Get the file again; a download or a copy may have failed.",
        )
    return BookError(f"{name} is not text: it is full of control characters.", "Give an EPUB, PDF, DOCX or text file.")


def _unsupported(kind: Kind, name: str) -> BookError:
    """Describe a format that was recognised, with the command that makes a file of it that can be opened."""
    message = f"{name} is {kind.name}, which cannot be opened."
    if not kind.command:
        return BookError(message, kind.advice or "Give an EPUB, PDF, DOCX, HTML, Markdown or text file.")
    source, target = shlex.quote(name), shlex.quote(str(PurePath(name).with_suffix(kind.becomes)))
    verb = "Unpack" if kind.packed else "Convert"
    return BookError(message, f"{verb} it first: `{kind.command.format(source=source, target=target)}`.")
