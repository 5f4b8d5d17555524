"""Load HTML: saved web pages, single-page manuals, books as one page; what stands around the text is left out."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from cagchat.documents.assembly import assemble
from cagchat.documents.boilerplate import main_part
from cagchat.documents.document import Document
from cagchat.documents.elements import Event, Start, match_ends, read_elements, text_between
from cagchat.documents.encoding import decode, mark_of, notes_on
from cagchat.documents.gutenberg import unframe
from cagchat.documents.left_out import note_on_share
from cagchat.documents.markup import Block, read_blocks
from cagchat.documents.text import no_text
from cagchat.documents.titles import title_from_name

KIND = "html"

_HEAD_BYTES = 4096
_LONGEST_FIELD = 300
_CHARSET = re.compile(rb"""<meta\b[^>]{0,200}?\bcharset\s{0,9}=\s{0,9}["']?\s{0,9}([A-Za-z0-9._:-]{1,40})""", re.I)
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([A-Za-z0-9._:-]{1,40})["']""")
# What browsers take these names for (WHATWG Encoding).
_AS_BROWSERS_DO = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
# Python's codecs that are no encodings of files.
_NO_FILES = frozenset(("idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7", "undefined"))

_TITLES = ("dc.title", "dcterms.title", "citation_title", "og:title", "twitter:title")
_AUTHORS = ("author", "dc.creator", "dcterms.creator", "citation_author", "article:author", "book:author")
_LANGUAGES = ("dc.language", "dcterms.language", "content-language", "language")
_ADDRESS = re.compile(r"https?://", re.I)


@dataclass(frozen=True, slots=True)
class _Head:
    """What a page says about itself; empty where it says nothing."""

    title: str = ""
    author: str = ""
    language: str = ""


def load_html(content: bytes, name: str, password: str = "") -> Document:
    """Return the document in a page; `name` is the file's path, the last resort for a title.

    Raises `BookError` when no text is left. Pages have no passwords: `password` is what all loaders take.
    """
    markup, encoding = decode_page(content)
    events = read_elements(markup, xml=_is_xhtml(markup))
    main = main_part(events)
    found = read_blocks(main.events)
    left_out = note_on_share(
        main.left_out, main.characters, "forms, what is hidden, and what stands beside the main part"
    )
    if not any(block.text for block in found):
        found, left_out = read_blocks(events), ()
    whole = assemble(found)
    framed = unframe(whole.text)
    if not framed.text.strip():
        raise no_text(name)
    book = whole.part(framed.start, framed.text) if framed.start else whole
    head = _read_head(events)
    return Document(
        title=framed.title or head.title or _only_title(found) or title_from_name(name),
        text=book.text,
        sections=book.sections,
        kind=KIND,
        author=framed.author or head.author,
        language=framed.language or head.language,
        notes=(*notes_on(book.text, encoding), *left_out, *framed.notes),
        pages=book.pages,
    )


def decode_page(content: bytes) -> tuple[str, str]:
    """Return the markup and the name of its encoding: by its mark, by what it declares, else by what it looks like.

    A declaration that the bytes contradict is left over from a conversion, and does not count.
    """
    if not mark_of(content):
        head = content[:_HEAD_BYTES]
        if declared := _CHARSET.search(head) or _DECLARED.search(head):
            encoding = _known(declared[1].decode("ascii"))
            if encoding and not (encoding != "utf-8" and _is_wide_utf8(content)):
                try:
                    return content.decode(encoding), encoding
                except (UnicodeError, ValueError):
                    pass
    return decode(content)


def _known(name: str) -> str:
    """Return Python's name of an encoding for files that write their tags in ASCII; "" for all others."""
    try:
        found = codecs.lookup(name)
        fits = "<a>".encode(found.name) == b"<a>"
    except (LookupError, ValueError, TypeError, UnicodeError):
        return ""
    return _AS_BROWSERS_DO.get(found.name, found.name) if fits and found.name not in _NO_FILES else ""


def _is_wide_utf8(content: bytes) -> bool:
    """Tell whether the bytes are UTF-8 with characters outside ASCII: no text in another encoding is so by chance."""
    if content.isascii():
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_xhtml(markup: str) -> bool:
    """Tell whether a page says that it follows XML's rules; `<title/>` means something else in HTML."""
    start = markup[:1000].lstrip("\ufeff \t\r\n")
    return start.startswith("<?xml") and "http://www.w3.org/1999/xhtml" in markup[:4000]


def _read_head(events: list[Event]) -> _Head:
    """Read title, author and language from a page's own description."""
    ends = match_ends(events)
    fields: dict[str, str] = {}
    title = language = ""
    for index, event in enumerate(events):
        if not isinstance(event, Start):
            continue
        if event.name == "html":
            language = language or event.get("lang", "xml:lang")
        elif event.name == "title" and not title:
            title = text_between(events, index, ends[index], _LONGEST_FIELD)
        elif event.name == "meta" and (value := event.get("content")):
            key = event.get("name", "property", "http-equiv").lower()
            fields.setdefault(key, " ".join(value[:_LONGEST_FIELD].split()))
    author = next((fields[key] for key in _AUTHORS if fields.get(key) and not _ADDRESS.match(fields[key])), "")
    return _Head(
        title=next((fields[key] for key in _TITLES if fields.get(key)), title),
        author=author,
        language=language or next((fields[key] for key in _LANGUAGES if fields.get(key)), ""),
    )


def _only_title(found: list[Block]) -> str:
    """Return the heading of level 1 when there is exactly one."""
    titles = [block.text for block in found if block.level == 1]
    return titles[0] if len(titles) == 1 else ""
