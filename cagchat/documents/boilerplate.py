"""Leave out what stands around the text of a web page: menus, banners, forms, comments, links to other pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cagchat.documents.elements import End, Event, Start, match_ends, text_between

_DROPPED_WORDS = "nav form button select dialog menu aside label input optgroup"
_DROPPED = frozenset(_DROPPED_WORDS.split())
_ROLES_WORDS = "navigation search complementary banner contentinfo dialog alertdialog alert menu menubar toolbar"
_ROLES = frozenset(_ROLES_WORDS.split())
_FRAMES = frozenset(("header", "footer"))
# What may have a header or a footer of its own that is read.
_CONTENT_WORDS = "article main section blockquote"
_CONTENT = frozenset(_CONTENT_WORDS.split())
_CLASSES_WORDS = (
    "noprint navbox navbar sidebar breadcrumb breadcrumbs pagination headerlink anchor-link mw-editsection skip-link "
    "linenos lineno gutter share-buttons social-share related-posts toctree-wrapper-nav sphinxsidebar vector-toc "
    "mw-jump-link catlinks sr-only visually-hidden screen-reader-text"
)
_CLASSES = frozenset(_CLASSES_WORDS.split())
_NAMED = re.compile(
    r"cookie[-_]?(?:banner|notice|consent|bar|popup|law|policy|modal|message)|onetrust|gdpr[-_]|cmp-container", re.I
)
_NOTES = ("note", "doc-", "footnote", "endnote", "rearnote", "sidebar")
# A banner says a few sentences; what is longer is text, whatever it is called.
_LONGEST_BANNER = 3000
_MOST_EVENTS = 400
# Share of a page's text that its main part holds when the rest may go.
_MAIN = 0.5


def without_boilerplate(events: list[Event]) -> list[Event]:
    """Return the tags and text of a page's main part; of all of it, without menus and forms, when none stands out."""
    kept = list(_kept(events, match_ends(events)))
    ends = match_ends(kept)
    start, end = _main_part(kept, ends)
    return kept[start : end + 1]


def _kept(events: list[Event], ends: dict[int, int]) -> Iterator[Event]:
    """Yield the events outside elements that are dropped."""
    content = 0
    index = 0
    while index < len(events):
        event = events[index]
        if isinstance(event, Start):
            if _is_dropped(event, events, index, ends[index], inside=content > 0):
                index = ends[index] + 1
                continue
            content += event.name in _CONTENT
        elif isinstance(event, End):
            content -= event.name in _CONTENT
        yield event
        index += 1


def _is_dropped(tag: Start, events: list[Event], index: int, end: int, *, inside: bool) -> bool:
    """Tell whether an element is no part of the text; `inside` tells that it stands in an article or a section."""
    roles = tag.words("role", "epub:type")
    if tag.name == "aside":
        return not any(role.startswith(_NOTES) for role in roles)
    if tag.name in _DROPPED:
        # Old pages of some programs put all their text into one form.
        return tag.name != "form" or end - index < len(events) // 2
    if tag.name == "body" or tag.name == "html":
        return False
    if tag.name in _FRAMES and not inside:
        return tag.name == "footer" or not _is_title_page(events[index : min(end, index + _MOST_EVENTS)])
    if roles & _ROLES and not (inside and roles & {"banner", "alert"}):
        return True
    if tag.words("class") & _CLASSES:
        return end - index < len(events) // 2
    if tag.name == "a" and tag.get("href").startswith("#"):
        return text_between(events, index, min(end, index + 8), 20).lower().startswith("skip to ")
    named = f"{tag.get('id')} {tag.get('class')}"
    if len(named) == 1 or not _NAMED.search(named) or end - index > _MOST_EVENTS:
        return False
    return len(text_between(events, index, end, _LONGEST_BANNER)) < _LONGEST_BANNER


def _is_title_page(events: list[Event]) -> bool:
    """Tell whether a page's header is the title of its text rather than the head of a site."""
    names = {event.name for event in events if isinstance(event, Start)}
    return "h1" in names and not names & {"nav", "form", "ul", "menu"}


def _main_part(events: list[Event], ends: dict[int, int]) -> tuple[int, int]:
    """Return the first and the last event of the element that holds most of the text."""
    sizes = _text_sizes(events)
    whole = sizes[-1]
    candidates: dict[str, list[int]] = {"main": [], "article": []}
    for index, event in enumerate(events):
        if isinstance(event, Start):
            if event.name == "main" or "main" in event.words("role"):
                candidates["main"].append(index)
            elif event.name == "article":
                candidates["article"].append(index)
    for found in candidates.values():
        largest = max(found, key=lambda index: sizes[ends[index]] - sizes[index], default=None)
        if largest is not None and sizes[ends[largest]] - sizes[largest] > _MAIN * whole:
            return largest, ends[largest]
    return 0, len(events) - 1


def _text_sizes(events: list[Event]) -> list[int]:
    """Return for each event, and the end, how many characters of text stand before it; scripts are not text."""
    sizes = [0]
    hidden = 0
    for event in events:
        if isinstance(event, str):
            sizes.append(sizes[-1] + (0 if hidden else len(event.strip())))
            continue
        if event.name in ("script", "style", "title"):
            hidden += 1 if isinstance(event, Start) else -1
        sizes.append(sizes[-1])
    return sizes
