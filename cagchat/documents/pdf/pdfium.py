"""Read a PDF with PDFium: the one file that calls it, through its C functions.

The C functions, because an object for each page and each box would cost more than reading them, and bounds belong to
every loop over what a file claims to hold.
"""

from __future__ import annotations

import ctypes
import math
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from statistics import median_low
from typing import Any

import pypdfium2_raw as pdfium

from cagchat.documents.password import PasswordNeeded
from cagchat.documents.pdf.page import Contents, Mark, Page, Span
from cagchat.errors import BookError

MOST_PAGES = 20_000
# About thirty times the longest novel: more than that is generated, not written.
MOST_CHARACTERS = 100_000_000
_MOST_MARKS = 5_000
_DEEPEST_MARK = 16
_LONGEST_STRING_BYTES = 4_000
# A page with fewer letters is a picture of a page, when there is a picture on it.
_FEWEST_LETTERS = 30
_MOST_OBJECTS = 1_000
# A gap as wide as this part of the line's height stands between columns or cells, not between words.
_WIDE_GAP = 0.85
# Letters take at least this part of the height of a line, except for words of nothing but the narrowest.
_NARROW = 0.35
# How much of a line's height is above its baseline, in most fonts.
_ASCENT = 0.78

_WORD = re.compile(r"\S+")
# PDFium writes U+FFFE for a hyphen at the end of a line, and no line end behind it.
_LINE = re.compile("[^\r\n\ufffe]+\ufffe?")
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


def read_pdf(content: bytes, name: str, password: str = "") -> Contents:
    """Return the pages, the outline and the metadata of a PDF.

    Raises `PasswordNeeded` for a locked file without its password, and `BookError` for one that is damaged beyond use.
    """
    with _library(), _opened(content, name, password) as document:
        count = pdfium.FPDF_GetPageCount(document)
        if count > MOST_PAGES:
            raise BookError(
                f"{name} claims to have {count} pages, more than {MOST_PAGES}.",
                f"Cut it into smaller files: `qpdf --split-pages=1000 {shlex.quote(name)} part.pdf`.",
            )
        pages = tuple(_pages(document, count, name))
        return Contents(
            pages=pages,
            outline=tuple(_outline(document, pages)),
            title=_metadata(document, b"Title"),
            author=_metadata(document, b"Author"),
            language=_string(partial(pdfium.FPDFCatalog_GetLanguage, document)),
        )


@contextmanager
def _library() -> Iterator[None]:
    """Set PDFium up and take it down again."""
    pdfium.FPDF_InitLibrary()
    try:
        yield
    finally:
        pdfium.FPDF_DestroyLibrary()


@contextmanager
def _opened(content: bytes, name: str, password: str) -> Iterator[Any]:
    """Open the document; PDFium keeps reading from `content` until it is closed."""
    document = pdfium.FPDF_LoadMemDocument64(content, len(content), password.encode("utf-8", "replace") or None)
    if not document:
        raise _not_opened(name, password, pdfium.FPDF_GetLastError())
    try:
        yield document
    finally:
        pdfium.FPDF_CloseDocument(document)


def _not_opened(name: str, password: str, code: int) -> BookError:
    """Describe why PDFium did not open the file."""
    if code == pdfium.FPDF_ERR_PASSWORD:
        if password:
            return PasswordNeeded(f"The password does not open {name}.", "Give the right one with `--password`.")
        return PasswordNeeded(f"{name} is locked with a password.", "Give it with `--password`.")
    quoted = shlex.quote(name)
    if code == pdfium.FPDF_ERR_SECURITY:
        return BookError(
            f"{name} is encrypted in a way that only its own reader understands.",
            "Ask its seller for a copy without protection, or print it to a new PDF from that reader.",
        )
    repaired = shlex.quote(str(PurePath(name).with_suffix("")) + "-repaired.pdf")
    return BookError(
        f"{name} is damaged: its pages cannot be found.",
        f"Fetch it again; if it is damaged at its source, try `qpdf {quoted} {repaired}`.",
    )


def _pages(document: Any, count: int, name: str) -> Iterator[Page]:
    """Yield every page."""
    characters = 0
    for index in range(count):
        label = _string(partial(pdfium.FPDF_GetPageLabel, document, index)) or str(index + 1)
        page = pdfium.FPDF_LoadPage(document, index)
        if not page:
            yield Page(index, label, 0, 0, (), failed=True)
            continue
        try:
            text_page = pdfium.FPDFText_LoadPage(page)
            if not text_page:
                yield Page(index, label, 0, 0, (), failed=True)
                continue
            try:
                characters += max(0, pdfium.FPDFText_CountChars(text_page))
                if characters > MOST_CHARACTERS:
                    raise BookError(
                        f"{name} holds more than {MOST_CHARACTERS} characters up to page {label}, which no book does.",
                        "Cut it into smaller files, each a book of its own.",
                    )
                yield _page(index, label, page, text_page)
            finally:
                pdfium.FPDFText_ClosePage(text_page)
        finally:
            pdfium.FPDF_ClosePage(page)


def _page(index: int, label: str, page: Any, text_page: Any) -> Page:
    """Read the text of one page and where it stands."""
    boxes = _Boxes(page, text_page)
    upright = boxes.upright()
    width, height = boxes.size(upright)
    spans: list[Span] = []
    asides: list[str] = []
    for start, end in boxes.lines:
        if boxes.turn(start) != upright:
            asides.append(boxes.text[start:end])
            continue
        # Text outside the page is not seen: layers for search, leftovers of a cropped sheet.
        spans += [
            span
            for span in boxes.spans(start, end, upright)
            if -1 <= (span.left + span.right) / 2 <= width + 1 and -1 <= (span.top + span.bottom) / 2 <= height + 1
        ]
    letters = sum(len(span.text) for span in spans) + sum(map(len, asides))
    mirrored = 2 * len(_RTL.findall(boxes.text)) > letters
    if mirrored:
        spans = [replace(span, left=width - span.right, right=width - span.left) for span in spans]
    return Page(
        index,
        label,
        width,
        height,
        tuple(spans),
        tuple(asides),
        is_picture=letters < _FEWEST_LETTERS and _has_image(page),
        is_mirrored=mirrored,
    )


class _Boxes:
    """The characters of one page and their boxes, asked for one by one: PDFium has no call for many."""

    def __init__(self, page: Any, text_page: Any) -> None:
        count = max(0, pdfium.FPDFText_CountChars(text_page))
        buffer = (ctypes.c_ushort * (2 * count + 1))()
        written = pdfium.FPDFText_GetText(text_page, 0, count, buffer) if count else 0
        self.text = bytes(buffer)[: 2 * max(0, written - 1)].decode("utf-16-le", "replace")
        self.lines = [
            (match.start() + len(match[0]) - len(match[0].lstrip()), match.start() + len(match[0].rstrip()))
            for match in _LINE.finditer(self.text)
            if not match[0].isspace()
        ]
        # Characters that are not text, such as unmapped glyphs, have a box but no place in the text.
        self._is_direct = count == len(self.text)
        self._text_page = text_page
        self._rect = pdfium.FS_RECTF()
        self._x, self._y = ctypes.c_double(), ctypes.c_double()
        bounds = pdfium.FS_RECTF()
        pdfium.FPDF_GetPageBoundingBox(page, bounds)
        self._bounds = (bounds.left, bounds.bottom, bounds.right, bounds.top)
        self._page_turn = pdfium.FPDFPage_GetRotation(page) % 4

    def upright(self) -> int:
        """Return the quarter turns at which most of the text stands; turned back by them, the page can be read."""
        turns: Counter[int] = Counter()
        for start, end in self.lines:
            turns[self.turn(start)] += end - start
        return turns.most_common(1)[0][0] if turns else self._page_turn

    def turn(self, index: int) -> int:
        """Return the quarter turns against the clock at which one character stands; PDFium counts with the clock."""
        angle = pdfium.FPDFText_GetCharAngle(self._text_page, self._place(index))
        return -round(angle / (math.pi / 2)) % 4 if angle >= 0 else 0

    def size(self, turn: int) -> tuple[float, float]:
        """Return width and height of the page at this turn."""
        left, bottom, right, top = self._bounds
        return (top - bottom, right - left) if turn % 2 else (right - left, top - bottom)

    def spans(self, start: int, end: int, turn: int) -> Iterator[Span]:
        """Yield the words of a line, those without a wide gap between them together."""
        words: list[str] = []
        heights: list[float] = []
        left = right = baseline = start_of_word = 0.0
        last = start
        for match in _WORD.finditer(self.text, start, end):
            near, far, height = self._box(match.start(), turn)
            if words:
                # First letters tell that most words are close; asking for each last one would double the time.
                reach = (_NARROW * len(words[-1]) + _WIDE_GAP) * heights[-1]
                if abs(near - start_of_word) > reach:
                    before = self._box(last, turn)
                    left, right = min(left, before[0]), max(right, before[1])
                    # Distance in either direction: words of right-to-left text go the other way.
                    if max(near - right, left - far) > _WIDE_GAP * heights[-1]:
                        yield _span(words, left, right, baseline, heights)
                        words, heights = [], []
            if not words:
                left, right = near, far
                baseline = self._baseline(match.start(), turn)
            words.append(match[0])
            heights.append(height)
            start_of_word, last = near, match.end() - 1
            left, right = min(left, near), max(right, far)
        if words:
            near, far, _ = self._box(last, turn)
            yield _span(words, min(left, near), max(right, far), baseline, heights)

    def _place(self, index: int) -> int:
        """Return PDFium's number of the character at an offset of the text."""
        if self._is_direct:
            return index
        place: int = pdfium.FPDFText_GetCharIndexFromTextIndex(self._text_page, index)
        return max(0, place)

    def _box(self, index: int, turn: int) -> tuple[float, float, float]:
        """Return left, right and height of a character: its advance by its font's height."""
        rect = self._rect
        if not pdfium.FPDFText_GetLooseCharBox(self._text_page, index if self._is_direct else self._place(index), rect):
            return 0.0, 0.0, 1.0
        if turn == 0:
            return rect.left - self._bounds[0], rect.right - self._bounds[0], max(rect.top - rect.bottom, 1.0)
        one = self._turned(rect.left, rect.top, turn)
        other = self._turned(rect.right, rect.bottom, turn)
        return min(one[0], other[0]), max(one[0], other[0]), max(abs(one[1] - other[1]), 1.0)

    def _baseline(self, index: int, turn: int) -> float:
        """Return how far below the top a character's baseline is."""
        pdfium.FPDFText_GetCharOrigin(self._text_page, self._place(index), self._x, self._y)
        return self._turned(self._x.value, self._y.value, turn)[1]

    def _turned(self, x: float, y: float, turn: int) -> tuple[float, float]:
        """Return a point of the sheet as distances from left and top of the page as it is read."""
        left, bottom, right, top = self._bounds
        if turn == 0:
            return x - left, top - y
        if turn == 1:
            return y - bottom, x - left
        if turn == 2:
            return right - x, y - bottom
        return top - y, right - x


def _span(words: list[str], left: float, right: float, baseline: float, heights: list[float]) -> Span:
    """Make a span of its words; fonts for signs are far too tall, so that the middle height counts."""
    size = median_low(heights)
    top, bottom = baseline - _ASCENT * size, baseline + (1 - _ASCENT) * size
    return Span(" ".join(words), left, right, top, bottom, baseline, size)


def _has_image(page: Any) -> bool:
    """Tell whether one of the first objects on the page is an image, or a form that may hold one."""
    pictures = (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_FORM)
    count = min(pdfium.FPDFPage_CountObjects(page), _MOST_OBJECTS)
    return any(pdfium.FPDFPageObj_GetType(pdfium.FPDFPage_GetObject(page, index)) in pictures for index in range(count))


def _outline(document: Any, pages: tuple[Page, ...]) -> Iterator[Mark]:
    """Yield the entries of the outline in order; one that was met before, in a circle of links, ends its branch."""
    seen: set[int] = set()
    stack = [(pdfium.FPDFBookmark_GetFirstChild(document, None), 1)]
    while stack and len(seen) < _MOST_MARKS:
        entry, level = stack.pop()
        address = ctypes.cast(entry, ctypes.c_void_p).value if entry else None
        if address is None or address in seen:
            continue
        seen.add(address)
        mark = _mark(document, entry, level, pages)
        if mark is not None:
            yield mark
        stack.append((pdfium.FPDFBookmark_GetNextSibling(document, entry), level))
        if level < _DEEPEST_MARK:
            stack.append((pdfium.FPDFBookmark_GetFirstChild(document, entry), level + 1))


def _mark(document: Any, entry: Any, level: int, pages: tuple[Page, ...]) -> Mark | None:
    """Describe one entry, None when it has no title or leads to no page of this document."""
    title = " ".join(_string(partial(pdfium.FPDFBookmark_GetTitle, entry)).split())
    target = pdfium.FPDFBookmark_GetDest(document, entry)
    if not target and (action := pdfium.FPDFBookmark_GetAction(entry)):
        target = pdfium.FPDFAction_GetDest(document, action)
    page = pdfium.FPDFDest_GetDestPageIndex(document, target) if target else -1
    if not title or not 0 <= page < len(pages):
        return None
    has_x, has_y, has_zoom = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    x, y, zoom = ctypes.c_float(), ctypes.c_float(), ctypes.c_float()
    found = pdfium.FPDFDest_GetLocationInPage(target, has_x, has_y, has_zoom, x, y, zoom)
    top = pages[page].height - y.value if found and has_y.value and math.isfinite(y.value) else -1.0
    return Mark(title, level, page, top)


def _metadata(document: Any, key: bytes) -> str:
    """Return a field of the document's information."""
    return _string(partial(pdfium.FPDF_GetMetaText, document, key))


def _string(read: Callable[[Any, int], int]) -> str:
    """Return what one of PDFium's functions for strings writes, "" for what is missing or far too long."""
    size = read(None, 0)
    if not 2 < size <= _LONGEST_STRING_BYTES:
        return ""
    buffer = (ctypes.c_ushort * (size // 2))()
    read(buffer, size)
    text = bytes(buffer)[: size - 2].decode("utf-16-le", "replace")
    return "".join(character for character in text if character.isprintable()).strip()
