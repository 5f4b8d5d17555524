"""`cagchat open`: a chat about a book, on a screen of its own or (--plain) line by line."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from cagchat.cli.completion import chat_names
from cagchat.cli.options import add_answering, add_book, add_engine, add_until, complete_with
from cagchat.cli.output import put

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.conversation import Asking, AskOptions, Conversation
    from cagchat.documents import Document, Source
    from cagchat.library import Options
    from cagchat.opened import OpenBook
    from cagchat.sessions.session import Session

HELP = """\
  /again              answer the last question anew
  /edit N QUESTION    ask QUESTION in place of question N, and go on from there
  /summary CHAPTER    what happens in a chapter; /who NAME, /since CHAPTER
  /turns              list this chat's questions with their numbers
  /new                begin a new chat about the same book
  /until PLACE        let the chat know the book up to "Chapter 12", 40%, or end; /new to know less than before
  /quit, Ctrl-D       leave; Ctrl-C stops an answer and keeps it
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_book(parser, several=True)
    chat = parser.add_mutually_exclusive_group()
    chat.add_argument("-c", "--continue", dest="go_on", action="store_true", help="go on with the last chat about it")
    text = "go on with this chat: its id, its title, or a beginning"
    complete_with(chat.add_argument("--session", metavar="CHAT", help=text), chat_names)
    add_until(parser)
    parser.add_argument("--plain", action="store_true", help="chat line by line instead of on a screen of its own")
    add_answering(parser)
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Open the book and answer questions until the user leaves."""
    from cagchat.cli.output import is_terminal
    from cagchat.errors import UsageError

    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise UsageError("`open` is a chat and needs a terminal.", 'Use `cagchat ask BOOK "question"` in scripts.')
    app.warm_up()
    from cagchat.cli.books import book_source, session_to_continue
    from cagchat.cli.until import limit_of
    from cagchat.library import Options

    source = book_source(app, args.book)

    def check(document: Document) -> None:
        if args.until is not None:
            limit_of(app, document, args.until)
        session_to_continue(app, document.digest, document.title, args.session, args.go_on)

    def choose(book: OpenBook) -> Session | None:
        book.limit = limit_of(app, book.document, args.until) if args.until is not None else None
        about = book.manifest.book
        return session_to_continue(app, about.digest, about.title, args.session, args.go_on)

    options = Options(truncate=args.truncate, reread=args.reread, password=args.password, check=check)

    return plain(app, source, options, choose) if args.plain else full_screen(app, source, options, choose)


def full_screen(
    app: App,
    source: Source | None,
    options: Options | None = None,
    choose: Callable[[OpenBook], Session | None] = lambda book: None,
) -> int:
    """Run the terminal app, on the library when no book is named, and say how to go on after it."""
    from cagchat.cli.app import say
    from cagchat.cli.ask import ask_options
    from cagchat.demo import story_path
    from cagchat.hardware.meter import open_meter
    from cagchat.tui.app import CagchatApp

    with story_path() as story:
        screen = CagchatApp(
            app,
            source,
            options=options,
            answering=ask_options(app.settings),
            story=story,
            choose=choose,
            open_meter=open_meter,
        )
        screen.run()
        screen.leave()
    if screen.defect is not None:
        raise screen.defect
    if line := screen.farewell():
        say(line)
    return screen.exit_code


def plain(app: App, source: Source, options: Options, choose: Callable[[OpenBook], Session | None]) -> int:
    """Prompt for questions and print answers."""
    from cagchat.cli.app import say
    from cagchat.cli.ask import ask_options
    from cagchat.cli.progress import prepare
    from cagchat.conversation import Conversation

    book = prepare(app.library, source, options, meanwhile=app.ready_to_chat)
    try:
        session = choose(book)
        conversation = Conversation(book, app.sessions, session, limit=book.limit)
        chat = Prompt(app, book, conversation, ask_options(app.settings))
        chat.greet()
        chat.loop()
        if chat.conversation.session is not None:
            again = source.again(book.manifest.book.title)
            say(f"Go on with: cagchat open {again} --session {chat.conversation.session.id}")
        return 0
    finally:
        book.close()


class Prompt:
    """Reads lines, answers questions and obeys the few commands that begin with a slash."""

    def __init__(self, app: App, book: OpenBook, conversation: Conversation, options: AskOptions) -> None:
        self.app = app
        self.book = book
        self.conversation = conversation
        self.options = options

    def greet(self) -> None:
        """Say which book is open and how to get help, and show what was said before in a continued chat."""
        from cagchat.sessions.naming import one_line

        known = f", known up to {limit.words}" if (limit := self.conversation.limit) else ""
        title = one_line(self.book.manifest.book.title)
        put(f"{title}: {self.book.n_tokens:,} tokens in context{known}. /help shows the commands.")
        for turn in self.conversation.turns():
            put(f"\n> {turn.question}\n{turn.answer}")

    def loop(self) -> None:
        """Prompt until the end of input or /quit."""
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives input() line editing and history

        while True:
            try:
                line = input("\n> ").strip()
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print()
                continue
            if line.lower() in ("/quit", "/exit", "/q"):
                return
            if line:
                self.answer(line)

    def answer(self, line: str) -> None:
        """Do what one line asks for; an error is shown and the chat goes on."""
        from cagchat.cli.app import complain
        from cagchat.cli.ask import show
        from cagchat.errors import CagchatError

        try:
            events = self.command(line) if line.startswith("/") else self.conversation.ask(line, self.options)
            if events is not None:
                show(self.conversation, events)
        except CagchatError as error:
            complain(error.message, error.hint)

    def command(self, line: str) -> Asking | None:
        """Obey a command; return the events of those that answer."""
        from cagchat.cli.until import limit_of
        from cagchat.conversation import Conversation
        from cagchat.errors import UsageError
        from cagchat.questions import command_in, filled
        from cagchat.sessions.naming import one_line

        name, rest = command_in(line)
        match name:
            case "/again":
                return self.conversation.regenerate(self.options)
            case "/edit":
                number, _, question = rest.strip().partition(" ")
                if not number.isdecimal() or not question.strip():
                    raise UsageError("/edit needs a number and a question.", "/edit 2 And who is his mother?")
                return self.conversation.edit(int(number), question, self.options)
            case "/turns":
                for turn in self.conversation.turns():
                    print(f"{turn.number:>3}  {one_line(turn.question)}")
            case "/new":
                self.conversation = Conversation(self.book, self.app.sessions)
                print("A new chat about the same book.")
            case "/until":
                self.book.limit = limit_of(self.app, self.book.document, rest)
                self.conversation.limit_to(self.book.limit)
                print("The next question goes by it.")
            case "/help":
                print(HELP, end="")
            case _:
                ready_made = filled(self.book.document, name, rest)
                if ready_made is None:
                    raise UsageError(f"There is no command {line.split()[0]}.", "/help lists them.")
                put(f"> {ready_made}")
                return self.conversation.ask(ready_made, self.options)
        return None
