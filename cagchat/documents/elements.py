"""Read HTML or XML of any quality as a flat list of tags and text: no tree, so no depth is too deep.

libxml2 reports tags while it parses; only names and the few attributes that matter for reading are kept.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from cagchat.documents.xml import decode_xml

# Tags past this number are ignored and their text is kept: no book has as many, and each takes 200 bytes.
MOST_TAGS = 4_000_000

_KEPT_WORDS = (
    "id name class href alt title role style hidden lang colspan rowspan start value type alttext content charset "
    "property http-equiv aria-label aria-level epub:type xml:lang"
)
_KEPT = frozenset(_KEPT_WORDS.split())
_NO_WORDS: frozenset[str] = frozenset()
_PREFIXES = {"http://www.idpf.org/2007/ops": "epub:", "http://www.w3.org/XML/1998/namespace": "xml:"}
_VOID = "area base br col embed hr img input link meta param source track wbr"
_NAMED = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]{1,31});")
_SELF_CLOSED = re.compile(rf"<(?!(?:{'|'.join(_VOID.split())})\b)([A-Za-z][\w:.-]{{0,40}})([^<>]{{0,2000}}?)/>")


@dataclass(frozen=True, slots=True)
class Start:
    """A start tag: its name in lower case without namespace, and the attributes that were kept."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)

    def get(self, *names: str) -> str:
        """Return the first of these attributes that is there and not blank, without blanks around it; else ""."""
        return next((value for name in names if (value := self.attributes.get(name, "").strip())), "")

    def words(self, *names: str) -> frozenset[str]:
        """Return the words of these attributes in lower case: classes, roles, types."""
        if not self.attributes:
            return _NO_WORDS
        return frozenset(" ".join(self.attributes.get(name, "") for name in names).lower().split())


@dataclass(frozen=True, slots=True)
class End:
    """An end tag."""

    name: str


Event = Start | End | str


def read_elements(markup: str, *, xml: bool = False) -> list[Event]:
    """Return tags and text in order; every start tag has its end tag. Never raises on bad markup.

    `xml` reads XHTML by XML's rules; a file that breaks them is read as a browser reads HTML.
    """
    if xml:
        # Without a document type, XML knows five names of characters.
        text = _NAMED.sub(_named, markup)
        events = _parse(text, etree.XMLParser, resolve_entities=False, no_network=True, load_dtd=False)
        if events is not None:
            return events
        markup = _SELF_CLOSED.sub(r"<\1\2></\1>", markup)
    return _parse(markup, etree.HTMLParser, no_network=True) or []


def match_ends(events: list[Event]) -> dict[int, int]:
    """Return for the index of each start tag the index of its end tag."""
    opened: list[int] = []
    ends: dict[int, int] = {}
    for index, event in enumerate(events):
        if isinstance(event, Start):
            opened.append(index)
        elif isinstance(event, End):
            ends[opened.pop()] = index
    return ends


def text_between(events: list[Event], start: int, end: int, most: int = 1000) -> str:
    """Return the text of `events[start:end]` on one line, up to about `most` characters."""
    pieces: list[str] = []
    size = 0
    for event in events[start:end] if end - start < most else events[start : start + most]:
        if isinstance(event, str):
            pieces.append(event)
            size += len(event)
            if size >= most:
                break
    return " ".join("".join(pieces).split())


def decode_markup(content: bytes, *, encoding: str = "") -> str:
    """Return markup as text; without a named encoding by its mark, its XML declaration, or what the bytes look like."""
    return content.decode(encoding, "replace") if encoding else decode_xml(content)


def _parse(text: str, make: type[etree.XMLParser] | type[etree.HTMLParser], **options: bool) -> list[Event] | None:
    """Run one of libxml2's parsers; None when it gives up."""
    target = _Target()
    parser = make(target=target, encoding="utf-8", huge_tree=True, **options)
    try:
        parser.feed(text.encode("utf-8", "replace"))
        parser.close()
    except (etree.LxmlError, ValueError):
        if make is etree.XMLParser:
            return None
    return target.finished()


def _named(match: re.Match[str]) -> str:
    """Return the character with this name, or the name as it is read when there is none."""
    name = match[0]
    character = html.unescape(name)
    return name.replace("&", "&amp;") if character == name or character in "<&>" else character


class _Target:
    """Collects what the parser reports, and balances it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._open: list[str] = []
        self._ignored = 0
        self._tags = 0

    def start(self, tag: str, attributes: Any) -> None:
        self._tags += 1
        if self._tags > MOST_TAGS:
            self._ignored += 1
            return
        name = _local(tag)
        kept = {key: value for raw, value in attributes.items() if (key := _attribute(raw)) in _KEPT}
        self._open.append(name)
        self.events.append(Start(name, kept))

    def end(self, tag: str) -> None:
        if self._ignored:
            self._ignored -= 1
        elif self._open:
            self.events.append(End(self._open.pop()))

    def data(self, data: str) -> None:
        self.events.append(data)

    def comment(self, text: str) -> None:
        """Leave out a comment."""

    def pi(self, target: str, data: str | None = None) -> None:
        """Leave out a processing instruction."""

    def close(self) -> None:
        """Return nothing to the parser: `finished` has it."""

    def finished(self) -> list[Event]:
        """Return the events, with end tags for what was left open."""
        while self._open:
            self.events.append(End(self._open.pop()))
        return self.events


def _local(tag: str) -> str:
    """Return a tag's name without namespace and prefix."""
    return tag.rpartition("}")[2].rpartition(":")[2].lower()


def _attribute(name: str) -> str:
    """Return an attribute's name as HTML spells it."""
    if name[:1] != "{":
        return name.lower()
    uri, _, local = name[1:].partition("}")
    return _PREFIXES.get(uri, "") + local
