"""Places in a book: what they are called, and which one a reader means."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

from cagchat.documents.document import Section
from cagchat.tui.cells import cut
from cagchat.tui.finding import Folding

PERCENT = re.compile(r"(\d+(?:[.,]\d+)?)\s*%?")


def full_titles(sections: Sequence[Section]) -> tuple[str, ...]:
    """Return each section's title after those of the sections it stands in."""
    names: list[str] = []
    above: list[Section] = []
    for section in sections:
        above = [outer for outer in above if outer.level < section.level] if section.level else []
        above.append(section)
        names.append(", ".join(outer.title for outer in above if outer.title))
    return tuple(names)


def place_line(full: str, short: str, end: str, width: int) -> str:
    """Return where a reader is, in `width` cells: the full title, the short one, or what fits, before `end`."""
    room = width - cell_len(f" · {end}")
    for title in (full, short):
        if title and cell_len(title) <= room:
            return f"{title} · {end}"
    return f"{cut(short, room)} · {end}" if short and room > 1 else cut(end, width)


def goal(text: str, titles: Sequence[str], sections: Sequence[Section], length: int, here: int) -> int | None:
    """Return the offset that a reader means: a percentage, or words of a title (the next one after `here`)."""
    number = PERCENT.fullmatch(text.strip())
    if number:
        share = float(number[1].replace(",", "."))
        return round(share / 100 * length) if share <= 100 else None
    folding = Folding()
    words = re.findall(r"\w+", text.translate(folding))
    known = [title.translate(folding) for title in titles]
    whole = [i for i, title in enumerate(known) if words and set(words) <= set(re.findall(r"\w+", title))]
    partly = [i for i, title in enumerate(known) if words and all(word in title for word in words)]
    starts = [sections[i].start for i in whole or partly]
    return next((start for start in starts if start > here), starts[0] if starts else None)


def clamped(offset: int, length: int) -> int:
    """Return an offset inside a text of this length."""
    return max(0, min(offset, length - 1))
