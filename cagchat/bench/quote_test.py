"""How many quotes of a model's answers are in the book: verified, near, or absent."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import product

from cagchat.bench.journal import Asked, Journal, Reply
from cagchat.bench.recall import DIGEST_LENGTH, Asker, Evidence
from cagchat.bench.tables import Cell, Column, Table
from cagchat.documents.document import Document
from cagchat.engine.protocol import KvType
from cagchat.errors import Stopped, UsageError
from cagchat.quotes import Checks, Mark, QuoteChecker

MARKS: tuple[Mark, ...] = ("verified", "near", "absent")
COLUMNS = (
    Column("question", "question"),
    Column("evidence", "evidence"),
    Column("quotes", "quotes", "count"),
    *(Column(mark, mark, "count") for mark in MARKS),
    Column("evaluated", "evaluated", "count"),
)
NOTE = (
    "A quote counts from three words and ten letters on. Verified is in the book word for word, near differs in a few "
    "words, absent is not there. Every question is asked in a chat of its own, at temperature 0."
)


@dataclass(frozen=True, slots=True)
class QuotedAnswer:
    """One answer and what the book says to its quotes."""

    question: str
    evidence: Evidence
    reply: Reply
    checks: Checks


def questions_of(text: str, *, toml: bool) -> list[str]:
    """Return the questions of a file: the `text` of each [[question]], or its lines without those that begin with #.

    Raises `UsageError` when there are none.
    """
    if toml:
        try:
            found = [str(entry["text"]).strip() for entry in tomllib.loads(text)["question"]]
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise UsageError(
                "The file of questions is not TOML with a text in each [[question]].", "Or give a .txt, one on a line."
            ) from error
    else:
        found = [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#")]
    if not (found := [question for question in found if question]):
        raise UsageError("The file has no question.", "Write one on each line.")
    return found


def ask_for_quotes(
    questions: Sequence[str],
    document: Document,
    asker: Asker,
    journal: Journal,
    *,
    run: str,
    kv_type: KvType,
    evidence: Sequence[Evidence],
    wanted: Callable[[], bool] = lambda: True,
) -> tuple[QuotedAnswer, ...]:
    """Ask what the journal has no answer to and check every quote; ends early when `wanted` says no."""
    checker = QuoteChecker(document)
    text = sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]
    found: list[QuotedAnswer] = []
    with suppress(Stopped):
        for mode, question in product(evidence, questions):
            key = Asked(run, text, kv_type, mode, question)
            if (reply := journal.get(key)) is None:
                if not wanted():
                    break
                reply = asker.ask(question, mode)
                journal.add(key, reply)
            found.append(QuotedAnswer(question, mode, reply, checker.check(reply.answer)))
    return tuple(found)


def quote_table(answers: Sequence[QuotedAnswer]) -> Table:
    """Return a row for each answer, and one for all answers with the same evidence."""
    rows: list[dict[str, Cell]] = [_row(one.question, [one]) for one in answers]
    for mode in dict.fromkeys(one.evidence for one in answers):
        mine = [one for one in answers if one.evidence == mode]
        supported = sum(one.checks.has_evidence for one in mine)
        rows.append(_row(f"all: {supported} of {len(mine)} answers have a verified quote", mine))
    return Table("quotes", "Quotes in answers", COLUMNS, tuple(rows), (NOTE,))


def _row(title: str, answers: Sequence[QuotedAnswer]) -> dict[str, Cell]:
    return {
        "question": title,
        "evidence": answers[0].evidence,
        "quotes": sum(len(one.checks.items) for one in answers),
        **{mark: sum(one.checks.count(mark) for one in answers) for mark in MARKS},
        "evaluated": round(sum(one.reply.evaluated for one in answers) / len(answers)),
    }


def as_objects(answers: Sequence[QuotedAnswer]) -> list[dict[str, object]]:
    """Return every answer with its checks, for JSON."""
    return [
        {
            "question": one.question,
            "evidence": one.evidence,
            "answer": one.reply.answer,
            "evaluated": one.reply.evaluated,
            "checks": one.checks.as_dict(),
        }
        for one in answers
    ]
