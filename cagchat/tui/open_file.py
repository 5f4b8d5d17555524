"""Choosing a book's file or folder: its path is typed and completed, or chosen from a list."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static

from cagchat.sessions.naming import one_line
from cagchat.tui.background import in_background

MAX_ENTRIES = 500  # of a folder, as many as anybody looks through


def expanded(text: str, folder: Path) -> Path:
    """Return the path that was typed, a relative one below `folder`."""
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:  # "~nobody": then it is a name
        return folder / text


def completions(text: str, folder: Path) -> list[str]:
    """Return the ways a typed path can go on, folders (with a slash) first; hidden names only when asked for."""
    head, slash, tail = text.rpartition("/")
    try:
        with os.scandir(expanded(head + slash, folder)) as found:
            names = [(not entry.is_dir(), entry.name) for entry in found if starts(entry.name, tail)]
    except (OSError, ValueError):
        return []
    return [f"{head}{slash}{name}{'' if is_file else '/'}" for is_file, name in sorted(names)[:MAX_ENTRIES]]


def starts(name: str, typed: str) -> bool:
    """Tell whether a name goes on from what was typed, whatever the case."""
    return name.lower().startswith(typed.lower()) and (typed.startswith(".") or not name.startswith("."))


class OpenFile(ModalScreen[Path | None]):
    """Asks for a book's file: type its path, Tab completes; or choose below. None when it was left."""

    HELP = """\
## Open a book

Type a path; **Tab** takes the first name below, **Down** goes into the list. **Enter** opens a file or looks into a
folder, **ctrl+o** opens the folder that is written, all its files as one book. **Esc** goes back.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="open.back"),
        Binding("tab", "complete", "Complete", id="open.complete", priority=True),
        Binding("down", "enter_list", "List", id="open.list", show=False),
        Binding("ctrl+o", "take_folder", "Folder as one book", id="open.folder"),
    ]

    DEFAULT_CSS = """
    OpenFile {
        align: center middle;
        & > Vertical {
            width: 80; max-width: 96%; height: 80%; padding: 0 1; border: round $accent; background: $surface;
        }
        Input { height: 1; background: $panel; &.-textual-compact { padding: 0 1; } }
        OptionList:focus { border: none; }
        OptionList { height: 1fr; border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
        #open-note { height: auto; }
        Horizontal { height: 1; }
        Button { margin-right: 2; }
    }
    """

    class Listed(Message):
        """A folder was read."""

        def __init__(self, text: str, names: Sequence[str]) -> None:
            super().__init__()
            self.text = text
            self.names = names

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._names: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay out the path, the list, and what is wrong."""
        with Vertical() as box:
            box.border_title = "Open a book"
            yield Input(placeholder="an EPUB, PDF, DOCX, HTML, Markdown or text file, or a folder", compact=True)
            yield OptionList(markup=False)
            yield Static(one_line(str(self._folder)), id="open-note", markup=False)
            with Horizontal():
                yield Button("Open", id="take", variant="primary", compact=True)
                yield Button("Open folder", id="take-folder", compact=True)
                yield Button("Cancel", id="leave", compact=True)

    def on_mount(self) -> None:
        """Show the present folder."""
        self._list("")

    def _list(self, text: str) -> None:
        folder = self._folder
        in_background(lambda: self.post_message(self.Listed(text, completions(text, folder))))

    def on_open_file_listed(self, event: Listed) -> None:
        """Show how the path can go on, unless it has changed since."""
        event.stop()
        if event.text == self.query_one(Input).value:
            self._names = list(event.names)
            listed = self.query_one(OptionList)
            listed.clear_options()
            listed.add_options([Content(one_line(name)) for name in self._names])

    def on_input_changed(self, event: Input.Changed) -> None:
        """List while it is typed."""
        event.stop()
        self._list(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the path."""
        event.stop()
        self._choose(event.value)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the path that is written, or none."""
        event.stop()
        match event.button.id:
            case "take":
                self._choose(self.query_one(Input).value)
            case "take-folder":
                self.action_take_folder()
            case _:
                self.dismiss(None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the name that was chosen."""
        event.stop()
        self._choose(self._names[event.option_index])

    def _choose(self, text: str) -> None:
        path = expanded(text, self._folder)
        if path.is_dir():
            self._write(text if not text or text.endswith("/") else f"{text}/")
        elif path.is_file():
            self.dismiss(path)
        else:
            self.query_one("#open-note", Static).update(f"There is no file at {one_line(str(path))}.")

    def action_take_folder(self) -> None:
        """Take the folder that is written, all its files as one book."""
        path = expanded(self.query_one(Input).value, self._folder)
        if path.is_dir():
            self.dismiss(path)
        else:
            self.query_one("#open-note", Static).update(f"There is no folder at {one_line(str(path))}.")

    def _write(self, text: str) -> None:
        line = self.query_one(Input)
        line.value = text
        line.cursor_position = len(text)
        line.focus()

    def action_complete(self) -> None:
        """Take the first name, or the one under the bar."""
        if self._names:
            self._write(self._names[self.query_one(OptionList).highlighted or 0])

    def action_enter_list(self) -> None:
        """Go from the path into the list."""
        listed = self.query_one(OptionList)
        if self._names:
            listed.focus()
            listed.highlighted = listed.highlighted or 0
