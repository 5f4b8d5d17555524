"""Chats as Markdown and JSON."""

from __future__ import annotations

import json
from array import array
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cagchat.sessions.export import contained, inline, proof_sentence, quoted, to_json, to_markdown
from cagchat.sessions.session import Session, Status, Turn

SESSION = Session("abcd2345", "Who # lit it?", "d1", "The *Lamp*", "/books/lamp.txt", "tiny", 0.0, 60.0, 2)


def turn(
    question: str = "Who?", answer: str = "Ann.", status: Status = "done", error: str = "", number: int = 1
) -> Turn:
    proof: dict[str, object] = {"book_tokens": 52310, "evaluated": 0, "verified": True}
    return Turn(number, question, answer, "hm", array("i", [1, 2]), status, error, proof, 30.0)


def test_markdown_page() -> None:
    """A chat becomes a heading, its facts, and for each turn the question quoted, the answer and the proof."""
    assert to_markdown(SESSION, [turn(), turn("Why?\n\nReally?", "So.", number=2)]).splitlines() == [
        r"# Who \# lit it?",
        "",
        r"- Book: The \*Lamp\*",
        "- Model: tiny",
        "- Date: 1970-01-01 00:00 UTC",
        "- Chat: abcd2345",
        "",
        "## 1",
        "",
        "> Who?",
        "",
        "Ann.",
        "",
        "*Proof: book tokens 52,310, evaluated 0, verified yes*",
        "",
        "## 2",
        "",
        "> Why?",
        ">",
        "> Really?",
        "",
        "So.",
        "",
        "*Proof: book tokens 52,310, evaluated 0, verified yes*",
    ]


def test_time_zone() -> None:
    """The date is in the zone asked for."""
    assert "- Date: 1970-01-01 02:00" in to_markdown(SESSION, [], zone=timezone(timedelta(hours=2)))


def test_proof_function() -> None:
    """The caller's own words for a proof are used."""
    assert "*Proof: all of it*" in to_markdown(SESSION, [turn()], proof=lambda proof: "all of it")


def test_proof_sentence_other_values() -> None:
    """Values that are no numbers are shown as they are."""
    assert proof_sentence({"first_token_s": 0.25, "model": "tiny"}) == "first token s 0.25, model tiny"
    assert proof_sentence({"until": {"offset": 12, "words": "CHAPTER 1"}}) == "until CHAPTER 1"


@pytest.mark.parametrize(
    ("status", "mark"),
    [("stopped", "*Stopped here. why\\_so*"), ("failed", "*Failed. why\\_so*"), ("running", "*Still being answered.*")],
)
def test_marks(status: Status, mark: str) -> None:
    """An answer that is not complete says so below itself."""
    lines = to_markdown(SESSION, [turn(status=status, error="why_so")]).splitlines()
    assert lines[lines.index("Ann.") + 2] == mark


def test_finished_without_mark() -> None:
    """A complete answer has no mark."""
    assert "Stopped" not in to_markdown(SESSION, [turn()])


@pytest.mark.parametrize(
    ("question", "line"),
    [
        ("# Title", r"> \# Title"),
        ("   ## Title", r"> \#\# Title"),
        ("===", r"> \==="),
        ("---", r"> \---"),
        ("- item", r"> \- item"),
        ("12. item", r"> 12\. item"),
        ("> quote", r"> \> quote"),
        ("```python", r"> \`\`\`python"),
        ("<!-- x", r"> \<!-- x"),
        ("</div>", r"> \</div\>"),
        ("a\nb", "> a\\\n> b"),
        ("    code", "> code"),
    ],
)
def test_question_is_plain(question: str, line: str) -> None:
    """What begins a block in Markdown is plain text in a question, and line breaks stay."""
    assert quoted(question) == line


@given(st.text(st.sampled_from("#`~-=>+*_[]():!|&;. a1\t\n<\\"), max_size=60))
def test_question_is_one_quote(question: str) -> None:
    """A Markdown parser sees any question as paragraphs in one quote, with the characters that were typed."""
    tokens = MarkdownIt().parse(quoted(question))
    assert {token.type for token in tokens} <= {
        "blockquote_open",
        "blockquote_close",
        "paragraph_open",
        "paragraph_close",
        "inline",
    }
    seen = "".join(part.content for token in tokens for part in token.children or ())
    assert seen.replace(" ", "") == "".join(question.split())


@given(st.text(st.sampled_from("#`~-=>+*1. a\n<!"), max_size=60))
def test_sections_are_the_turns(text: str) -> None:
    """Whatever question and answer hold, a Markdown parser finds the title and the turns as the only sections."""
    page = to_markdown(SESSION, [turn(text, text, number=1), turn("q", "a", number=2)])
    tokens = MarkdownIt().parse(page)
    openings = [i for i, token in enumerate(tokens) if token.type == "heading_open" and token.tag in ("h1", "h2")]
    sections = [tokens[i + 1].content for i in openings if tokens[i].level == 0]
    assert sections == [r"Who \# lit it?", "1", "2"]


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("# A\ntext", "### A\ntext"),
        ("##### A", "###### A"),
        ("#tag", "#tag"),
        ("```\n# comment\n```", "```\n# comment\n```"),
        ("```py\nx = 1", "```py\nx = 1\n```"),
        ("1. a\n   ~~~~\n   x", "1. a\n   ~~~~\n   x\n   ~~~~"),
        ("A\n===", "A\n\\==="),
        ("A\n---\nB", "A\n\n---\nB"),
        ("A\n\n---\nB", "A\n\n---\nB"),
        ("<!-- x", "\\<!-- x"),
        ("<https://example.org>", "<https://example.org>"),
        ("- **a** `b`", "- **a** `b`"),
        ("a\x1b[31mb", "a[31mb"),
    ],
)
def test_answer_contained(answer: str, kept: str) -> None:
    """An answer keeps its Markdown; its headings go lower, what it left open is closed."""
    assert contained(answer) == kept


@given(st.text())
def test_inline_is_one_line(text: str) -> None:
    """Any text becomes one printable line."""
    assert inline(text).isprintable()


def test_json_complete() -> None:
    """The JSON form survives `json.dumps` and holds every field of the chat and its turns."""
    page = json.loads(json.dumps(to_json(SESSION, [turn(status="stopped", error="why")])))
    assert page["format"] == 1
    assert set(page["session"]) == set(Session.__slots__) - {"n_turns"}
    (only,) = page["turns"]
    assert set(only) == set(Turn.__slots__)
    assert only["tokens"] == [1, 2]
