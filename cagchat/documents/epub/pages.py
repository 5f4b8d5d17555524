"""Read the files of an EPUB that hold its text, and join them into one: what stands where is kept by file and id."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cagchat.documents.archive import Archive
from cagchat.documents.assembly import Assembled, assemble
from cagchat.documents.elements import Event, Start, match_ends, read_elements
from cagchat.documents.epub.contents import Contents
from cagchat.documents.epub.links import Target, spellings
from cagchat.documents.epub.package import Package
from cagchat.documents.markup import Block, hidden_characters, read_blocks
from cagchat.documents.registry import is_binary
from cagchat.documents.xml import attribute, decode_xml, descendants, parse_xml, text_of
from cagchat.errors import BookError

# A cover, a title page that is a picture, or a window that opens beside the text has a line or two; what has more is
# read, whatever it is called.
_SHORT_PAGE = 300
_ON_COVERS = frozenset(("cover", "by", "a", "novel", "the"))
_PICTURE = re.compile(rb"<(?:\w+:)?(?:img|image|svg|object|picture)\b", re.I)
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

    `paths` are the files in that order, `unreadable` those of the reading order that are no text at all. `left_out`
    counts the characters of files that are not read, and of what is hidden in others.
    """

    joined: Assembled
    paths: tuple[str, ...]
    unreadable: tuple[str, ...] = ()
    left_out: int = 0

    def offset_of(self, target: Target) -> int | None:
        """Return where a link leads in the text; None when its file is not read or has no such id."""
        names = (f"{target.path}#{fragment}" for fragment in spellings(target.fragment))
        return next((self.joined.anchors[name] for name in names if name in self.joined.anchors), None)

    def part(self, start: int, text: str) -> Pages:
        """Return what is known about `text`, which begins at `start` of the whole."""
        return replace(self, joined=self.joined.part(start, text))


def read_pages(archive: Archive, package: Package, contents: Contents) -> Pages:
    """Read the spine without its cover, its tables of contents and its lists of links.

    Of what stands aside from the reading order, notes and pages with more than a few lines are read, after the rest.
    """
    places = (*package.guide, *contents.landmarks)
    lists = {path for kind, path in places if kind == "toc"}
    covers = {path for kind, path in places if kind == "cover"}
    names = _words(f"{package.title} {package.author}")
    read: list[tuple[str, list[Block]]] = []
    left_out: list[tuple[str, list[Block]]] = []
    unreadable: list[str] = []
    unread = 0
    for path in (*package.spine, *package.aside):
        is_nav = path == package.nav and len(package.spine) > 1
        content = archive.read(path).rstrip(b"\0")  # some packers fill up blocks
        if is_binary(content):
            unreadable += [] if is_nav else [path]
            continue
        events = read_elements(decode_xml(content), xml=True)
        if is_nav:
            events = _without_navs(events)
        found = read_blocks(events)
        if is_nav and _size(found) < _SHORT_PAGE:
            continue
        is_marked = path in lists or _MARKED_LIST.search(content)
        if not is_nav and (is_marked or _is_named_list(path)) and _is_list_of_links(content, path):
            if not is_marked:
                unread += _size(found)
            continue
        unread += hidden_characters(events)
        is_cover = path in covers or _is_named_cover(path)
        if (
            (is_cover and _says_little(found, content, names))
            or (not read and _shows_pictures(found, content))
            or (path in package.aside and _size(found) < _SHORT_PAGE and not _MARKED_NOTES.search(content))
        ):
            left_out.append((path, found))
        else:
            read.append((path, found))
    files = read or left_out
    unread += sum(_size(found) for _, found in left_out if read)
    return Pages(assemble(_named(files)), tuple(path for path, _ in files), tuple(unreadable), unread)


def _without_navs(events: list[Event]) -> list[Event]:
    """Return what stands beside the tables of a navigation document: a preface, perhaps."""
    ends = match_ends(events)
    kept: list[Event] = []
    index = 0
    while index < len(events):
        event = events[index]
        if isinstance(event, Start) and event.name == "nav":
            index = ends[index]
        else:
            kept.append(event)
        index += 1
    return kept


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


def _says_little(found: Iterable[Block], content: bytes, names: frozenset[str]) -> bool:
    """Tell whether a page that is called the cover has no more on it than covers have.

    Beside a picture that is a few lines; without one, `names`, the words of the book's title and author. What else
    stands there, a dedication perhaps, is to be read.
    """
    if _PICTURE.search(content):
        return _size(found) < _SHORT_PAGE
    return all(_words(block.text) <= names | _ON_COVERS for block in found)


def _shows_pictures(found: Iterable[Block], content: bytes) -> bool:
    """Tell whether a file has no words but those that describe its pictures."""
    texts = [block.text for block in found if block.text]
    return not texts or (
        _PICTURE.search(content) is not None and all(text.startswith("[") and text.endswith("]") for text in texts)
    )


def _size(found: Iterable[Block]) -> int:
    """Return how many characters the blocks have."""
    return sum(len(block.text) for block in found)


def _words(text: str) -> frozenset[str]:
    """Return the words of a text, capitals aside."""
    return frozenset(re.findall(r"\w+", text.casefold()))


def _is_named_list(path: str) -> bool:
    """Tell whether a file's name says that it is a table of contents."""
    return bool(_LIST_NAMES.match(posixpath.basename(path)))


def _is_list_of_links(content: bytes, path: str) -> bool:
    """Tell whether most of a file's text is links to other files, as in a table of contents.

    Links within the file are those of a text with notes or an index; a table of a book in one file has no file of its
    own.
    """
    try:
        root = parse_xml(content, path)
    except BookError:
        return False
    body = next(descendants(root, "body"), root)
    linked = sum(len(text_of(link)) for link in descendants(body, "a") if _leads_away(attribute(link, "href"), path))
    return linked >= _LINKED * len(text_of(body))


def _leads_away(href: str, path: str) -> bool:
    """Tell whether a link leads to another file."""
    target = href.partition("#")[0]
    return bool(target) and posixpath.basename(target) != posixpath.basename(path)
