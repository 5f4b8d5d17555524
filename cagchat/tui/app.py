"""The app: which screen is on, what the palette offers, themes and keys of the reader's own."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import AwaitMount

from cagchat.conversation import AskOptions
from cagchat.documents.source import Source
from cagchat.errors import CagchatError
from cagchat.library import Options
from cagchat.recorded import Recorded
from cagchat.remembered import Remembered
from cagchat.tui.book_table import Filter
from cagchat.tui.book_text import BookText
from cagchat.tui.chat_list import ChatList
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.command_palette import Palette
from cagchat.tui.desk import Desk
from cagchat.tui.dialogs import AskText, Confirm
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.found import Look, look_around
from cagchat.tui.gauge import Gauge, Measured, OpenMeter
from cagchat.tui.hangup import on_hangup
from cagchat.tui.help_screen import HelpScreen, help_for
from cagchat.tui.keys import binding_ids, read_keys
from cagchat.tui.library_screen import BookChosen, LibraryScreen, ReadingWanted
from cagchat.tui.limit_dialogs import AskLimit, GoOn
from cagchat.tui.open_file import OpenFile
from cagchat.tui.palette import Offer, offers
from cagchat.tui.pick import Pick
from cagchat.tui.preparing_screen import PreparingScreen
from cagchat.tui.prompt import Prompt
from cagchat.tui.reader import ReaderPane
from cagchat.tui.rows import one_row
from cagchat.tui.status_bar import StatusBar

if TYPE_CHECKING:
    from cagchat.hardware.meter import Load
    from cagchat.opened import OpenBook
    from cagchat.sessions.session import Session
    from cagchat.tui.parts import Parts

THEME = "textual-dark"
KEYS_FILE = "keys.toml"
KEEP_TITLE, RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"  # of the terminal's window, on a stack of its own

WITH_KEYS = (
    ChatScreen,
    PreparingScreen,
    LibraryScreen,
    Prompt,
    ChatList,
    ReaderPane,
    BookText,
    Filter,
    OpenFile,
    Pick,
    AskText,
    Confirm,
    AskLimit,
    GoOn,
    HelpScreen,
)

ChooseSession = Callable[["OpenBook"], "Session | None"]


def new_chat(book: OpenBook) -> Session | None:
    """Choose no chat to go on with."""
    return None


def present_folder() -> Path:
    """Return the folder the program was started in, home when that has gone meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path.home()


class CagchatApp(App[None]):
    """Opens a book and chats about it, or shows the library when no book is named."""

    TITLE = "cagchat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True),
        Binding("f1", "help", "Help", id="app.help", priority=True, tooltip="Show help for what has the focus"),
        Binding("ctrl+o", "library", "Library", id="app.library", show=False, tooltip="Show the books, or go back"),
        Binding("escape", "back", "Back", id="app.back", show=False),
    ]

    def __init__(
        self,
        app: Parts,
        book: Path | Source | Recorded | None,
        *,
        options: Options | None = None,
        answering: AskOptions,
        story: Path,
        choose: ChooseSession = new_chat,
        found: Look = look_around,
        open_meter: OpenMeter | None = None,
        timer: Callable[[], float] = time.perf_counter,
        folder: Path | None = None,
    ) -> None:
        """Chat about `book` with these options; `choose` names the chat to go on with, None for a new one.

        `story` is the book that a newcomer is offered, `found` tells them what there is to read it
        with, `open_meter` opens what tells the use of memory and GPU to the status line; both run on threads of
        their own. Exports go to `folder`, where relative paths begin too.

        Raises `ConfigError` when the reader's keys cannot be used, and what opening the chats raises: nothing may be
        written to the terminal once the app runs.
        """
        super().__init__()
        self.parts = app
        self.book = book
        self.defect: Exception | None = None
        self.exit_code = 0
        self._story = story
        self._options = options or Options()
        self._choose = choose
        self._gauge = Gauge(open_meter, self) if open_meter is not None else None
        self._last_load: Load | None = None
        self._timer = timer
        self._found = found
        self._folder = folder or present_folder()
        self._remembered = Remembered.under(app.locations)
        ids = binding_ids(CagchatApp, *WITH_KEYS)
        self.set_keymap(read_keys(app.locations.config / KEYS_FILE, ids))
        self._sessions = app.sessions
        self._desk = Desk(app.library, self._sessions, answering, self._broke, timer=timer)

    def on_mount(self) -> None:
        """Take up the reader's theme and show the first screen."""
        theme = self._remembered.theme
        self.theme = theme if theme in self.available_themes else THEME
        self._write(KEEP_TITLE)
        if not self.is_headless:
            on_hangup(self._hang_up)
        if self._gauge is not None:
            self._gauge.start()
        if self.book is None:
            self._show_library()
        else:
            self.prepare(self.book)

    def watch_theme(self, theme: str) -> None:
        """Remember the theme."""
        if self.is_running and self.screen_stack:
            self._remembered.theme = theme

    def on_measured(self, message: Measured) -> None:
        """Show what the machine has to do."""
        self._last_load = message.load
        self._show_load()

    def _show_load(self) -> None:
        for screen in self.screen_stack:
            for bar in screen.query(StatusBar):
                bar.load = self._last_load

    # -- screens ---------------------------------------------------------------------------------------------------

    def prepare(self, book: Path | Source | Recorded) -> None:
        """Open a book in place of the one that is open."""
        self._desk.stop()
        self.book = book
        self._show(PreparingScreen(self._desk, book, self._options, self.name_terminal))

    def on_book_chosen(self, message: BookChosen) -> None:
        """Open the book that was chosen in the library, with a new chat."""
        message.stop()
        self._choose = new_chat
        self.prepare(message.book)

    def on_reading_wanted(self, message: ReadingWanted) -> None:
        """Read a book: opening one that is not ready does."""
        message.stop()
        self._choose = new_chat
        self.prepare(message.book)

    async def on_preparing_screen_book_ready(self, message: PreparingScreen.BookReady) -> None:
        """Chat about a book that is open now, unless another was chosen meanwhile; what lies over it stays there."""
        message.stop()
        if message.screen is not self.screen:
            if message.screen in self.screen_stack:
                self.notify(f"{one_row(message.book.manifest.book.title)} is ready.", markup=False)
            return
        error: CagchatError | None = None
        session: Session | None = None
        try:
            session = self._choose(message.book)
        except CagchatError as refused:
            error = refused
        chat = ChatScreen(
            message.book,
            self._desk,
            self._sessions,
            session,
            remembered=self._remembered,
            timer=self._timer,
            folder=self._folder,
        )
        await self._show(chat)
        if error is not None:
            await chat.transcript.add(ErrorCard(error))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Go back only from where there is something to go back to."""
        return isinstance(self.screen, LibraryScreen) and len(self.screen_stack) > 2 if action == "back" else True

    async def action_back(self) -> None:
        """Go back from the library to the book."""
        self.pop_screen()

    def action_library(self) -> None:
        """Show the library over the book that is open, or go back to this."""
        if not isinstance(self.screen, LibraryScreen):
            self._show_library()
        elif len(self.screen_stack) > 2:
            self.pop_screen()

    def _show_library(self) -> None:
        locations, settings, chats = self.parts.locations, self.parts.settings, self._sessions.list
        screen = LibraryScreen(
            locations,
            settings,
            self._story,
            chats=chats,
            look=self._found,
            forget=self._forget_place,
            folder=self._folder,
        )
        self.push_screen(screen)

    def _forget_place(self, digest: str) -> None:
        """Forget where the reader of a book was; not when chats were lost, of which one may be about it."""
        if not self._sessions.notice:
            self._remembered.forget(digest)

    def _show(self, screen: Screen[None]) -> AwaitMount:
        """Put a screen in place of those there are."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        shown = self.push_screen(screen)
        self.call_after_refresh(self._show_load)
        return shown

    # -- leaving ---------------------------------------------------------------------------------------------------

    async def action_quit(self) -> None:
        """Leave at once; the running job is stopped now, and keeps what it did while the screen is given back."""
        self._quit()

    def _quit(self) -> None:
        self._desk.stop()
        if self._gauge is not None:
            self._gauge.stop()
        self._write(RESTORE_TITLE)
        self.exit()

    def _hang_up(self, code: int) -> None:
        """Leave in the same way, with an exit code; what was noted is written first, as leaving may be cut short."""
        self.exit_code = code
        self._remembered.save()
        self._quit()

    def leave(self) -> None:
        """Stop what runs and give it a moment to be recorded; remember where the book was read."""
        if self._gauge is not None:
            self._gauge.stop()
        self._remembered.save()
        self._desk.leave()

    def farewell(self) -> str:
        """Return the line that says how to go on, "" when no book was opened."""
        if self.book is None:
            return ""
        session = self._desk.session
        chat = f" --session {session.id}" if session is not None else ""
        if isinstance(self.book, Path):
            again = shlex.quote(str(self.book))
        else:
            again = self.book.again(session.book_title if session is not None else self.book.label)
        return f"Go on with: cagchat open {again}{chat}"

    def _broke(self, error: Exception) -> None:
        """Take a defect of the desk's thread as one of the app: the outer border of the command line shows it."""
        self.call_from_thread(self._handle_exception, error)

    def _fatal_error(self) -> None:
        """Leave without drawing a traceback; `defect` is for the outer border."""
        self.defect = self._exception
        self._close_messages_no_wait()

    # -- the reader's help -----------------------------------------------------------------------------------------

    def action_help(self) -> None:
        """Show or hide the help for what has the focus."""
        screen = self.screen
        if isinstance(screen, HelpScreen):
            screen.dismiss()
            return
        keys = [
            (self.get_key_display(offer.binding), offer.binding.tooltip or offer.binding.description)
            for offer in offers(screen, self._keymap)
        ]
        self.push_screen(HelpScreen(help_for(screen.focused or screen), keys))

    def action_command_palette(self) -> None:
        """Show the palette."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer every action that the screen has now, with its key, and what Textual offers."""
        for offer in offers(screen, self._keymap):
            key = self.get_key_display(offer.binding)
            yield SystemCommand(offer.binding.description, offer.explained(key), self._doing(offer))
        for command in super().get_system_commands(screen):
            if command.title not in ("Quit", "Keys"):
                yield command

    def _doing(self, offer: Offer) -> Callable[[], object]:
        # A command runs in the app's own task. What it does is queued where the action is done, so that it begins
        # after what is being done there and not in the middle of it.
        def do() -> None:
            offer.node.call_later(self.run_action, offer.binding.action, offer.node)

        return do

    def name_terminal(self, title: str) -> None:
        """Show a title on the terminal's window, the program's name when it is empty."""
        shown = "".join(letter for letter in title if letter.isprintable())
        self._write(f"\x1b]2;{shown or self.TITLE}\x07")

    def _write(self, sequence: str) -> None:
        """Send a sequence to the terminal, where there is one."""
        # Textual has no call for it; its driver is the only one that may write to the terminal.
        if self._driver is not None and not self.is_headless and not self.is_web:
            self._driver.write(sequence)
