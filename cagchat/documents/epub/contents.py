"""Read an EPUB's tables of contents: the navigation document of EPUB 3, the NCX of EPUB 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from lxml import etree

from cagchat.documents.archive import Archive
from cagchat.documents.epub.links import Target, follow
from cagchat.documents.xml import attribute, children, descendants, local, parse_xml, text_of
from cagchat.errors import BookError

_LONGEST_TITLE = 200
_MOST_ENTRIES = 20_000
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a table of contents; `level` is 1 for the outermost. `target` is None for a title without a link."""

    title: str
    target: Target | None
    level: int = 1


@dataclass(frozen=True, slots=True)
class Contents:
    """Chapters, printed pages, and the places that EPUB 3 names ("cover", "toc"), as (type, stored name)."""

    chapters: tuple[Entry, ...] = ()
    pages: tuple[Entry, ...] = ()
    landmarks: tuple[tuple[str, str], ...] = ()


def read_contents(archive: Archive, nav: str, ncx: str) -> Contents:
    """Read both tables where they exist; the navigation document counts first, each part for itself."""
    new = _read_nav(archive, nav) if nav else Contents()
    if new.chapters and new.pages:
        return new
    old = _read_ncx(archive, ncx) if ncx else Contents()
    return Contents(new.chapters or old.chapters, new.pages or old.pages, new.landmarks)


def _read_nav(archive: Archive, path: str) -> Contents:
    """Read a navigation document; a damaged one is as good as none."""
    if (root := _root(archive, path)) is None:
        return Contents()
    navs: dict[str, etree._Element] = {}
    for nav in descendants(root, "nav"):
        navs.setdefault(attribute(nav, "type").lower() or "toc", nav)
    return Contents(
        chapters=tuple(_lines(archive, path, navs.get("toc"))),
        pages=tuple(_lines(archive, path, navs.get("page-list"))),
        landmarks=tuple(_landmarks(archive, path, navs.get("landmarks"))),
    )


def _landmarks(archive: Archive, path: str, nav: etree._Element | None) -> Iterator[tuple[str, str]]:
    """Yield the places that the landmarks name."""
    for link in islice(descendants(nav, "a"), _MOST_ENTRIES) if nav is not None else ():
        if target := follow(archive, path, attribute(link, "href")):
            yield attribute(link, "type").lower(), target.path


def _lines(archive: Archive, path: str, nav: etree._Element | None) -> Iterator[Entry]:
    """Yield the lines of one `nav`: each list item with its level among the lists."""
    for item in islice(descendants(nav, "li"), _MOST_ENTRIES) if nav is not None else ():
        link = next(children(item, "a", "span"), None)
        if link is None:
            link = next((found for found in descendants(item, "a", "ol") if local(found) == "a"), None)
        if link is None:
            continue
        level = sum(1 for parent in item.iterancestors() if local(parent) in ("ol", "ul"))
        yield _entry(archive, path, _label(link), attribute(link, "href"), level)


def _label(link: etree._Element) -> str:
    """Return a link's text, or what stands in for it when it is a picture."""
    if text := text_of(link) or attribute(link, "title"):
        return text
    return next((attribute(image, "alt") for image in descendants(link, "img") if attribute(image, "alt")), "")


def _read_ncx(archive: Archive, path: str) -> Contents:
    """Read an NCX; a damaged one is as good as none."""
    if (root := _root(archive, path)) is None:
        return Contents()
    return Contents(
        chapters=tuple(_points(archive, path, root, "navPoint")),
        pages=tuple(_points(archive, path, root, "pageTarget")),
    )


def _points(archive: Archive, path: str, root: etree._Element, name: str) -> Iterator[Entry]:
    """Yield the points of an NCX in the order of the file, which is the order of reading."""
    for point in islice(descendants(root, name), _MOST_ENTRIES):
        label = next(children(point, "navLabel"), None)
        content = next(children(point, "content"), None)
        title = text_of(label) if label is not None else ""
        href = attribute(content, "src") if content is not None else ""
        level = 1 + sum(1 for parent in point.iterancestors() if local(parent) == name)
        yield _entry(archive, path, title or attribute(point, "value"), href, level)


def _entry(archive: Archive, path: str, title: str, href: str, level: int) -> Entry:
    """Make an entry of what one line says."""
    return Entry(title[:_LONGEST_TITLE].strip(), follow(archive, path, href) if href else None, min(level, _DEEPEST))


def _root(archive: Archive, path: str) -> etree._Element | None:
    """Parse one table; None when it is missing or unreadable."""
    try:
        root = parse_xml(archive.read(path), path)
    except BookError:
        return None
    # Readings over a word are not part of it.
    etree.strip_elements(root, "{*}rt", "{*}rp", with_tail=False)
    return root
