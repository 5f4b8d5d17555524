"""Read the files of an EPUB that hold its text, and join them into one: what stands where is kept by file and id."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cagchat.documents.archive import Archive
from cagchat.documents.assembly import Assembled, assemble
from cagchat.documents.epub.contents import Contents
from cagchat.documents.epub.links import Target, spellings
from cagchat.documents.epub.package import Package
from cagchat.documents.markup import Block, blocks
from cagchat.documents.registry import is_binary
from cagchat.documents.xml import decode_xml, descendants, parse_xml, text_of
from cagchat.errors import BookError

# A cover, or a title page that is a picture, has a line or two; what has more is read, whatever it is called.
_LONGEST_COVER = 300
_COVER_NAMES = ("cover", "coverpage", "cover-page", "cover_page", "表紙")
# Share of a file's text that is links when it is a table of contents.
_LINKED = 0.6
_MARKED = rb"""\b(?:epub:type|role)\s{0,9}=\s{0,9}["'][^"']{0,200}\b(?:%s)\b"""
_MARKED_LIST = re.compile(_MARKED % b"toc|doc-toc|landmarks")
_MARKED_NOTES = re.compile(_MARKED % b"footnotes?|endnotes?|rearnotes?|doc-footnote|doc-endnotes?")
_LIST_NAMES = re.compile(r"(?:toc|contents|inhalt|index)\b", re.I)


@dataclass(frozen=True, slots=True)
class Pages:
    """The text of all files that are read, in reading order; its anchors are "path#id", and "path#" for a beginning.

    `paths` are the files in that order, `unreadable` those of the reading order that are no text at all.
    """

    joined: Assembled
    paths: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    def offset_of(self, target: Target) -> int | None:
        """Return where a link leads in the text; None when its file is not read or has no such id."""
        names = (f"{target.path}#{fragment}" for fragment in spellings(target.fragment))
        return next((self.joined.anchors[name] for name in names if name in self.joined.anchors), None)

    def part(self, start: int, text: str) -> Pages:
        """Return what is known about `text`, which begins at `start` of the whole."""
        return replace(self, joined=self.joined.part(start, text))


def read_pages(archive: Archive, package: Package, contents: Contents) -> Pages:
    """Read the spine without its cover, its navigation and its lists of links.

    What stands aside from the reading order is left out, but for notes: they are read when the text leads to them.
    """
    places = (*package.guide, *contents.landmarks)
    lists = {path for kind, path in places if kind == "toc"}
    covers = {path for kind, path in places if kind == "cover"}
    read: list[tuple[str, list[Block]]] = []
    left_out: list[tuple[str, list[Block]]] = []
    unreadable: list[str] = []
    for path in (*package.spine, *package.aside):
        if path == package.nav and len(package.spine) > 1:
            continue
        content = archive.read(path).rstrip(b"\0")  # some packers fill up blocks
        if is_binary(content):
            unreadable.append(path)
            continue
        if path in package.aside and not _MARKED_NOTES.search(content):
            continue
        if (path in lists or _may_be_list(content, path)) and _is_list_of_links(content, path):
            continue
        found = blocks(decode_xml(content), xml=True)
        is_cover = path in covers or _is_named_cover(path) or (not read and _shows_pictures(found))
        if is_cover and sum(len(block.text) for block in found) < _LONGEST_COVER:
            left_out.append((path, found))
        else:
            read.append((path, found))
    files = read or left_out
    return Pages(assemble(_named(files)), tuple(path for path, _ in files), tuple(unreadable))


def _named(files: Iterable[tuple[str, list[Block]]]) -> Iterator[Block]:
    """Yield the blocks with text, their ids made those of the book; ids without text go to the text that follows."""
    names: list[str] = []
    breaks: list[tuple[str, int]] = []
    for path, found in files:
        names.append(f"{path}#")
        for block in found:
            names += (f"{path}#{anchor}" for anchor in block.anchors)
            if not block.text:
                breaks += ((label, 0) for label, _ in block.breaks)
                continue
            yield replace(block, anchors=tuple(names), breaks=(*breaks, *block.breaks))
            names, breaks = [], []


def _is_named_cover(path: str) -> bool:
    """Tell whether a file's name says that it is the cover."""
    return posixpath.splitext(posixpath.basename(path))[0].lower() in _COVER_NAMES


def _shows_pictures(found: Iterable[Block]) -> bool:
    """Tell whether a file has no words but those that describe its pictures."""
    return all(block.text.startswith("[") and block.text.endswith("]") for block in found if block.text)


def _may_be_list(content: bytes, path: str) -> bool:
    """Tell whether a file is marked or named as a table of contents."""
    return bool(_LIST_NAMES.match(posixpath.basename(path)) or _MARKED_LIST.search(content))


def _is_list_of_links(content: bytes, path: str) -> bool:
    """Tell whether most of a file's text is links, as in a table of contents."""
    try:
        root = parse_xml(content, path)
    except BookError:
        return False
    body = next(descendants(root, "body"), root)
    linked = sum(len(text_of(link)) for link in descendants(body, "a"))
    return linked >= _LINKED * len(text_of(body))
