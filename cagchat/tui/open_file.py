"""Choosing a book's file or folder: its path is typed and completed, or chosen from a list."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, OptionList

from cagchat.sessions.naming import one_line
from cagchat.tui.background import in_background
from cagchat.tui.chosen import still_listed
from cagchat.tui.type_or_choose import TypeOrChoose

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


def is_folder(path: Path) -> bool:
    """Tell whether a folder is there to be seen; a name that the system refuses is none."""
    try:
        return path.is_dir()
    except OSError:  # too long, or below a folder that may not be entered
        return False


def is_file(path: Path) -> bool:
    """Tell whether a file is there to be seen."""
    try:
        return path.is_file()
    except OSError:
        return False


class OpenFile(TypeOrChoose[Path | None]):
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

    TITLE_OF_BOX = "Open a book"
    PLACEHOLDER = "an EPUB, PDF, DOCX, HTML, Markdown or text file, or a folder"

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
        self._names_of: str | None = None  # the text that they complete
        self._completing: str | None = None  # the text for which Tab was pressed before there were names

    def buttons(self) -> Iterator[Button]:
        """Yield the ways out."""
        yield Button("Open", id="take", variant="primary", compact=True)
        yield Button("Open folder", id="take-folder", compact=True)
        yield Button("Cancel", id="leave", compact=True)

    def on_mount(self) -> None:
        """Show the present folder."""
        self.say(one_line(str(self._folder)))
        self.list_fitting("")

    def list_fitting(self, typed: str) -> None:
        """Look, beside the app, for how the path can go on."""
        folder = self._folder
        if self._completing != typed:
            self._completing = None
        in_background(lambda: self.post_message(self.Listed(typed, completions(typed, folder))))

    def on_open_file_listed(self, event: Listed) -> None:
        """Show how the path can go on, unless it has changed since."""
        event.stop()
        if event.text == self.typed:
            self._names, self._names_of = list(event.names), event.text
            self.show_rows([Content(one_line(name)) for name in self._names])
            if self._completing == event.text:
                self.action_complete()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the path that is written, or none."""
        event.stop()
        match event.button.id:
            case "take":
                self.take(self.typed)
            case "take-folder":
                self.action_take_folder()
            case _:
                self.dismiss(None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the name that was chosen, unless another list came in its place meanwhile."""
        event.stop()
        if still_listed(event):
            self.take(self._names[event.option_index])

    def take(self, typed: str) -> None:
        """Open the file, or look into the folder."""
        path = expanded(typed, self._folder)
        if is_folder(path):
            self._write(typed if not typed or typed.endswith("/") else f"{typed}/")
        elif is_file(path):
            self.dismiss(path)
        else:
            self.say(f"There is no file at {one_line(str(path))}.")

    def action_take_folder(self) -> None:
        """Take the folder that is written, all its files as one book."""
        path = expanded(self.typed, self._folder)
        if is_folder(path):
            self.dismiss(path)
        else:
            self.say(f"There is no folder at {one_line(str(path))}.")

    def _write(self, text: str) -> None:
        line = self.query_one(Input)
        line.value = text
        line.cursor_position = len(text)
        line.focus()

    def action_complete(self) -> None:
        """Take the first name, or the one under the bar; as soon as there are names for what is typed."""
        self._completing = self.typed if self._names_of != self.typed else None
        if self._completing is None and self._names:
            self._write(self._names[self.listed.highlighted or 0])
