"""`cagchat demo`: the main job on a story of our own and a small model, as a newcomer would see it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from shutil import which
from typing import TYPE_CHECKING

from cagchat.cli.options import add_engine

if TYPE_CHECKING:
    from pathlib import Path

    from cagchat.cli.app import App
    from cagchat.conversation import AskOptions, Conversation
    from cagchat.demo import Question


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--fake", action="store_true", help="use an engine without a model, to try the program")
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Read the story, ask three questions in one chat, close it, open it again and ask a fourth.

    Returns 1 when an answer lacks what the story says.
    """
    from cagchat.cli.app import say
    from cagchat.conversation import AskOptions
    from cagchat.demo import MAX_TOKENS, questions, story_path
    from cagchat.engine.protocol import Sampling
    from cagchat.models.find import packaged_model

    if not app.fake and (small := packaged_model()) is not None:
        app.prefer_model(small)  # the questions are those that it can answer
    first, last = questions()[:-1], questions()[-1:]
    options = AskOptions(Sampling(temperature=0), max_tokens=MAX_TOKENS)
    with story_path() as path:
        right = ask_all(app, path, first, options)
        say("\nThe book is closed, the engine has ended. Opening it again from disk:")
        right += ask_all(app, path, last, options)
        total = len(first) + len(last)
        say(
            f"\n{right} of {total} answers hold what the story says. Now a book of yours: {program()} ask FILE QUESTION"
        )
    return 0 if right == total else 1


def program() -> str:
    """Return what to type for this program: its name where the shell finds it, else how it was started."""
    if which("cagchat"):
        return "cagchat"
    path = os.path.relpath(sys.argv[0])
    return "python -m cagchat" if path.endswith("__main__.py") else shlex.quote(path)


def ask_all(app: App, path: Path, questions: list[Question], options: AskOptions) -> int:
    """Open the book, ask the questions in one chat, close it; return how many answers are right."""
    from cagchat.cli.progress import prepare
    from cagchat.conversation import Conversation
    from cagchat.documents import gather
    from cagchat.library import Options

    book = prepare(app.library, gather([path]), Options())
    try:
        conversation = Conversation(book, app.sessions)
        return sum(ask_one(conversation, question, options) for question in questions)
    finally:
        book.close()


def ask_one(conversation: Conversation, question: Question, options: AskOptions) -> bool:
    """Ask one question, show answer and proof; tell whether the answer is right."""
    from cagchat.cli.ask import show

    print(f"\n> {question.text}")
    answered, _ = show(conversation, conversation.ask(question.text, options))
    return question.answered_by(answered.answer)
