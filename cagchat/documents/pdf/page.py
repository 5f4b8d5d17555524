"""What is on a PDF's pages: pieces of text with their boxes, and the lines made of them.

Distances are in points from the left and from the top of the page as it is read, so `top < bottom`; on pages of
right-to-left text they count from the right, and everything that follows reads as if from the left.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Words without a wide gap between them on one baseline; `size` is the height of their font's line."""

    text: str
    left: float
    right: float
    top: float
    bottom: float
    baseline: float
    size: float


@dataclass(frozen=True, slots=True)
class Page:
    """One page; `spans` in the order of the file, `asides` are turned against the rest.

    `is_picture` tells that it has almost no text but an image; `failed` that it could not be read.
    """

    index: int
    label: str
    width: float
    height: float
    spans: tuple[Span, ...]
    asides: tuple[str, ...] = ()
    is_picture: bool = False
    failed: bool = False
    is_mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line of one column; `margin` and `measure` are where full lines of this column begin and end.

    `has_gap` tells that words stand far apart on it, as in a table or before the page number in a list of contents.
    """

    text: str
    left: float
    right: float
    top: float
    baseline: float
    size: float
    margin: float
    measure: float
    has_gap: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """An entry of the outline: page index, and the distance from the page's top (negative when it gives none)."""

    title: str
    level: int
    page: int
    top: float = -1.0


@dataclass(frozen=True, slots=True)
class Contents:
    """A whole PDF as it was read."""

    pages: tuple[Page, ...]
    outline: tuple[Mark, ...] = ()
    title: str = ""
    author: str = ""
    language: str = ""
