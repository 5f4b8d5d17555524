"""Texts of a measurement, opened by the normal library in a folder of their own, and asked in chats that are new.

States stay in that folder, so that a text is read once and a later run restores it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from cagchat.bench.journal import Reply
from cagchat.bench.recall import Evidence
from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.backend import Backend
from cagchat.engine.protocol import KvType
from cagchat.errors import Stopped
from cagchat.events import Answered, Notice, Ready
from cagchat.files import private_folder, write_bytes
from cagchat.library import Library
from cagchat.locations import locate
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings

CUT = "Stopped before the answer was whole."
GO_ON = "The same command goes on here."


class Stop:
    """Whether a run should end: when its minutes are over, or when it is asked to."""

    def __init__(self, over: Callable[[], bool] = lambda: False) -> None:
        """Ask `over` whether the time is up."""
        self._over = over
        self._stop: Callable[[], None] = lambda: None
        self.asked = False

    def __call__(self) -> None:
        """End the run soon. Safe from a signal handler."""
        self.asked = True
        self._stop()

    @property
    def wanted(self) -> bool:
        """Whether the run should end."""
        return self.asked or self._over()

    @contextmanager
    def reaches(self, stop: Callable[[], None]) -> Iterator[None]:
        """Pass a request on to `stop` inside the block."""
        before, self._stop = self._stop, stop
        try:
            yield
        finally:
            self._stop = before


class OpenText:
    """A text that is open; implements `recall.Asker`."""

    def __init__(self, book: OpenBook, sessions: Sessions, options: AskOptions, stop: Stop) -> None:
        self.book = book
        self._sessions = sessions
        self._asking = options
        self._stop = stop

    def ask(self, question: str, evidence: Evidence) -> Reply:
        """Answer in a chat of its own, which is forgotten. Raises `Stopped` when the run is to end."""
        conversation = Conversation(self.book, self._sessions)
        events = conversation.ask(question, self._options(evidence))
        try:
            with self._stop.reaches(conversation.stop), closing(events):
                answered = next(event for event in events if isinstance(event, Answered))
        finally:
            if conversation.session is not None:
                self._sessions.delete(conversation.session.id)
        if answered.status == "stopped":
            raise Stopped(CUT, GO_ON)
        return Reply(answered.answer, answered.proof.evaluated)

    def _options(self, evidence: Evidence) -> AskOptions:
        """Return how a question is asked: passages always or never, whatever the book's length."""
        extras = replace(self._asking.extras, evidence="always" if evidence == "on" else "off")
        return replace(self._asking, extras=extras)


class TextShelf:
    """Opens texts; implements `recall.Shelf`."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        backend: Backend,
        options: AskOptions,
        *,
        stop: Stop,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Keep texts, states and chats in `folder`."""
        self._folder = folder
        self._settings = settings
        self._backend = backend
        self._options = options
        self._stop = stop
        self._say = say

    @contextmanager
    def open(self, name: str, text: str, kv_type: KvType) -> Iterator[OpenText]:
        """Open a text, which is written down under its name for whoever wants to see what was read."""
        path = private_folder(self._folder / "texts") / f"{name}.txt"
        write_bytes(path, text.encode("utf-8", "replace"))
        with self.open_book(path, kv_type) as opened:
            yield opened

    @contextmanager
    def open_book(self, path: Path, kv_type: KvType) -> Iterator[OpenText]:
        """Open a book that is there. Raises `Stopped` when the run is to end, with what was read kept."""
        places = locate({"CAGCHAT_HOME": str(self._folder)})
        private_folder(places.data)
        library = Library(places, replace(self._settings, kv_type=kv_type), self._backend)
        with (
            Sessions(places.sessions_db) as sessions,
            closing(self._prepared(library, path)) as book,
        ):
            yield OpenText(book, sessions, self._options, self._stop)

    def _prepared(self, library: Library, path: Path) -> OpenBook:
        with self._stop.reaches(library.stop):
            for event in library.prepare(path):
                match event:
                    case Ready(book):
                        return book
                    case Notice(sentence):
                        self._say(f"  {sentence}")
                if self._stop.wanted:
                    library.stop()
        raise AssertionError("prepare ends with Ready")
