"""Leave out what stands around the text of a web page: menus, banners, forms, comments, links to other pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cagchat.documents.elements import End, Event, Start, match_ends, text_between
from cagchat.documents.markup import is_hidden

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
# What holds a text's notes: the words of its role or class, and the ids of notes as converters write them.
_HOLDS_WORDS = "footnotes endnotes rearnotes doc-footnotes doc-endnotes footnote-list endnote-list"
_HOLDS_NOTES = frozenset(_HOLDS_WORDS.split())
_NOTE_ID = re.compile(r"(?:.*[-_])?(?:fn|ftn|edn|note|footnote|endnote)[-_.:]?\d{1,4}", re.I)
_HEADING = re.compile(r"h[1-6]")
# Menus and the like are lists of links: without them more than half of a page's text is in none, but that one was
# never closed.
_NEVER_MOST = ("nav", "menu", "aside", "label", "button", "header")
_SHORTEST_SIDEBAR = 100
_PROSE = 0.8
# What opens a chapter that is folded up: its title stands in one of these.
_HANDLES = ("button", "label")
_FEW_EVENTS = 40
_NO_TEXT = ("script", "style", "title", "template", "noscript")
# A banner says a few sentences; what is longer is text, whatever it is called.
_LONGEST_BANNER = 3000
_MOST_EVENTS = 400
# Share of a page's text that its main part holds when the rest may go.
_MAIN = 0.5
# Comments and teasers are articles too, but short ones, or they say what they are.
_LONGEST_TEASER = 500
_TEASERS = re.compile(r"(?:^|[-_ ])(?:comments?|replies|reply|teaser|card|related|preview)(?:$|[-_ ])", re.I)


@dataclass(frozen=True, slots=True)
class MainPart:
    """The tags and text of a page that are read; `left_out` of all `characters` are not among them.

    Characters are those outside of links: menus, which are left out everywhere, are made of links.
    """

    events: list[Event]
    left_out: int
    characters: int


def main_part(events: list[Event]) -> MainPart:
    """Return a page's main part and its notes; all of it, without menus and forms, when no part stands out."""
    kept = list(_kept(events, match_ends(events)))
    ends = match_ends(kept)
    start, end = _main_part(kept, ends)
    main = [*kept[start : end + 1], *_notes_beside(kept, ends, start, end)]
    whole = _text_sizes(events, linked=False)[-1]
    return MainPart(main, whole - _text_sizes(main, shown=True, linked=False)[-1], whole)


def _kept(events: list[Event], ends: dict[int, int]) -> Iterator[Event]:
    """Yield the events outside elements that are dropped."""
    content = 0
    index = 0
    titled = -1  # where a heading ends whose words stand in a button
    plain = _text_sizes(events, linked=False)
    sizes = _text_sizes(events)
    while index < len(events):
        event = events[index]
        if isinstance(event, Start):
            if _is_heading(event) and _is_handle(events, ends, index):
                titled = ends[index]
            is_title = event.name in _HANDLES and (index < titled or _holds_heading(events, index, ends[index]))
            prose = plain[ends[index]] - plain[index]
            is_text = (
                is_title
                or (event.name in _NEVER_MOST and prose > sizes[-1] / 2)
                or (event.name == "aside" and content > 0 and _is_prose(prose, sizes[ends[index]] - sizes[index]))
            )
            if not is_text and _is_dropped(event, events, index, ends[index], inside=content > 0):
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
    if tag.name in ("aside", "footer") and _holds_notes(events, index, end):
        return False
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


def _is_prose(prose: int, text: int) -> bool:
    """Tell whether an aside inside a text says more than it links to: its author's sidebar, not an advertisement."""
    return prose >= _SHORTEST_SIDEBAR and prose > _PROSE * text


def _is_heading(tag: Start) -> bool:
    """Tell whether an element is a heading."""
    return bool(_HEADING.fullmatch(tag.name)) or "heading" in tag.words("role")


def _is_handle(events: list[Event], ends: dict[int, int], start: int) -> bool:
    """Tell whether all words of a heading stand in buttons."""
    if ends[start] - start > _FEW_EVENTS:
        return False
    index = start + 1
    while index < ends[start]:
        event = events[index]
        if isinstance(event, str) and event.strip():
            return False
        index = 1 + (ends[index] if isinstance(event, Start) and event.name in _HANDLES else index)
    return True


def _holds_heading(events: list[Event], index: int, end: int) -> bool:
    """Tell whether a button is around a heading."""
    inside = events[index : min(end, index + _FEW_EVENTS)]
    return any(isinstance(event, Start) and _is_heading(event) for event in inside)


def _holds_notes(events: list[Event], index: int, end: int) -> bool:
    """Tell whether an element holds notes, by what it is called or by their ids."""
    tag = events[index]
    assert isinstance(tag, Start)
    if tag.words("role", "epub:type", "class", "id") & _HOLDS_NOTES:
        return True
    if tag.name not in ("aside", "footer"):
        return False
    inside = events[index + 1 : min(end, index + _MOST_EVENTS)]
    return any(isinstance(event, Start) and _NOTE_ID.fullmatch(event.get("id", "name")) for event in inside)


def _notes_beside(events: list[Event], ends: dict[int, int], start: int, end: int) -> Iterator[Event]:
    """Yield the elements with notes outside of the main part."""
    index = 0
    while index < len(events):
        event = events[index]
        if index == start:
            index = end
        elif isinstance(event, Start) and not index < start < ends[index] and _holds_notes(events, index, ends[index]):
            yield from events[index : ends[index] + 1]
            index = ends[index]
        index += 1


def _main_part(events: list[Event], ends: dict[int, int]) -> tuple[int, int]:
    """Return the first and the last event of the element that holds most of the text.

    Where further articles hold more than a comment does, they are chapters of one text: it is what holds them all.
    """
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
        size = {index: sizes[ends[index]] - sizes[index] for index in found}
        largest = max(found, key=lambda index: size[index], default=None)
        if largest is not None and size[largest] > _MAIN * whole:
            long = [index for index in found if size[index] > _LONGEST_TEASER and not _is_teaser(events[index])]
            return _around(events, ends, min([largest, *long]), max(ends[index] for index in (largest, *long)))
    return 0, len(events) - 1


def _is_teaser(tag: Event) -> bool:
    """Tell whether an article says that it is a comment or leads to another page."""
    return isinstance(tag, Start) and bool(_TEASERS.search(tag.get("class")))


def _around(events: list[Event], ends: dict[int, int], first: int, last: int) -> tuple[int, int]:
    """Return the first and the last event of the innermost element around `events[first:last + 1]`."""
    around = (0, len(events) - 1)
    for index in range(first + 1):
        if isinstance(events[index], Start) and ends[index] >= last:
            around = index, ends[index]
    return around


def _text_sizes(events: list[Event], *, shown: bool = False, linked: bool = True) -> list[int]:
    """Return for each event, and the end, how many characters of text stand before it; scripts are not text.

    `shown` leaves out what is hidden; without `linked`, what leads elsewhere does not count.
    """
    sizes = [0]
    unread = 0
    opened: list[bool] = []
    for event in events:
        if isinstance(event, Start):
            opened.append(
                event.name in _NO_TEXT or (shown and is_hidden(event)) or (not linked and event.name in ("a", "option"))
            )
            unread += opened[-1]
        elif isinstance(event, End):
            unread -= opened.pop()
        size = len(event.strip()) if isinstance(event, str) and not unread else 0
        sizes.append(sizes[-1] + size)
    return sizes
