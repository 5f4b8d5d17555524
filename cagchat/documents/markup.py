"""Turn HTML and XHTML into blocks of plain text as they are read: paragraphs, headings, list items, rows of tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cagchat.documents.cleaning import clean
from cagchat.documents.elements import End, Event, Start, decode_markup, match_ends, read_elements, text_between
from cagchat.documents.rows import Cell, Table

RULE = "* * *"

_SKIPPED_WORDS = (
    "script style title template noscript rt rp rtc audio video canvas iframe annotation annotation-xml metadata defs "
    "desc datalist textarea"
)
_SKIPPED = frozenset(_SKIPPED_WORDS.split())
_BLOCKS_WORDS = (
    "html body p div section article main header footer nav aside address blockquote center details summary dialog "
    "figure figcaption caption form fieldset legend hgroup dl table tr td th option text"
)
_BLOCKS = frozenset(_BLOCKS_WORDS.split())
_LISTS = frozenset(("ul", "ol", "menu", "dir"))
_HEADING = re.compile(r"h([1-6])")
_LONGEST_HEADING = 600
# A heading, a mark or a page number is a handful of tags; more is looked at as ordinary text.
_FEW_EVENTS = 24
_DEEPEST_TABLE = 8
_DEEPEST_LIST = 12

# Single spaces stay as they are: most of a book's blanks need no work.
_BLANKS = re.compile("[ \t\n\r\f\x85\u2028\u2029]{2,}|[\t\n\r\f\x85\u2028\u2029]")
# Hints for breaking words, which hide them from a search, and what no text may hold.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u2060\ufeff\ufffe\uffff\ud800-\udfff]+")
_HARD_SPACES = str.maketrans("\u00a0\u202f", "  ")

_NOTE_MARK = re.compile(r"[\[(]?(?P<mark>\d{1,4}|[ivxlc]{1,6}|[A-Za-z]|[*†‡§¶#]{1,4})[\])]?")
_NOTE_TYPES = frozenset(("noteref", "doc-noteref"))
_BACK_TYPES = frozenset(("backlink", "doc-backlink"))
# What links back to where one was reading.
_ARROWS = frozenset(("", "↑", "↩", "↵", "⏎", "←", "▲", "⇑"))
# What manuals put beside their headings to link to them; raised, some of these are marks of notes.
_HANDLES = frozenset(("¶", "§", "#", "🔗", "⚓"))
_PAGE_TYPES = frozenset(("pagebreak", "doc-pagebreak"))
_PAGE_CLASSES = frozenset(("pagenum", "pageno", "pagebreak", "page-number", "x-ebookmaker-pageno"))
_LONGEST_LABEL = 20
_PAGE_LABEL = re.compile(r"(?:pages?|pg|p|seite|s)?[ ._]*([ivxlcdm]+|[a-z]?-?\d+(?:[-–]\d+)?)\.?", re.I)
_STANZAS = frozenset(("linegroup", "stanza", "lg", "poem", "poetry"))
_LINE_NUMBERS = frozenset(("lnum", "linenum", "linenumber", "line-number", "versenum"))
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_FILE_NAME = re.compile(r"\S+\.(?:jpe?g|png|gif|svg|webp|bmp|tiff?)", re.I)
_SUPERSCRIPTS = str.maketrans("0123456789+-−n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")
_SUPERSCRIPT = re.compile(r"[+\-−]?\d{1,4}|n")


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, heading (`level` 1 to 6), list item or row; lines inside it end in `\\n`, but the last.

    `anchors` are the ids that stand on or in it. `breaks` are the printed pages that begin in it: label, and offset in
    `text`. A `tight` block follows the one before it without a blank line, as the items of a list do.
    """

    text: str
    level: int = 0
    anchors: tuple[str, ...] = ()
    breaks: tuple[tuple[str, int], ...] = ()
    tight: bool = False

    @property
    def page(self) -> str:
        """The label of the first page that begins in this block, "" when none does."""
        return self.breaks[0][0] if self.breaks else ""


def blocks(markup: bytes | str, *, xml: bool = False, encoding: str = "") -> list[Block]:
    """Return the blocks of a file in reading order. Never raises on bad markup; no depth is too deep.

    `xml` reads XHTML; `encoding` is for bytes, and is detected without one. A block without text only carries anchors.
    """
    text = decode_markup(markup, encoding=encoding) if isinstance(markup, bytes) else markup
    return read_blocks(read_elements(text, xml=xml))


def read_blocks(events: list[Event]) -> list[Block]:
    """Return the blocks of markup that was parsed already."""
    return _Reader(events).read()


@dataclass(slots=True)
class _List:
    """An open list: `number` is the next item's, 0 when it has none."""

    number: int = 0
    style: str = "1"


@dataclass(slots=True)
class _Frame:
    """Where blocks go: the whole file, or one cell of a table. `group` names what the last block belongs to."""

    found: list[Block] = field(default_factory=list)
    group: str = ""
    lists: list[_List] = field(default_factory=list)
    list_number: int = 0
    marker: str = ""
    term: str = ""
    stanzas: list[str] = field(default_factory=list)
    is_line: bool = False


class _Reader:
    """Walks over tags and text once, and gathers blocks."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._ends = match_ends(events)
        self._frame = _Frame()
        self._frames: list[_Frame] = []
        self._tables: list[Table[Block]] = []
        self._closing: list[str] = []
        self._count = 0
        self._level = 0
        self._pre = 0
        self._pieces: list[str] = []
        self._size = 0
        self._after_blank = True
        self._anchors: list[str] = []
        self._breaks: list[tuple[str, int]] = []

    def read(self) -> list[Block]:
        """Return the blocks."""
        index = 0
        while index < len(self._events):
            event = self._events[index]
            if isinstance(event, str):
                self._text(event)
            elif isinstance(event, End):
                self._end(self._closing.pop())
            elif self._is_read_otherwise(event, index, self._ends[index]):
                index = self._ends[index]
            else:
                self._start(event)
            index += 1
        self._flush()
        return _without_idle_rules(self._with_the_rest(self._frame.found))

    def _with_the_rest(self, found: list[Block]) -> list[Block]:
        """Give anchors and pages behind the last text to the last block."""
        if self._anchors or self._breaks:
            last = found.pop() if found else Block("")
            breaks = [(label, len(last.text)) for label, _ in self._breaks]
            anchors = dict.fromkeys((*last.anchors, *self._anchors))
            found.append(replace(last, anchors=tuple(anchors), breaks=(*last.breaks, *breaks)))
        return found

    # Elements that are read as something else than their content.

    def _is_read_otherwise(self, tag: Start, index: int, end: int) -> bool:
        """Read an element whose content is not read tag by tag; False for all others."""
        name = tag.name
        if name in _SKIPPED or is_hidden(tag):
            return True
        if name == "br":
            self._put("\n" if not self._level else " ")
        elif name == "img":
            self._anchor(tag)
            self._picture(tag)
        elif name == "hr":
            self._flush()
            self._anchor(tag)
            self._emit(RULE)
        elif name == "math" and tag.get("alttext"):
            self._text(tag.get("alttext"))
        elif (label := self._page_label(tag, index, end)) is not None:
            self._anchor_all(index, end)
            self._page_begins(label)
        elif name in ("a", "sup") and end - index <= _FEW_EVENTS:
            return self._is_mark(tag, index, end)
        else:
            return False
        return True

    def _page_label(self, tag: Start, index: int, end: int) -> str | None:
        """Return the label of a page break ("" for one without); None for other elements."""
        is_break = bool(tag.words("epub:type", "role") & _PAGE_TYPES)
        if not is_break and (end - index > _FEW_EVENTS or not tag.words("class") & _PAGE_CLASSES):
            return None
        written = text_between(self._events, index, end, 40)
        if len(written) > _LONGEST_LABEL:
            # Never closed, or wrapped around the page: its text is to be read.
            return None
        label = (tag.get("title", "aria-label") if is_break else "") or written or tag.get("title")
        match = _PAGE_LABEL.fullmatch(label.strip("[]{}() "))
        if match:
            return match[1]
        return label[:_LONGEST_LABEL] if is_break or not written else None

    def _is_mark(self, tag: Start, index: int, end: int) -> bool:
        """Read the mark of a note as "[1]" and a raised number as "²"; leave out arrows that lead back."""
        inside = [event for event in self._events[index:end] if isinstance(event, Start)]
        text = text_between(self._events, index, end, 40).replace("\ufe0e", "").replace("\ufe0f", "")
        link = next((found for found in inside if found.name == "a" and "#" in found.get("href")), None)
        if any(found.name == "img" for found in inside):
            return False
        if link is None:
            if tag.name == "sup" and _SUPERSCRIPT.fullmatch(text):
                self._anchor_all(index, end)
                self._put(text.translate(_SUPERSCRIPTS))
                return True
            return False
        types = frozenset().union(*(found.words("epub:type", "role") for found in inside))
        is_raised = any(found.name == "sup" for found in inside)
        is_note = is_raised or bool(types & _NOTE_TYPES)
        if text in _ARROWS or types & _BACK_TYPES or (text in _HANDLES and not is_note):
            self._anchor_all(index, end)
            return True
        mark = _NOTE_MARK.fullmatch(text)
        if mark and is_note:
            self._anchor_all(index, end)
            self._put(f"[{mark['mark']}]")
            return True
        return False

    def _picture(self, tag: Start) -> None:
        """Put what stands in for a picture: its description in brackets, a decorated first letter as it is."""
        alt = " ".join(_UNSEEN.sub("", tag.get("alt")).split())
        if not alt or tag.words("role") & {"presentation", "none"} or _FILE_NAME.fullmatch(alt):
            return
        self._put(alt if len(alt) == 1 and alt.isalnum() else f"[{alt}]")

    # Elements that are read tag by tag.

    def _start(self, tag: Start) -> None:
        """Enter an element, and note what has to be done at its end."""
        name = tag.name
        action = ""
        if name in _LISTS:
            self._begin()
            self._open_list(tag)
            action = "list"
        elif name == "li":
            self._begin()
            self._open_item(tag)
            action = "item"
        elif level := _level_of(tag):
            self._begin()
            self._level = level
            action = "heading"
        elif name == "pre":
            self._begin()
            self._pre += 1
            action = "pre"
        elif name in ("dt", "dd"):
            self._begin()
            action = f"term {self._frame.term}"
            self._frame.term = name
        elif name == "table" and len(self._tables) < _DEEPEST_TABLE:
            self._begin()
            self._count += 1
            self._tables.append(Table(f"table {self._count}", len(self._frames)))
            action = "table"
        elif name in ("td", "th") and self._tables and self._tables[-1].depth == len(self._frames):
            self._begin()
            self._frames.append(self._frame)
            self._frame = _Frame()
            self._tables[-1].open_cell(tag)
            action = "cell"
        elif name == "tr" and self._tables and self._tables[-1].depth == len(self._frames):
            self._begin()
            action = "row"
        elif name in _BLOCKS:
            action = self._open_block(tag)
        elif name == "q":
            self._put("“")
            action = "quote"
        elif name == "span" and tag.words("class") & _LINE_NUMBERS:
            self._text(" ")
        self._closing.append(action)
        self._anchor(tag)

    def _begin(self) -> None:
        """End what stands before an element; a heading that was left open ends with it."""
        self._flush()
        self._level = 0

    def _open_block(self, tag: Start) -> str:
        """Begin a paragraph; inside a heading only its lines are parted."""
        if self._level and tag.name in ("div", "section", "header"):
            self._text(" ")
            return "space"
        self._begin()
        # A poem's lines are often elements of their own, but no paragraphs.
        self._frame.is_line = tag.name == "div"
        if tag.words("class") & _STANZAS:
            self._count += 1
            self._frame.stanzas.append(f"stanza {self._count}")
            return "stanza"
        return "block"

    def _end(self, action: str) -> None:
        """Leave an element."""
        if not action:
            return
        if action == "quote":
            self._put("”")
            return
        if action == "space":
            self._text(" ")
            return
        self._flush()
        if action == "heading":
            self._level = 0
        elif action == "list":
            self._frame.lists.pop()
        elif action == "item":
            self._frame.marker = ""
        elif action == "stanza":
            self._frame.stanzas.pop()
        elif action == "pre":
            self._pre -= 1
        elif action.startswith("term"):
            self._frame.term = action.partition(" ")[2]
        elif action == "cell":
            found = self._frame.found
            self._frame = self._frames.pop()
            self._tables[-1].close_cell(_texts(found), found)
        elif action == "row":
            self._emit_row(self._tables[-1])
        elif action == "table":
            self._emit_row(self._tables[-1])
            self._tables.pop()

    def _open_list(self, tag: Start) -> None:
        """Enter a list."""
        frame = self._frame
        if not frame.lists:
            self._count += 1
            frame.list_number = self._count
        start = tag.get("start")
        number = (int(start) if re.fullmatch(r"\d{1,6}", start) else 1) if tag.name == "ol" else 0
        frame.lists.append(_List(number, tag.get("type") or "1"))
        frame.marker = ""

    def _open_item(self, tag: Start) -> None:
        """Enter an item: its marker stands before the first text in it."""
        lists = self._frame.lists
        if not lists or not lists[-1].number:
            self._frame.marker = "- "
            return
        if re.fullmatch(r"\d{1,6}", value := tag.get("value")):
            lists[-1].number = max(1, int(value))
        self._frame.marker = f"{_numbered(lists[-1].number, lists[-1].style)}. "
        lists[-1].number += 1

    # Text.

    def _text(self, data: str) -> None:
        """Take text as it stands in the file; outside preformatted text, blanks of any kind and number are one."""
        if not self._pre:
            data = _BLANKS.sub(" ", data)
        if not data.isprintable():
            data = _UNSEEN.sub("", data)
        if self._after_blank and not self._pre:
            data = data.lstrip(" ")
        self._put(data)

    def _put(self, text: str) -> None:
        """Append to the block that is being read."""
        if text:
            self._pieces.append(text)
            self._size += len(text)
            self._after_blank = text[-1] in " \n"

    def _anchor(self, tag: Start) -> None:
        """Keep an element's id, and the name of an old-style anchor, for the block that comes."""
        if found := tag.get("id"):
            self._anchors.append(found)
        if tag.name == "a" and (found := tag.get("name")):
            self._anchors.append(found)

    def _anchor_all(self, index: int, end: int) -> None:
        """Keep the ids on and in an element that is not read tag by tag."""
        for event in self._events[index : min(end, index + _FEW_EVENTS)]:
            if isinstance(event, Start):
                self._anchor(event)

    def _page_begins(self, label: str) -> None:
        """Note that a printed page begins here."""
        if label:
            self._breaks.append((label, self._size))

    def _flush(self) -> None:
        """End the block that is being read."""
        if not self._pieces:
            self._breaks = [(label, 0) for label, _ in self._breaks]
            self._after_blank = True
            return
        raw = "".join(self._pieces)
        self._pieces, self._size, self._after_blank = [], 0, True
        text = clean(raw.translate(_HARD_SPACES)).rstrip("\n")
        text = text if self._pre else text.lstrip()
        if text.strip():
            lost = len(raw) - len(raw.lstrip()) if not self._pre else 0
            self._breaks = [(label, min(max(0, at - lost), len(text))) for label, at in self._breaks]
            self._emit_text(text)

    def _emit_text(self, text: str) -> None:
        """Add a paragraph with what its surroundings put before it: a marker, an indent."""
        frame = self._frame
        level = self._level
        if level and len(text) <= _LONGEST_HEADING:
            self._emit(" ".join(text.split()), level=level)
            return
        depth = min(len(frame.lists), _DEEPEST_LIST)
        group = ""
        indent = ""
        if depth or frame.marker:
            indent = "  " * max(0, depth - 1)
            group = f"list {frame.list_number}" if frame.marker else ""
            first = indent + (frame.marker or "  ")
            indent += "  "
            frame.marker = ""
        elif frame.term:
            group = "terms" if frame.term == "dd" or frame.group == "term" else "term"
            first = indent = "  " if frame.term == "dd" else ""
        else:
            first = ""
            group = frame.stanzas[-1] if frame.stanzas and frame.is_line else ""
        tight = bool(group) and (frame.group == group or (group == "terms" and frame.group == "term"))
        if frame.term == "dt" and not depth:
            # Terms that share a definition stand together; the next term after a definition stands apart.
            tight, group = frame.group == "term", "term"
        if indent and not self._pre:
            text = text.replace("\n", f"\n{indent}").replace(f"\n{indent}\n", "\n\n")
        self._breaks = [(label, at + len(first)) for label, at in self._breaks]
        self._emit(first + text, tight=tight, group=group)

    def _emit(self, text: str, *, level: int = 0, tight: bool = False, group: str = "") -> None:
        """Add a block with the anchors and pages that were waiting for it."""
        anchors = tuple(dict.fromkeys(self._anchors))
        breaks = tuple((label, min(at, len(text))) for label, at in self._breaks)
        self._frame.found.append(Block(text, level, anchors, breaks, tight and bool(self._frame.found)))
        self._frame.group = group
        self._anchors, self._breaks = [], []

    def _emit_row(self, table: Table[Block]) -> None:
        """Add a row as one line; a row that only lays out a page is read cell by cell."""
        cells: list[Cell[Block]] = table.close_row()
        if not cells:
            return
        if any(_is_layout(cell) for cell in cells):
            for cell in cells:
                self._frame.found += cell.content
            self._frame.group = ""
            table.forget()
            return
        parts = [block for cell in cells for block in cell.content]
        self._anchors = [*(anchor for part in parts for anchor in part.anchors), *self._anchors]
        self._breaks = [*((label, 0) for part in parts for label, _ in part.breaks), *self._breaks]
        if line := table.line(cells):
            self._emit(line, tight=self._frame.group == table.name, group=table.name)


def is_hidden(tag: Start) -> bool:
    """Tell whether an element is not shown, with all that is in it."""
    return "hidden" in tag.attributes or _HIDDEN.search(tag.attributes.get("style", "")) is not None


def hidden_characters(events: list[Event]) -> int:
    """Return how many characters of text stand in what is not shown."""
    found = 0
    hidden: list[bool] = []
    for event in events:
        if isinstance(event, Start):
            hidden.append((bool(hidden) and hidden[-1]) or is_hidden(event))
        elif isinstance(event, End):
            hidden.pop()
        elif hidden and hidden[-1]:
            found += len(event.strip())
    return found


def _level_of(tag: Start) -> int:
    """Return 1 to 6 for a heading, else 0."""
    if match := _HEADING.fullmatch(tag.name):
        return int(match[1])
    if "heading" in tag.words("role"):
        level = tag.get("aria-level")
        return min(int(level), 6) if level in tuple("123456789") else 2
    return 0


def _numbered(number: int, style: str) -> str:
    """Write an item's number as its list wants it: digits, letters; Roman numbers are written as digits."""
    if style in ("a", "A") and number <= 26:
        return chr(ord(style) + number - 1)
    return str(number)


def _texts(found: Iterable[Block]) -> str:
    """Return the text of a cell on one line."""
    return " ".join(" ".join(block.text for block in found if block.text != RULE).split())


def _is_layout(cell: Cell[Block]) -> bool:
    """Tell whether a cell holds a part of a page rather than an entry: headings, lists, rows, long text, code."""
    content = cell.content
    return (
        len(cell.text) > 1500
        or len(content) > 6
        or any(block.level or block.tight or block.text.count("\n") > 8 for block in content)
    )


def _without_idle_rules(found: list[Block]) -> list[Block]:
    """Keep the rules that part one text from the next, not those at headings, at the ends or beside each other."""
    kept: list[Block] = []
    waiting: list[Block] = []
    for block in found:
        if block.text == RULE:
            waiting.append(block)
            continue
        if waiting:
            anchors = tuple(anchor for rule in waiting for anchor in rule.anchors)
            breaks = tuple((label, 0) for rule in waiting for label, _ in rule.breaks)
            if kept and not kept[-1].level and not block.level and block.text:
                kept.append(Block(RULE, anchors=anchors, breaks=breaks))
            elif anchors or breaks:
                block = replace(block, anchors=(*anchors, *block.anchors), breaks=(*breaks, *block.breaks))
            waiting = []
        kept.append(block)
    return kept
