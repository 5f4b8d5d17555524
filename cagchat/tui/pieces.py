"""A Markdown text in pieces that are drawn one by one, so that what a text costs to draw does not grow with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r" {0,3}(```+|~~~+)")
ROW = re.compile(r" {0,3}\|")
RULE = re.compile(r" {0,3}\|?[ :-]*-[ :|-]*$")


@dataclass(frozen=True, slots=True)
class Limits:
    """A piece ends between paragraphs from `least` characters on, and anywhere when it reaches `most` or `lines`."""

    least: int
    most: int
    lines: int


STREAMED = Limits(800, 1600, 12)  # what is drawn anew with each fragment
SETTLED = Limits(1600, 8000, 40)  # what is drawn at once when all of it is known


def pieces(text: str, limits: Limits) -> list[str]:
    """Return the text in pieces, each of them Markdown by itself; there is always one.

    A code block or a table that has to be divided is closed, and opened anew in the next piece.
    """
    found = list(_divided(text, limits))
    return found or [""]


def _divided(text: str, limits: Limits) -> Iterator[str]:
    piece: list[str] = []
    size = 0
    fence = mark = ""
    for line in _lines(text, limits.most):
        full = size >= limits.most or len(piece) >= limits.lines
        opening = FENCE.match(line)
        closes = bool(mark) and line.strip().startswith(mark)
        between = bool(piece) and not mark and not piece[-1].strip() and not line[:1].isspace()
        if piece and not closes and (full or (size >= limits.least and between)):
            again = [fence] if mark else _header(piece) if ROW.match(line) else []
            yield "".join(piece) + (f"{mark}\n" if mark else "")
            piece, size = list(again), 0
        piece.append(line)
        size += len(line)
        if mark and closes:
            mark = ""
        elif not mark and opening:
            fence, mark = line, opening[1]
    if piece:
        yield "".join(piece)


def _header(piece: list[str]) -> list[str]:
    """Return the header of the table at the end of a piece, nothing when there is no table."""
    at = len(piece)
    while at and ROW.match(piece[at - 1]):
        at -= 1
    table = piece[at : at + 2]
    return table if len(table) == 2 and RULE.match(table[1].rstrip()) else []


def _lines(text: str, most: int) -> Iterator[str]:
    """Return the lines with their ends; one that is too long by itself is divided between words."""
    for line in text.splitlines(keepends=True):
        while len(line) > most:
            end = line.rfind(". ", 0, most) + 2
            if end < 2:
                end = line.rfind(" ", 0, most) + 1 or most
            yield line[:end]
            line = line[end:]
        yield line
