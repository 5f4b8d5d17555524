"""What must hold after a victim was killed: its files, its book and its chats, as the next program finds them."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from cagchat.conversation import Conversation
from cagchat.engine.backend import Backend, FakeBackend, LlamaBackend
from cagchat.errors import CagchatError, StateDamaged
from cagchat.events import Answer, Answered, PrepareEvent, Ready, Restored, Resumed, Waiting
from cagchat.library import Library
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions, storable
from cagchat.states.manifest import Manifest
from cagchat.states.pruning import reason
from cagchat.states.standing import Remembered, standing
from cagchat.states.store import DELETING, StateFolder
from cagchat.states.verifying import verify
from tests.reading_cases import book_tokens_evaluated, locations, of_type
from tests.torture.hunt import PATIENCE_S, Heard
from tests.torture.victim import Job, answering, script, settings_for
from tests.waiting import wait_until

PASSING = (".partial", ".pid", "-wal", "-shm", "-journal")  # ends of files that are there for a moment only


@dataclass(slots=True)
class Message:
    """A question and what was shown of its answer."""

    session: str
    question: str
    shown: list[str] = field(default_factory=list)
    settled: bool = False

    def lost(self, recorded: str) -> str:
        """Return what a record of the answer lacks or has wrong, or ""."""
        text = storable("".join(self.shown)).strip()
        if self.settled and recorded.strip() != text:
            return f"{recorded!r} is recorded of the settled answer {text!r}"
        if not recorded.strip().startswith(text):
            return f"{recorded!r} is recorded of {text!r}, which was shown"
        return ""


@dataclass(slots=True)
class Shelf:
    """One home with one book: what an unbroken reading made of it, and every message that was shown since."""

    job: Job
    messages: list[Message] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    unbroken: Manifest | None = None
    files: set[str] = field(default_factory=set)
    n_asked: int = 0

    @property
    def home(self) -> Path:
        """The folder of everything."""
        return Path(self.job.home)

    @property
    def sessions(self) -> list[str]:
        """The chats that are there, the oldest first."""
        return [s for s in dict.fromkeys(message.session for message in self.messages) if s not in self.forgotten]

    def backend(self) -> Backend:
        """Return where engines come from that nobody kills."""
        if self.job.model:
            return LlamaBackend(locations(self.home), "off")
        return FakeBackend(replace(script(self.job), batch_s=0.0, token_s=0.0))

    def library(self) -> Library:
        """Return the library as the next program has it."""
        return Library(locations(self.home), settings_for(self.job), self.backend())

    def question(self) -> str:
        """Return a question that nobody has asked."""
        self.n_asked += 1
        return f"Question number {self.n_asked}: who was late?"

    def listen(self, heard: Heard) -> None:
        """Take down what a victim has shown."""
        for _, word, values in heard.said:
            match word:
                case "asked":
                    self.messages.append(Message(values[0], values[2]))
                case "shown":
                    self.messages[-1].shown.append(values[0])
                case "finished":
                    self.messages[-1].settled = True
                case "forgotten":
                    self.forgotten.add(values[0])


@dataclass(slots=True)
class Aftermath:
    """Looks at a shelf after a victim's end; what is broken is said in sentences, what was found is counted."""

    shelf: Shelf
    heard: Heard
    deed: str
    counts: Counter[str]
    broken: list[str] = field(default_factory=list)

    def examine(self) -> list[str]:
        """Look at everything, and leave the book read and closed; return what is broken."""
        self._ended()
        before = self._on_disk()
        aside = set(self.shelf.library().states.aside())
        try:
            book, events = self._opened()
        except CagchatError as error:
            return [*self.broken, f"The book does not open: {error.message}"]
        with closing(book):
            self._reopened(before, book, events, aside)
            self._chats(book)
        self._nothing_left()
        return self.broken

    def expect(self, holds: bool, otherwise: str) -> None:
        """Take down a broken promise."""
        if not holds:
            self.broken.append(otherwise)

    # -- the victim ------------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        """No process of the victim outlives it, and none of ours ended with a traceback."""
        try:
            wait_until(lambda: not survivors(self.shelf.home), "they end", PATIENCE_S)
        except AssertionError:
            self.expect(False, f"Processes outlive the program: {survivors(self.shelf.home)}")
        for values in self.heard.words("traceback"):
            self.expect(False, f"The victim ended with {values[0]}")
        for name, message, hint in self.heard.words("failed"):
            self.expect(name == "EngineDied" and bool(hint), f"The victim failed: {name}: {message}")
        for _, evaluated in self.heard.words("answered"):
            self.expect(evaluated == 0, f"An answer evaluated {evaluated:,} tokens of the book.")
        self.expect(self.heard.exit_code in (0, -9), f"The victim's exit code is {self.heard.exit_code}.")

    # -- the state -------------------------------------------------------------------------------------------------

    def _on_disk(self) -> Manifest | None:
        """Return the manifest as the victim left it; what was said to be saved is there, and it is sound."""
        states = self.shelf.library().states
        for folder in states.all():
            standing(folder, Remembered.read(locations(self.shelf.home).cache / "models.json"))
            if folder.exists() and self.deed != "damaged":
                self.broken += [f"After the kill: {problem}" for problem in verify(folder)]
        found = [folder for folder in states.all() if folder.exists()]
        self.expect(len(found) <= 1, f"There are {len(found)} states of one book.")
        try:
            manifest = found[0].manifest() if found else None
        except StateDamaged:
            return None
        position = manifest.position if manifest else 0
        if (said := self.heard.last("checkpointed")) is not None:
            self.expect(position >= said, f"A checkpoint at {said:,} was said to be saved; {position:,} tokens are.")
        if self.heard.words("sealed"):
            self.expect(manifest is not None and manifest.state is not None, "The state was said to be sealed.")
        if self.heard.words("removed"):
            self.expect(not states.all(), "The state was said to be deleted.")
        for name, _, hint in self.heard.words("failed"):
            if name == "EngineDied" and "goes on at token" in hint:
                self.expect(f"token {position:,}." in hint, f"{hint} But {position:,} tokens are saved.")
        return manifest

    def _opened(self) -> tuple[OpenBook, list[PrepareEvent]]:
        events = list(self.shelf.library().prepare(Path(self.shelf.job.book)))
        assert isinstance(events[-1], Ready)
        return events[-1].book, events

    def _reopened(
        self, before: Manifest | None, book: OpenBook, events: list[PrepareEvent], known: set[StateFolder]
    ) -> None:
        """The book is restored with its proof, resumed at its checkpoint, or read where nothing was; never else."""
        states = self.shelf.library().states
        put_aside = [folder for folder in states.aside() if folder not in known]
        for folder in states.aside():
            self.expect("is damaged" in reason(folder), f"{folder.name} was set aside, and {reason(folder)}.")
            self.expect(self.deed == "damaged", f"A state that nobody damaged was set aside: {reason(folder)}")
            self.counts["damaged states set aside with a reason"] += 1
            states.delete(folder)
        position = before.position if before is not None and not put_aside else 0
        evaluated = book_tokens_evaluated(book)
        self.expect(
            evaluated == book.n_tokens - position,
            f"{evaluated:,} of {book.n_tokens:,} tokens were evaluated with {position:,} saved.",
        )
        self.expect(not of_type(events, Waiting), "A lock of the killed program blocks.")
        sealed = position == book.n_tokens
        resumed = [event.position for event in of_type(events, Resumed)]
        self.expect(resumed == ([position] if position and not sealed else []), f"Resumed at {resumed}.")
        self.expect(all(event.exact for event in of_type(events, Restored)), "The probe is not bitwise what it was.")
        self.expect(bool(of_type(events, Restored)) == sealed, "Restored, or not, against what was saved.")
        ways = {sealed: "restored with their proof", bool(resumed): "resumed at their checkpoint"}
        self.counts[f"books {ways.get(True, 'read from the beginning')}"] += 1
        whole = self.shelf.unbroken
        if whole is None:
            self.shelf.unbroken = book.manifest
            return
        now = book.manifest
        self.expect(now.state == whole.state, "The state is not the one that an unbroken reading makes.")
        self.expect(now.probe == whole.probe, "The probe is not the one that an unbroken reading makes.")
        self.expect(now.boundaries == whole.boundaries, "The boundaries are not those that an unbroken reading makes.")
        self.expect(now.checkpoint is None, "A checkpoint is left in the manifest.")

    # -- the chats -------------------------------------------------------------------------------------------------

    def _chats(self, book: OpenBook) -> None:
        """Every message is in the record, the index of words agrees with it, and the last chat goes on."""
        path = locations(self.shelf.home).sessions_db
        with Sessions(path) as sessions:
            self.expect(not sessions.notice, sessions.notice)
            self.counts["turns closed that a kill had left open"] += sessions.recover()
            chats = sessions.list()
            self._recorded(path, {chat.id for chat in chats})
            try:
                self._goes_on(Conversation(book, sessions, chats[0] if chats else None))
            except CagchatError as error:
                self.expect(False, f"The next question is refused: {error.message}")
        for session in self.shelf.forgotten - self.shelf.erased:
            self._gone(path, session)
            self.shelf.erased.add(session)

    def _goes_on(self, conversation: Conversation) -> None:
        """A question more is answered without reading any of the book again."""
        question, shown = self.shelf.question(), []
        for event in conversation.ask(question, answering(settings_for(self.shelf.job))):
            if isinstance(event, Answer):
                shown.append(event.text)
            elif isinstance(event, Answered) and not event.proof.reading:
                evaluated = event.proof.book_evaluated
                self.expect(evaluated == 0, f"The next answer evaluated {evaluated:,} tokens of the book.")
        assert conversation.session is not None, "a question was asked"
        self.shelf.messages.append(Message(conversation.session.id, question, shown, settled=True))

    def _recorded(self, path: Path, there: set[str]) -> None:
        """Compare the record with what was shown, question by question."""
        with closing(sqlite3.connect(path)) as db:
            ((verdict,),) = db.execute("PRAGMA integrity_check").fetchall()
            self.expect(verdict == "ok", f"The chats are damaged: {verdict}")
            try:
                db.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
            except sqlite3.DatabaseError as error:
                self.expect(False, f"The index of words does not fit the chats: {error}")
            db.rollback()
            rows = db.execute("SELECT session_id, question, answer, status FROM turns ORDER BY row").fetchall()
        self.expect(all(status != "running" for *_, status in rows), "A turn of the killed program is still running.")
        answers: dict[tuple[str, str], list[str]] = {}
        for session, question, answer, _ in rows:
            answers.setdefault((session, question), []).append(answer)
        if self.deed == "forget":
            # Killed while it was deleted: it is there with all of its turns, or gone with all of them.
            self.shelf.forgotten |= {session for session in self.shelf.sessions if session not in there}
        for message in self.shelf.messages:
            if message.session in self.shelf.forgotten:
                self.expect((message.session, message.question) not in answers, "A deleted chat has turns.")
                continue
            found = answers.get((message.session, message.question))
            if not found:
                self.expect(False, f"The question {message.question!r}, which was shown, is not recorded.")
            elif lost := message.lost(found.pop(0)):
                self.expect(False, lost)
            else:
                self.counts["messages compared with the record"] += 1

    def _gone(self, path: Path, session: str) -> None:
        """Nothing of a deleted chat is left in the bytes of the file, or in its journal."""
        content = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
        for message in self.shelf.messages:
            if message.session == session:
                self.expect(message.question.encode() not in content, f"{message.question!r} was deleted and is there.")
        self.counts["chats deleted to the last byte"] += 1

    # -- files -----------------------------------------------------------------------------------------------------

    def _nothing_left(self) -> None:
        """There are the files that there are when nothing was killed, and no others."""
        names = {str(path.relative_to(self.shelf.home)) for path in self.shelf.home.rglob("*")}
        if not self.shelf.files:
            self.shelf.files = names
        left = {name for name in names if name.endswith(PASSING) or DELETING in name} | (names - self.shelf.files)
        self.expect(not left, f"Left over: {', '.join(sorted(left))}")


def survivors(home: Path) -> list[int]:
    """Return the processes that a victim of this home has started, where the platform lets one look."""
    mark = f"CAGCHAT_HOME={home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return [pid for pid in found if pid != os.getpid()]
