"""Follow links inside an EPUB: from the file they stand in to a path in the archive and a place in that file."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from cagchat.documents.archive import Archive

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}:")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a link leads: a member's stored name, and the id inside it ("" for its beginning)."""

    path: str
    fragment: str = ""


def follow(archive: Archive, base: str, href: str) -> Target | None:
    """Resolve `href` as it stands in the file at `base`; None when it leads out of the book or to nothing.

    A name that was stored with its percent signs is found as well as one whose link alone has them.
    """
    href = href.strip()
    if _SCHEME.match(href):
        return None
    location, _, fragment = href.partition("#")
    if not location:
        return Target(base, fragment)
    for path in (location, unquote(location), unquote(location.partition("?")[0])):
        path = path.replace("\\", "/")
        for candidate in (_join(base, path), _join("", path)):
            if found := archive.find(candidate):
                return Target(found, fragment)
    return None


def spellings(fragment: str) -> Iterator[str]:
    """Yield the ids that a fragment may mean: as written, then with its percent signs resolved."""
    yield fragment
    if (plain := unquote(fragment)) != fragment:
        yield plain


def _join(base: str, path: str) -> str:
    """Return the path seen from the archive's root; steps above the root stay at the root."""
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(base), path)).lstrip("/")
