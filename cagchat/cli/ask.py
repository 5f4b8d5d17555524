"""`cagchat ask`: one question, the answer on stdout, the proof on stderr."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from cagchat.cli.completion import chat_names, paths
from cagchat.cli.options import add_answering, add_book, add_engine, add_until, complete_with
from cagchat.cli.output import narrate, put
from cagchat.cli.tables import print_json

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.conversation import Asking, AskOptions, Conversation
    from cagchat.documents import Document
    from cagchat.events import Answered
    from cagchat.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_book(parser)
    other = parser.add_argument(
        "--with", dest="others", metavar="FILE", action="append", default=[], help="one more file of the same book"
    )
    complete_with(other, paths)
    parser.add_argument(
        "question", metavar="QUESTION", nargs="?", help="the question; - or nothing reads it from stdin"
    )
    chat = parser.add_mutually_exclusive_group()
    chat.add_argument("-c", "--continue", dest="go_on", action="store_true", help="go on with the last chat about it")
    text = "go on with this chat: its id, its title, or a beginning"
    complete_with(chat.add_argument("--session", metavar="CHAT", help=text), chat_names)
    add_until(parser)
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    add_answering(parser)
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Prepare the book if needed and answer."""
    question = read_question(args.question, book=args.book)
    app.warm_up()
    from cagchat.cli.books import book_source, session_to_continue
    from cagchat.cli.progress import prepare
    from cagchat.cli.until import limit_of
    from cagchat.errors import Stopped
    from cagchat.library import Options

    def check(document: Document) -> None:
        if args.until is not None:
            limit_of(app, document, args.until)
        session_to_continue(app, document.digest, document.title, args.session, args.go_on)

    options = Options(truncate=args.truncate, reread=args.reread, password=args.password, check=check)
    source = book_source(app, [args.book, *args.others])
    book = prepare(app.library, source, options, meanwhile=app.ready_to_chat)
    from cagchat.conversation import Conversation  # by now imported, while the engine started

    try:
        about = book.manifest.book
        session = session_to_continue(app, about.digest, about.title, args.session, args.go_on)
        limit = limit_of(app, book.document, args.until) if args.until is not None else None
        conversation = Conversation(book, app.sessions, session, limit=limit)
        events = conversation.ask(question, ask_options(app.settings))
        answered, notices = show(conversation, events, quiet=args.json)
        if args.json:
            print_json(as_object(conversation, question, answered, notices))
        return Stopped.exit_code if answered.status == "stopped" else 0
    finally:
        book.close()


def read_question(given: str | None, book: str = "") -> str:
    """Return the question from the command line or from stdin. Raises `UsageError` when there is none."""
    from cagchat.errors import UsageError

    if given not in (None, "-"):
        question = given or ""
    elif sys.stdin is None or (given is None and sys.stdin.isatty()):
        raise UsageError("There is no question.", 'Ask one: cagchat ask BOOK "question".')
    elif book == "-":
        raise UsageError("Stdin cannot be the book and the question.", 'Name the question: cagchat ask - "question".')
    else:
        question = sys.stdin.read()
    if not question.strip():
        raise UsageError("The question is empty.", 'Ask one: cagchat ask BOOK "question".')
    return question


def ask_options(settings: Settings) -> AskOptions:
    """Return the settings that are about answering."""
    from cagchat.conversation import AskOptions
    from cagchat.engine.protocol import Sampling
    from cagchat.wording import Extras

    sampling = Sampling(
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
        repeat_penalty=settings.repeat_penalty,
        presence_penalty=settings.presence_penalty,
        seed=settings.seed,
    )
    extras = Extras(settings.evidence, settings.evidence_tokens, settings.quoting)
    return AskOptions(sampling, max_tokens=settings.max_tokens, thinking=settings.thinking, extras=extras)


def show(conversation: Conversation, events: Asking, *, quiet: bool = False) -> tuple[Answered, list[str]]:
    """Print an answer as it comes (unless `quiet`) and its proof; Ctrl-C ends the answer and keeps it."""
    from cagchat.cli.app import say
    from cagchat.cli.interrupt import on_interrupt
    from cagchat.cli.until import reading_shown, sentence
    from cagchat.events import Answer, Answered, Limited, Notice, Thinking
    from cagchat.quotes.footnotes import footnotes

    notices: list[str] = []
    begun = unfinished = False  # whether the answer has begun, and whether the cursor stands behind a piece of it
    # Closed whatever happens, a broken pipe too, so that the turn is settled while the chats are still open.
    with on_interrupt(conversation.stop), closing(events):
        for event in reading_shown(events):
            match event:
                case Answer(text):
                    # Models like to begin with blank lines; the record is stripped too.
                    shown = text if begun else text.lstrip()
                    begun = begun or bool(shown)
                    if not quiet:
                        put(shown, end="")
                        unfinished = not shown.endswith("\n") if shown else unfinished
                case Thinking(text) if not quiet:
                    narrate(text)
                case Limited():
                    say(sentence(event))
                case Notice(text):
                    notices.append(text)
                    if unfinished:
                        put("")
                        unfinished = False
                    say(text)
                case Answered():
                    if not quiet:
                        if unfinished or not begun:
                            put("")
                        if event.status == "stopped":
                            say("(stopped; kept as it is)")
                        say(summary(event))
                        for line in footnotes(event.quotes) if event.quotes else ():
                            say(line)
                    return event, notices
    raise AssertionError("ask ends with Answered")


def summary(answered: Answered) -> str:
    """Return the line below an answer: its proof, and how many of its quotes are in the book."""
    return f"{answered.proof.line()}, {answered.quotes}" if answered.quotes is not None else answered.proof.line()


def as_object(conversation: Conversation, question: str, answered: Answered, notices: list[str]) -> dict[str, object]:
    """Return everything about one answer, for `--json`."""
    from dataclasses import asdict

    book = conversation.book
    manifest = book.manifest
    return {
        "book": {
            "title": manifest.book.title,
            "author": manifest.book.author,
            "path": manifest.book.path,
            "digest": manifest.book.digest,
            "state": book.folder.name,
            "truncated": manifest.book.truncated,
        },
        "model": {"name": manifest.model_name, "path": manifest.model_path, "kv_type": manifest.key.kv_type},
        "until": asdict(conversation.limit) if conversation.limit else None,
        "session": answered.session_id,
        "turn": answered.number,
        "question": question.strip(),
        "answer": answered.answer,
        "thinking": answered.thinking,
        "status": answered.status,
        "proof": answered.proof.as_dict(),
        "proof_line": answered.proof.line(),
        "quotes": answered.quotes.as_dict() if answered.quotes else None,
        "notices": notices,
    }
