"""Cut a text without chapters into parts of about equal length, at ends of paragraphs."""

from __future__ import annotations

from itertools import pairwise

from cagchat.documents.document import Section

PART_CHARACTERS = 20_000
# How far from the even place a cut may move to find the end of a paragraph, a line, a word.
_SLACK = PART_CHARACTERS // 4


def parts(text: str) -> tuple[Section, ...]:
    """Return sections of level 0 that tile the text, "Part 1 of 12" and so on; one without a title when it is short."""
    count = round(len(text) / PART_CHARACTERS)
    if count < 2:
        return (Section("", 0, len(text), 0),)
    cuts = [0, *(_cut_near(text, index * len(text) // count) for index in range(1, count)), len(text)]
    return tuple(
        Section(f"Part {index} of {count}", start, end, 0) for index, (start, end) in enumerate(pairwise(cuts), start=1)
    )


def _cut_near(text: str, place: int) -> int:
    """Return the end of a paragraph near `place`; failing that of a line, of a sentence, of a word; else `place`."""
    for end in ("\n\n", "\n", ". ", " "):
        after = text.find(end, place, place + _SLACK)
        before = text.rfind(end, place - _SLACK, place)
        found = [index for index in (before, after) if index >= 0]
        if found:
            cut = min(found, key=lambda index: abs(index - place)) + len(end)
            while cut < place + _SLACK and text.startswith("\n", cut):
                cut += 1
            return cut
    return place
