"""A chat as a document: Markdown to read, JSON to process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from itertools import groupby

from cagchat.printable import printable
from cagchat.sessions.naming import one_line
from cagchat.sessions.session import Session, Turn

JSON_FORMAT = 1
# An answer's own headings go below the turn's, which are of level 2.
DEEPER = 2
DEEPEST = 6

INLINE = re.compile(r"([\\`*_\[\]<>#|~&])")
LIST_OR_UNDERLINE = re.compile(r"(\d{1,9}(?=[.)])|(?=[-+=]))")
FENCE = re.compile(r"(?P<indent> {0,3})(?P<marks>`{3,}(?=[^`]*$)|~{3,})(?P<rest>.*)")
HEADING = re.compile(r" {0,3}(?P<marks>#{1,6})(?=\s|$)")
UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*$")
# A tag or a comment at the start of a line begins raw HTML, which may have no end; <https://...> does not.
HTML = re.compile(r"( {0,3})<(?![A-Za-z][A-Za-z0-9+.-]+:)")


def proof_sentence(proof: Mapping[str, object]) -> str:
    """Return what was counted, key by key, numbers with thousands separated."""
    return ", ".join(f"{key.replace('_', ' ')} {counted(value)}" for key, value in proof.items())


def to_markdown(
    session: Session,
    turns: Iterable[Turn],
    *,
    proof: Callable[[Mapping[str, object]], str] = proof_sentence,
    zone: tzinfo = UTC,
) -> str:
    """Return the chat as Markdown: a heading each turn, the question quoted, the answer as the model wrote it.

    `proof` words a turn's proof. A question is plain text, so nothing in it is Markdown; an answer keeps its own, with
    headings lowered and an open code block closed, so that the only sections are the turns.
    """
    lines = [
        f"# {inline(session.title)}",
        "",
        f"- Book: {inline(session.book_title)}",
        f"- Model: {inline(session.model)}",
        f"- Date: {datetime.fromtimestamp(session.created_at, zone):%Y-%m-%d %H:%M %Z}",
        f"- Chat: {session.id}",
    ]
    for turn in turns:
        blocks = [f"## {turn.number}", quoted(turn.question), contained(turn.answer), ending(turn)]
        if turn.proof:
            blocks.append(f"*Proof: {inline(proof(turn.proof))}*")
        for block in filter(None, blocks):
            lines += ["", block]
    return "\n".join(lines) + "\n"


def to_json(session: Session, turns: Iterable[Turn]) -> dict[str, object]:
    """Return everything about the chat and its current turns as values `json.dumps` takes."""
    return {
        "format": JSON_FORMAT,
        "session": {
            "id": session.id,
            "title": session.title,
            "book_digest": session.book_digest,
            "book_title": session.book_title,
            "book_path": session.book_path,
            "model": session.model,
            "created_at": session.created_at,
            "updated_at": session.updated_at,
        },
        "turns": [
            {
                "number": turn.number,
                "question": turn.question,
                "answer": turn.answer,
                "thinking": turn.thinking,
                "tokens": list(turn.tokens),
                "tokenizer": turn.tokenizer,
                "status": turn.status,
                "error": turn.error,
                "proof": turn.proof,
                "created_at": turn.created_at,
            }
            for turn in turns
        ],
    }


def ending(turn: Turn) -> str:
    """Return the mark below an answer that is not complete."""
    reason = f" {inline(turn.error)}" if turn.error else ""
    match turn.status:
        case "done":
            return ""
        case "running":
            return "*Still being answered.*"
        case "stopped":
            return f"*Stopped here.{reason}*"
        case "failed":
            return f"*Failed.{reason}*"


def inline(text: str) -> str:
    """Return the text as one line in which no character means anything to Markdown."""
    return INLINE.sub(r"\\\1", one_line(text))


def quoted(text: str) -> str:
    """Return plain text as a block quote that keeps its line breaks and blank lines and has no other structure."""
    lines = [plain(line) for line in text.split("\n")]
    paragraphs = [list(group) for filled, group in groupby(lines, key=bool) if filled]
    return "\n>\n".join("\\\n".join(f"> {line}" for line in paragraph) for paragraph in paragraphs)


def plain(line: str) -> str:
    """Return one line of text such that it starts no block of Markdown and holds none of its marks."""
    text = inline(line)
    found = LIST_OR_UNDERLINE.match(text)
    return f"{text[: found.end()]}\\{text[found.end() :]}" if found else text


def contained(markdown: str) -> str:
    """Return the model's Markdown with its headings below a turn's and nothing left open at its end."""
    return "\n".join(contained_lines(clean_lines(markdown))).strip("\n")


def contained_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of an answer, changed outside of code blocks only."""
    fence = indent = before = ""
    for line in lines:
        found = FENCE.match(line)
        if fence:
            if found and found["marks"].startswith(fence) and not found["rest"].strip():
                fence = ""
            yield line
        elif found:
            fence, indent = found["marks"], found["indent"]
            yield line
        elif UNDERLINE.match(line) and before.strip():
            # Would turn the line above into a heading: a rule after a blank line, or plain characters, do not.
            yield from ("", line) if "-" in line else (f"\\{line.lstrip()}",)
        else:
            yield HTML.sub(r"\1\\<", lowered(line), count=1) if HTML.match(line) else lowered(line)
        before = line
    if fence:
        # Indented as it was opened: inside a list item an unindented fence would open another.
        yield indent + fence


def lowered(line: str) -> str:
    """Return a heading two levels lower, any other line as it is."""
    found = HEADING.match(line)
    if not found:
        return line
    return "#" * min(DEEPEST, len(found["marks"]) + DEEPER) + line[found.end() :]


def clean_lines(text: str) -> list[str]:
    """Return the lines of a text without control characters, which a terminal would obey."""
    return printable(text).split("\n")


def counted(value: object) -> str:
    """Return a value as a reader expects it: thousands separated, yes and no, a place by its words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping) and isinstance(words := value.get("words"), str):
        return words
    return f"{value:,}" if isinstance(value, int | float) else str(value)
