"""Put notes at the end of the section in which they are read; converters leave them at the end of the book."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from cagchat.documents.markup import Block

# The ids that mammoth gives to notes and to the marks that lead to them.
_NOTE = re.compile(r"(?:foot|end)note-(?!ref-)[^ ]*")
_MARK = re.compile(r"((?:foot|end)note-)ref-([^ ]*)")
_NUMBER = re.compile(r"(\d+)\. ")


def with_notes_in_place(blocks: list[Block]) -> list[Block]:
    """Return the blocks with each section's notes before the next heading, their marks as in the text: `[1] ...`."""
    first = next((index for index, block in enumerate(blocks) if _names(block)), len(blocks))
    notes = dict(_notes(blocks[first:]))
    return list(_placed(blocks[:first], notes))


def _placed(blocks: list[Block], notes: dict[str, list[Block]]) -> Iterator[Block]:
    """Yield the text and the notes that it leads to; notes without a mark come last."""
    waiting: list[Block] = []
    for block in blocks:
        if block.level and waiting:
            yield replace(waiting[0], tight=False)
            yield from waiting[1:]
            waiting = []
        yield block
        for anchor in block.anchors:
            if match := _MARK.fullmatch(anchor):
                waiting += notes.pop(match[1] + match[2], [])
    waiting += (block for note in notes.values() for block in note)
    if waiting:
        yield replace(waiting[0], tight=False)
        yield from waiting[1:]


def _notes(blocks: list[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Yield each note's id and its paragraphs."""
    name = ""
    note: list[Block] = []
    for block in blocks:
        if names := _names(block):
            if name:
                yield name, note
            name = names[0]
            note = [replace(block, text=_NUMBER.sub(r"[\1] ", block.text, count=1), tight=True)]
        else:
            note.append(block)
    if name:
        yield name, note


def _names(block: Block) -> list[str]:
    """Return the ids of the notes that begin with this block."""
    return [anchor for anchor in block.anchors if _NOTE.fullmatch(anchor)]
