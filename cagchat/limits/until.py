"""Find the place that a reader means by "Chapter 12", "40%", "p. 120", a bookmark's name, or "end".

What is named has been read: the limit is the end of that chapter or page. Case, accents and the way a number is written
("XII", "Twelve", "12") make no difference.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from cagchat.documents.document import Document
from cagchat.documents.numerals import numeral_at_start
from cagchat.errors import UsageError
from cagchat.limits.limit import Limit
from cagchat.states.store import fold

WHOLE = ("end", "all", "the end")
SHOWN = 3  # names in an error

Words = tuple[str, ...]

_SHARE = re.compile(r"(\d{1,3}(?:[.,]\d+)?) ?%")
_PAGE = re.compile(r"(?:p|pp|page)(?:\. ?| |(?=\d))(\w+)")
_WORD = re.compile(r"\w+")
_NUMBERED = re.compile(r"\W*\w+\s*(?:$|[.:)\]–—-])")


def parse_until(document: Document, words: str, bookmarks: Iterable[tuple[str, int]] = ()) -> Limit:
    """Return the limit that `words` name; `bookmarks` are names and offsets in characters.

    "end" and "all" mean the whole book. Raises `UsageError` with the nearest names when there is no such place, or
    several.
    """
    wanted = fold(words)
    if not wanted:
        raise UsageError("The limit is empty.", _ways(document))
    for name, offset in bookmarks:
        if fold(name) == wanted:
            return Limit(min(max(0, offset), len(document.text)), name)
    if match := _SHARE.fullmatch(wanted):
        return _share(document, match[1])
    found = _chapters(document, wanted)
    if len(found) == 1:
        return _chapter(document, found[0], _paths(document)[found[0]])
    if not found and wanted in WHOLE:
        return Limit(len(document.text), "the end")
    if not found and (match := _PAGE.fullmatch(wanted)):
        return _page(document, match[1])
    if found:
        raise _several(document, words, found)
    raise _nothing(document, words, [name for name, _ in bookmarks])


def _share(document: Document, number: str) -> Limit:
    share = float(number.replace(",", "."))
    if share > 100:
        raise UsageError(f"{number} % is more than the book has.", "Give a share from 0% to 100%.")
    return Limit(int(len(document.text) * share / 100), f"{share:g} %")


def _page(document: Document, label: str) -> Limit:
    pages = document.pages
    if not pages:
        raise UsageError(f"{document.title} has no page numbers.", _ways(document))
    for index, page in enumerate(pages):
        if fold(page.label) == label:
            end = pages[index + 1].start if index + 1 < len(pages) else len(document.text)
            return Limit(end, f"p. {page.label}")
    raise UsageError(f"{document.title} has no page {label}.", f"Its pages are {pages[0].label} to {pages[-1].label}.")


def limit_at(document: Document, offset: int) -> Limit:
    """Return the limit at a character: named by the chapter that ends there, else by how far it is in the book."""
    text = document.text
    if not text[offset:].strip():
        return Limit(len(text), "the end")
    last = len(text[:offset].rstrip()) - 1
    index = bisect_right(document.sections, last, key=lambda section: section.end)
    section = document.sections[index]
    if last >= section.start and section.title and not text[last + 1 : section.end].strip():
        chapter = _chapter(document, index, _paths(document)[index])
        if chapter.offset == section.end:  # not the heading alone of a part with chapters in it
            return chapter
    return Limit(max(0, offset), document.place(max(0, last)))


def chapter_limits(document: Document) -> list[Limit]:
    """Return the limit at the end of every section that has a title, in the order of their beginnings."""
    return [_chapter(document, index, path) for index, path in enumerate(_paths(document)) if path]


# -- chapters ----------------------------------------------------------------------------------------------------------


def _chapter(document: Document, index: int, path: Words) -> Limit:
    """Return the end of a section and of all that is inside it."""
    sections = document.sections
    end = sections[index].end
    for inner in islice(sections, index + 1, None):
        if not 0 < sections[index].level < inner.level:
            break
        end = inner.end
    return Limit(end, ", ".join(path))


def _chapters(document: Document, wanted: str) -> list[int]:
    """Return the sections that are meant, going from the strictest way of reading a name to the loosest."""
    paths = _paths(document)
    key, plain = _key(wanted), _words(wanted)
    if not key:
        return []
    number = key[0] if len(key) == 1 and key[0].isdecimal() else None
    whole = [tuple(word for title in path for word in _words(title)) for path in paths]
    ways: tuple[Callable[[int], bool], ...] = (
        lambda i: fold(paths[i][-1]) == wanted or whole[i] == plain,
        lambda i: _key(paths[i][-1]) == key,
        lambda i: _key(paths[i][-1])[: len(key)] == key,
        lambda i: _number(paths[i][-1]) == number and not _has_inner(document, i),
        lambda i: _number(paths[i][-1]) == number,
        lambda i: _is_path(plain, paths[i]),
        lambda i: fold(paths[i][-1]).startswith(wanted),
        lambda i: _within(plain, _words(paths[i][-1])),
        lambda i: key[0] == "chapter" and _number(paths[i][-1]) == "".join(key[1:]),
    )
    named = [index for index, path in enumerate(paths) if path]
    for way in ways:
        if found := [index for index in named if way(index)]:
            return found
    return []


def _paths(document: Document) -> list[Words]:
    """Return each section's titles from the outermost part it is in to its own; () for one without a title."""
    paths: list[Words] = []
    open_parts: list[tuple[int, str]] = []
    for section in document.sections:
        if not section.title:
            paths.append(())
            continue
        open_parts = [part for part in open_parts if 0 < part[0] < section.level]
        open_parts.append((section.level, section.title))
        paths.append(tuple(title for _, title in open_parts))
    return paths


def _within(words: Words, title: Words) -> bool:
    """Tell whether words stand in a title one after the other."""
    return any(title[at : at + len(words)] == words for at in range(len(title)))


def _has_inner(document: Document, index: int) -> bool:
    """Tell whether a section is a part with chapters in it."""
    here, following = document.sections[index], document.sections[index + 1 : index + 2]
    return bool(following) and 0 < here.level < following[0].level


def _is_path(words: Words, titles: Sequence[str]) -> bool:
    """Tell whether words name a section after the parts it is in, each by its beginning: "book one chapter 3"."""
    if not titles or not words:
        return False
    for cut in range(len(words)):
        last = _key(" ".join(words[cut:]))
        if _key(titles[-1])[: len(last)] != last:
            continue
        if not cut or any(_is_path(words[:cut], titles[:depth]) for depth in range(1, len(titles))):
            return True
    return False


def _words(text: str) -> Words:
    return tuple(_WORD.findall(fold(text)))


def _key(text: str) -> Words:
    """Return a title's words with the number at its start, or behind its first word, in digits."""
    words = _words(text)
    for start in (0, 1):
        rest = " ".join(words[start:])
        if numeral := numeral_at_start(rest):
            return (*words[:start], str(numeral.value), *rest[numeral.end :].split())
    return words


def _number(title: str) -> str:
    """Return the number that a title carries: "12" for "Chapter XII. The Storm", "XII. The Storm" and "12"."""
    key = _key(title)
    if key and key[0].isdecimal():
        return key[0] if _NUMBERED.match(title) else ""
    return key[1] if len(key) > 1 and key[1].isdecimal() else ""


# -- what to say -------------------------------------------------------------------------------------------------------


def _name(document: Document, index: int) -> str:
    return ", ".join(_paths(document)[index])


def _several(document: Document, words: str, found: list[int]) -> UsageError:
    names = [_name(document, index) for index in found]
    more = ", ..." if len(names) > SHOWN else ""
    listed = "; ".join(names[:SHOWN])
    return UsageError(
        f"{words.strip()} could be {len(names)} chapters: {listed}{more}.",
        f'Name the part too ("{names[0]}"), or give a share of the book, as 40%.',
    )


def _nothing(document: Document, words: str, bookmarks: Sequence[str]) -> UsageError:
    names = {fold(title): title for title in bookmarks}
    for index, path in enumerate(_paths(document)):
        if path:
            names |= {fold(path[-1]): path[-1], fold(_name(document, index)): _name(document, index)}
    near = list(dict.fromkeys(names[name] for name in get_close_matches(fold(words), names, SHOWN)))
    message = f"{document.title} has no place called {words.strip()}."
    return UsageError(message, f"Near it: {'; '.join(near)}." if near else _ways(document))


def _ways(document: Document) -> str:
    titles = [section.title for section in document.sections if section.title]
    chapter = f'a chapter ("{titles[len(titles) // 2]}"), ' if titles else ""
    page = f"a page (p. {document.pages[-1].label}), " if document.pages else ""
    return f"Give {chapter}{page}a share of the book (40%), or end."
