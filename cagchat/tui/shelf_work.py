"""What takes long in the library, beside its screen: looking through it, checking and deleting states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from textual.app import App
from textual.notifications import SeverityLevel
from textual.screen import Screen

from cagchat.errors import CagchatError, StateError
from cagchat.files import storage_error
from cagchat.forgetting import digest_of, forget_titles, is_left
from cagchat.locations import Locations
from cagchat.sessions.session import Session
from cagchat.states.standing import reader_of
from cagchat.states.store import StateFolder, States
from cagchat.tui.background import in_background
from cagchat.tui.shelf import LastChats
from cagchat.units import size

# Deletes a state, and calls the last once nothing refuses that any more; returns how many bytes were freed.
Delete = Callable[[States, StateFolder, Callable[[], object]], int]


@dataclass(frozen=True, slots=True)
class Report:
    """How something went; `changed` says that the library is another now."""

    title: str = ""
    text: str = ""
    bad: bool = False
    changed: bool = False


class ShelfWork:
    """Checks and deletes states, one thing at a time.

    The app hears how it went, which outlives the screen: the reader may have left it by then.
    """

    def __init__(
        self,
        screen: Screen[None],
        locations: Locations,
        *,
        chats: LastChats,
        check: Callable[[StateFolder], tuple[str, ...]],
        delete: Delete,
        forget: Callable[[str], object],
        ended: Callable[[bool], object],
    ) -> None:
        """`forget` is called with the digest of a book of which nothing is left.

        `ended` is called by the app when something has ended while the screen is there, with whether the library has
        changed; the others are called from other threads.
        """
        self.busy = ""  # what is being done
        self._screen = screen
        self._locations = locations
        self._chats = chats
        self._check = check
        self._delete = delete
        self._forget = forget
        self._ended = ended

    def beside(self, work: Callable[[], object]) -> None:
        """Run something else that may take long, at any time; only an error is told."""
        app = self._screen.app

        def quietly() -> Report:
            work()
            return Report()

        in_background(lambda: app.call_later(self._tell, app, self._outcome(quietly)))

    def verify(self, title: str, folder: StateFolder) -> None:
        """Check every byte of a state."""
        self._begin(f"Checking every byte of {title} …", lambda: self._verified(title, folder))

    def delete(self, title: str, folders: Sequence[StateFolder]) -> None:
        """Delete the first of these states, and behind it what was set aside of it; when it is refused, neither."""
        self._begin(f"Deleting {title} …", lambda: self._deleted(title, folders), to_its_end=True)

    def _begin(self, saying: str, work: Callable[[], Report], *, to_its_end: bool = False) -> None:
        self.busy = saying
        app = self._screen.app
        in_background(lambda: app.call_later(self._end, app, self._outcome(work)), to_its_end=to_its_end)

    def _verified(self, title: str, folder: StateFolder) -> Report:
        if reader_of(folder) is not None:
            raise StateError(f"{folder.name} is being read by another process.", "Verify it when that is done.")
        if problems := self._check(folder):
            text = "\n".join((*problems, "Open the book: the state is set aside and the book is read again."))
            return Report(f"{title} is damaged", text, bad=True)
        return Report(title, "Every byte of its state is as it was written.")

    def _deleted(self, title: str, folders: Sequence[StateFolder]) -> Report:
        states, digest = States(self._locations.states), digest_of(folders[0])
        chats: Sequence[Session] | None = None
        with suppress(CagchatError):  # with chats that cannot be read, nobody knows what they are about
            chats = self._chats()  # they are closed when the app is left meanwhile
        freed = sum(
            self._delete(states, folder, partial(forget_titles, self._locations, folders)) for folder in folders
        )
        if chats is not None and digest and not is_left(digest, states, chats):
            self._forget(digest)  # here, or an app that is left meanwhile would never do it
        return Report(title, f"Its state is deleted: {size(freed)} freed.", changed=True)

    def _outcome(self, work: Callable[[], Report]) -> Report:
        try:
            return work()
        except CagchatError as error:
            return Report("That failed", said(error), bad=True)
        except OSError as error:
            refused = storage_error(error, Path(error.filename or self._locations.data))
            return Report("That failed", said(refused), bad=True)

    def _end(self, app: App[object], report: Report) -> None:
        self.busy = ""
        self._tell(app, report)
        if self._screen.is_attached:
            self._ended(report.changed)

    def _tell(self, app: App[object], report: Report) -> None:
        if report.text:
            severity: SeverityLevel = "error" if report.bad else "information"
            app.notify(report.text, title=report.title, severity=severity, markup=False)


def said(error: CagchatError) -> str:
    """Return an error's sentence and what to do."""
    return f"{error.message}\n{error.hint}".rstrip()
