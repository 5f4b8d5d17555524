"""Read an EPUB's package file (OPF): who wrote the book, which files it has, and in which order they are read."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from lxml import etree

from cagchat.documents.archive import Archive
from cagchat.documents.epub.links import follow
from cagchat.documents.xml import attribute, children, descendants, parse_xml, text_of
from cagchat.errors import BookError

CONTAINER = "META-INF/container.xml"

_PAGES = (".xhtml", ".html", ".htm", ".xht")
_PAGE_TYPES = (
    "application/xhtml+xml",
    "text/html",
    "application/x-dtbook+xml",
    "text/x-oeb1-document",
    "image/svg+xml",
)
_LONGEST_FALLBACK = 10
# As many as an archive may have members.
_MOST_ITEMS = 20_000
_NOBODY = ("unknown", "unbekannt", "inconnu", "desconocido", "various")
_NO_LANGUAGE = ("", "und", "zxx", "undefined")

_Refinements = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the book: its stored name, media type and EPUB 3 properties ("nav", "cover-image")."""

    path: str
    media_type: str = ""
    properties: tuple[str, ...] = ()

    @property
    def is_page(self) -> bool:
        """Whether the file is marked-up text."""
        return self.media_type in _PAGE_TYPES or self.path.lower().endswith(_PAGES)


@dataclass(frozen=True, slots=True)
class Package:
    """What the package file says. `spine` holds the pages in reading order, each once.

    `aside` are pages with linear="no"; `guide` maps EPUB 2's names of places ("cover", "toc") to stored names;
    `missing` are links of the spine that lead to nothing; `guessed` tells that there was no spine to follow.
    """

    path: str
    title: str
    author: str
    language: str
    spine: tuple[str, ...]
    aside: tuple[str, ...]
    nav: str = ""
    ncx: str = ""
    guide: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    guessed: bool = False


def find_package(archive: Archive, book: str) -> str:
    """Return the stored name of the package file: as the container says, else the first .opf file there is."""
    if name := archive.find(CONTAINER):
        try:
            container = parse_xml(archive.read(name), name)
        except BookError:
            pass  # a damaged container is as good as none
        else:
            for rootfile in descendants(container, "rootfile"):
                if target := follow(archive, "", attribute(rootfile, "full-path")):
                    return target.path
    packages = [name for name in archive.names if name.lower().endswith(".opf")]
    if not packages:
        raise BookError(
            f"{book} is no complete EPUB: there is no package file (.opf) in it.", "Download or export it again."
        )
    return min(packages, key=lambda name: (name.count("/"), name))


def read_package(archive: Archive, path: str) -> Package:
    """Read the package file at `path`."""
    root = parse_xml(archive.read(path), path)
    items, gone = _manifest(archive, path, root)
    spine, aside, missing = _spine(root, items, gone)
    guessed = not spine and not aside
    if guessed:
        spine = [item.path for item in items.values() if item.is_page]
    elif not spine:
        spine, aside = aside, []
    read = frozenset(spine)
    refinements = _refinements(root)
    return Package(
        path=path,
        title=_title(root, refinements),
        author=_author(root, refinements),
        language=_language(root),
        spine=tuple(dict.fromkeys(spine)),
        aside=tuple(dict.fromkeys(page for page in aside if page not in read)),
        nav=next((item.path for item in items.values() if "nav" in item.properties), ""),
        ncx=_ncx(root, items),
        guide=_guide(archive, path, root),
        missing=tuple(dict.fromkeys(missing)),
        guessed=guessed,
    )


def _manifest(archive: Archive, base: str, root: etree._Element) -> tuple[dict[str, Item], dict[str, str]]:
    """Return the files by id, the first of each id, and the links of those that are not in the archive."""
    items: dict[str, Item] = {}
    gone: dict[str, str] = {}
    fallbacks: dict[str, str] = {}
    for element in islice(descendants(root, "item"), _MOST_ITEMS):
        key, href = attribute(element, "id"), attribute(element, "href")
        if not href or key in items:
            continue
        target = follow(archive, base, href)
        if target is None:
            gone.setdefault(key, href)
            continue
        media_type = attribute(element, "media-type").lower()
        items[key] = Item(target.path, media_type, tuple(attribute(element, "properties").split()))
        fallbacks[key] = attribute(element, "fallback")
    return {key: _readable(key, items, fallbacks) for key in items}, gone


def _readable(key: str, items: dict[str, Item], fallbacks: dict[str, str]) -> Item:
    """Return the item, or the first page among those that stand in for it."""
    stand_in = key
    for _ in range(_LONGEST_FALLBACK):
        if stand_in not in items:
            break
        if items[stand_in].is_page:
            return items[stand_in]
        stand_in = fallbacks[stand_in]
    return items[key]


def _spine(
    root: etree._Element, items: dict[str, Item], gone: dict[str, str]
) -> tuple[list[str], list[str], list[str]]:
    """Return the pages read in order, those aside from it, and the links that lead to nothing."""
    spine: list[str] = []
    aside: list[str] = []
    missing: list[str] = []
    for reference in islice(descendants(root, "itemref"), _MOST_ITEMS):
        key = attribute(reference, "idref")
        if key not in items:
            missing.append(gone.get(key, key))
        elif items[key].is_page:
            linear = attribute(reference, "linear").lower() not in ("no", "false")
            (spine if linear else aside).append(items[key].path)
    return spine, aside, missing


def _title(root: etree._Element, refinements: _Refinements) -> str:
    """Return the title: the one marked as main, else the first."""
    titles = [element for element in descendants(root, "title") if text_of(element)]
    mains = [element for element in titles if refinements.get((attribute(element, "id"), "title-type")) == "main"]
    return text_of((mains or titles)[0]) if titles else ""


def _author(root: etree._Element, refinements: _Refinements) -> str:
    """Return the creators who are authors, or all of them when no role is given."""
    creators = [element for element in descendants(root, "creator") if text_of(element)]
    roles = [
        attribute(element, "role") or refinements.get((attribute(element, "id"), "role"), "") for element in creators
    ]
    authors = [element for element, role in zip(creators, roles, strict=True) if role in ("", "aut")]
    names = dict.fromkeys(text_of(element) for element in authors or creators)
    return ", ".join(name for name in names if name.lower() not in _NOBODY)


def _language(root: etree._Element) -> str:
    """Return the first language that is one."""
    languages = (text_of(element) for element in descendants(root, "language"))
    return next((language for language in languages if language.lower() not in _NO_LANGUAGE), "")


def _refinements(root: etree._Element) -> _Refinements:
    """Return what EPUB 3's `meta` elements say about others, by id and property; the first of each counts."""
    found: _Refinements = {}
    for meta in descendants(root, "meta"):
        if refined := attribute(meta, "refines"):
            found.setdefault((refined.removeprefix("#"), attribute(meta, "property")), text_of(meta))
    return found


def _ncx(root: etree._Element, items: dict[str, Item]) -> str:
    """Return the NCX that the spine names, else the first one in the manifest."""
    named = next((attribute(spine, "toc") for spine in descendants(root, "spine")), "")
    if named in items and not items[named].is_page:
        return items[named].path
    listed: Sequence[str] = [
        item.path
        for item in items.values()
        if item.media_type == "application/x-dtbncx+xml" or posixpath.splitext(item.path)[1].lower() == ".ncx"
    ]
    return listed[0] if listed else ""


def _guide(archive: Archive, base: str, root: etree._Element) -> tuple[tuple[str, str], ...]:
    """Return the places that EPUB 2's guide names."""
    found = []
    for guide in children(root, "guide"):
        for reference in islice(children(guide, "reference"), _MOST_ITEMS):
            if target := follow(archive, base, attribute(reference, "href")):
                found.append((attribute(reference, "type").lower(), target.path))
    return tuple(found)
