"""The demonstration: a story of our own, so that a right answer can only come from the text, and questions about it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from cagchat.engine.fake import FakeScript

MAX_TOKENS = 96  # the answers are a sentence long, or as many letters where tokens are bytes


@dataclass(frozen=True, slots=True)
class Question:
    """A question, what a right answer holds, whatever its case, and what the engine without a model says to it."""

    text: str
    expect: tuple[str, ...]
    fake: str

    def answered_by(self, answer: str) -> bool:
        """Tell whether an answer holds everything that is expected."""
        return all(part.lower() in answer.lower() for part in self.expect)


@contextmanager
def story_path() -> Iterator[Path]:
    """Give the story as a file."""
    with as_file(files("cagchat.demo") / "story.md") as path:
        yield path


def fake_script() -> FakeScript:
    """Return what the engine without a model needs to answer the demonstration's questions."""
    return FakeScript(answers={question.text: question.fake for question in questions()})


def questions() -> list[Question]:
    """Return the questions: all but the last for one chat, the last for after reopening."""
    content = tomllib.loads((files("cagchat.demo") / "questions.toml").read_text(encoding="utf-8"))
    return [Question(str(q["text"]), tuple(map(str, q["expect"])), str(q["fake"])) for q in content["question"]]
