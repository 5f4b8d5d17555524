"""Load Markdown: its headings are the sections, its front matter gives title and author, its text stays Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cagchat.documents.cleaning import clean
from cagchat.documents.document import Document, Section
from cagchat.documents.encoding import decode, notes_on
from cagchat.documents.parts import parts
from cagchat.documents.text import no_text
from cagchat.documents.titles import title_from_name

KIND = "markdown"

_LONGEST_TITLE = 200
_LONGEST_HEADER_LINES = 200

_ATX = re.compile(r" {0,3}(?P<marks>#{1,6})(?:[ \t]+(?P<title>.*))?")
_UNDERLINE = re.compile(r" {0,3}(?P<mark>=+|-+)")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})(?P<info>.*)")
# What is no Markdown up to its end (CommonMark, HTML blocks 1 and 2).
_RAW = re.compile(r" {0,3}<(?:!--|(?P<name>pre|script|style|textarea)(?=[ \t>]|$))", re.I)
_RAW_END = re.compile(r"-->|</(?:pre|script|style|textarea)>", re.I)
_CLOSING_MARKS = re.compile(r"(?:^|(?<=[ \t]))#+$")
# Lines that are not paragraphs: a rule below them underlines no heading.
_NOT_PARAGRAPH = re.compile(r" {4}|\t| {0,3}(?:[>|]|[-*+](?: |$)|\d{1,9}[.)](?: |$)|<|(?:[-*_] *){3,}$)")
_ANCHOR = re.compile(r" ?\{[#.][^{}]*\}$")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_EMPHASIS = re.compile(r"(?<![\w\\])(\*\*|__|\*|_|`+|~~)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")

_FIELD = re.compile(r"(?P<key>[A-Za-z][\w-]*):(?:[ \t]+(?P<value>.*))?")
_LISTED = re.compile(r"[ \t]*-[ \t]+(?P<value>.*)")
# A field of a person or a title that has several, on its own line or as an item of a list; these hold the name.
_INNER = re.compile(r"(?:[ \t]+|[ \t]*-[ \t]+)(?P<key>[A-Za-z][\w-]*):(?:[ \t]+(?P<value>.*))?")
_NAMES = ("name", "literal", "text")
_FOLDED = re.compile(r"[|>][-+0-9]{0,2}")


@dataclass(frozen=True, slots=True)
class _Heading:
    title: str
    start: int
    level: int


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields of a YAML front matter that a book has; `end` is where the text goes on, 0 without a header."""

    title: str = ""
    author: str = ""
    language: str = ""
    end: int = 0


def load_markdown(content: bytes, name: str) -> Document:
    """Return the document in `content`; `name` is the file's path, the last resort for a title."""
    decoded, encoding = decode(content)
    whole = clean(decoded)
    header = _read_header(whole)
    text = whole[header.end :].lstrip("\n")
    if not text:
        raise no_text(name)
    headings = list(_headings(text))
    return Document(
        title=header.title or _title_of(headings) or title_from_name(name),
        text=text,
        sections=_tile(text, headings) if headings else parts(text),
        kind=KIND,
        author=header.author,
        language=header.language,
        notes=(
            *notes_on(text, encoding),
            *(("The YAML front matter was taken off.",) if header.end else ()),
        ),
    )


def _title_of(headings: list[_Heading]) -> str:
    """Return the first heading when it is the only one of level 1."""
    outermost = [heading for heading in headings if heading.level == 1]
    return outermost[0].title if len(outermost) == 1 and outermost[0] is headings[0] else ""


def _tile(text: str, headings: list[_Heading]) -> tuple[Section, ...]:
    """Make a section from each heading to the next; what precedes the first has level 0."""
    starts = [heading.start for heading in headings]
    sections = [
        Section(heading.title, start, end, heading.level)
        for heading, start, end in zip(headings, starts, [*starts[1:], len(text)], strict=True)
    ]
    return tuple(sections) if not starts[0] else (Section("Front matter", 0, starts[0], 0), *sections)


def _headings(text: str) -> Iterator[_Heading]:
    """Yield the headings outside code and comments, in order."""
    fence = ""
    closing = ""  # what ends the comment or the HTML that is open
    last = {match[0].lower(): match.start() for match in _RAW_END.finditer(text)}
    paragraph_start = -1
    paragraph_lines: list[str] = []
    start = 0
    for line in text.split("\n"):
        if fence:
            fence = "" if _closes(line, fence) else fence
        elif closing:
            closing = "" if closing in line.lower() else closing
        elif (raw := _RAW.match(line)) and last.get(_closing(raw), -1) > start:
            closing = "" if _closing(raw) in line[raw.end() :].lower() else _closing(raw)
            paragraph_lines, paragraph_start = [], -1
        elif (opening := _FENCE.fullmatch(line)) and not ("`" in opening["fence"] and "`" in opening["info"]):
            fence, paragraph_lines = opening["fence"], []
        elif atx := _ATX.fullmatch(line):
            yield _Heading(_plain(atx["title"] or ""), start, len(atx["marks"]))
            paragraph_lines = []
        elif paragraph_lines and (underline := _UNDERLINE.fullmatch(line)):
            yield _Heading(_plain(" ".join(paragraph_lines)), paragraph_start, 1 if "=" in underline["mark"] else 2)
            paragraph_lines = []
        elif not line or (not paragraph_lines and _NOT_PARAGRAPH.match(line)):
            # Lines that lazily continue a list or a quote are taken with it: "in a block" is a paragraph without lines.
            paragraph_lines, paragraph_start = [], -1 if not line else -2
        elif paragraph_start != -2:
            if not paragraph_lines:
                paragraph_start = start
            paragraph_lines.append(line)
        start += len(line) + 1


def _closing(raw: re.Match[str]) -> str:
    """Return what ends a comment, or HTML that is taken as it is written."""
    return f"</{raw['name'].lower()}>" if raw["name"] else "-->"


def _closes(line: str, fence: str) -> bool:
    """Tell whether a line ends the code block that `fence` opened."""
    marks = line.strip(" ")
    return len(line) - len(line.lstrip(" ")) <= 3 and len(marks) >= len(fence) and not marks.strip(fence[0])


def _plain(title: str) -> str:
    """Return a heading as it is read: without closing marks, links, emphasis and escapes."""
    title = _CLOSING_MARKS.sub("", title[:_LONGEST_TITLE].strip()).strip()
    title = _LINK.sub(r"\1", _ANCHOR.sub("", title))
    for _ in range(3):
        title = _EMPHASIS.sub(r"\2", title)
    return " ".join(_ESCAPE.sub(r"\1", title).split())


def _read_header(text: str) -> _Header:
    """Read a YAML front matter; without a closing line, or with lines that are not YAML, there is none."""
    if not text.startswith("---\n"):
        return _Header()
    fields: dict[str, list[str]] = {}
    key = ""
    is_folded = False
    position = 0
    for number, line in enumerate(text.split("\n", _LONGEST_HEADER_LINES)[:_LONGEST_HEADER_LINES]):
        position += len(line) + 1
        if number == 0:
            continue
        if line in ("---", "..."):
            return (
                _Header(
                    title=" ".join(fields.get("title", [])),
                    author=", ".join(fields.get("author") or fields.get("authors") or fields.get("creator") or []),
                    language=" ".join(fields.get("lang") or fields.get("language") or []),
                    end=position,
                )
                if fields
                else _Header()
            )
        if field := _FIELD.fullmatch(line):
            key = field["key"].lower()
            fields[key] = _values(field["value"] or "")
            is_folded = bool(_FOLDED.fullmatch((field["value"] or "").strip()))
        elif is_folded and line.startswith(" "):
            fields[key].append(line.strip())
        elif key and (inner := _INNER.fullmatch(line)):
            fields[key] += _values(inner["value"] or "") if inner["key"].lower() in _NAMES else []
        elif key and (listed := _LISTED.fullmatch(line)):
            fields[key] += _values(listed["value"])
        elif line and not line.startswith((" ", "\t", "#")):
            return _Header()
    return _Header()


def _values(value: str) -> list[str]:
    """Return the strings of a YAML value on one line: quoted, plain, or a list in brackets."""
    value = value.strip()
    if value.startswith("[") and value.endswith("]"):
        return [item for part in value[1:-1].split(",") for item in _values(part)]
    if value[:1] in ("'", '"') and value.endswith(value[0]) and len(value) > 1:
        value = value[1:-1].replace("''", "'") if value[0] == "'" else value[1:-1]
    return [] if value in ("", "null", "~") or _FOLDED.fullmatch(value) else [value]
