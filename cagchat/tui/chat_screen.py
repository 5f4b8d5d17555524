"""The chat about an open book: what was said, the prompt, the chats beside it, and what the engine does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen

from cagchat.errors import CagchatError
from cagchat.limits.limit import Limit
from cagchat.limits.until import limit_at
from cagchat.opened import OpenBook
from cagchat.remembered import MAX_DRAFT, Remembered
from cagchat.sessions.session import Session
from cagchat.sessions.store import Sessions
from cagchat.tui.answering import Generation
from cagchat.tui.background import beside
from cagchat.tui.book_beside import BookBeside
from cagchat.tui.chat_changes import ChatChanges
from cagchat.tui.chat_file import Suffix, write_chat
from cagchat.tui.chat_list import ChatList
from cagchat.tui.chat_search import find_chats
from cagchat.tui.checked_transcript import CheckedTranscript
from cagchat.tui.desk import Desk
from cagchat.tui.editor import edited
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.jobs import Ask, Edit, Regenerate
from cagchat.tui.key_line import KeyLine
from cagchat.tui.limit_dialogs import limit_named, whole
from cagchat.tui.limit_moves import LimitMoves
from cagchat.tui.messages import Ended, Happened
from cagchat.tui.prompt import Prompt
from cagchat.tui.quote_line import QuoteLine, followed
from cagchat.tui.reader import ReaderPane
from cagchat.tui.ready_made import WORDINGS, Kind, dialog
from cagchat.tui.recall import Recall
from cagchat.tui.shown import Shown
from cagchat.tui.slash import obey
from cagchat.tui.status_bar import Figures, StatusBar
from cagchat.tui.title_bar import TitleBar
from cagchat.tui.turn_view import TurnView

FLUSH_EVERY_S = 0.1


class ChatScreen(Screen[None]):
    """Shows one chat at a time; the desk answers."""

    HELP = """\
## A chat about the book

**Enter** asks, **Esc** stops an answer and keeps it. The palette (**ctrl+p**) has everything that can be done here.

A chat can know the book only **up to** a place, so that no answer tells what comes after it: **ctrl+l** sets the place,
and the border of the prompt shows it.
"""
    CSS_PATH = "chat_screen.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - Textual declares it so
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="chat.stop"),
        Binding("ctrl+r", "again", "Again", id="chat.again", tooltip="Answer the last question anew"),
        Binding("f2", "edit_question", "Edit", id="chat.edit", tooltip="Ask another question in place of one"),
        Binding("f3", "copy_answer", "Copy", id="chat.copy", tooltip="Copy the answer as the model wrote it"),
        Binding("ctrl+n", "new_chat", "New chat", id="chat.new", tooltip="Begin another chat about this book"),
        Binding("ctrl+t", "chats", "Chats", id="chat.list", tooltip="Show or hide the chats about this book"),
        Binding("ctrl+b", "book", "Book", id="chat.book", tooltip="Show or hide the book beside the chat"),
        Binding("f10", "quote", "Quotes", id="chat.quote", show=False, tooltip="Show the next quote in the book"),
        Binding("ctrl+g", "to_end", "End", id="chat.end", tooltip="Go back to the last answer and follow it"),
        Binding("f4", "export('md')", "Export", id="chat.export", show=False, tooltip="Write the chat as Markdown"),
        Binding("f5", "export('json')", "Export JSON", id="chat.export_json", show=False, tooltip="The same as data"),
        Binding("f9", "rename", "Rename chat", id="chat.rename", show=False, tooltip="Give it another title"),
        Binding("f8", "delete", "Delete chat", id="chat.delete", show=False, tooltip="Overwrite it on the disk"),
        Binding("alt+s", "ready_made('summary')", "Summary of a chapter …", id="chat.summary", show=False),
        Binding("alt+w", "ready_made('who')", "Who is …?", id="chat.who", show=False),
        Binding("alt+h", "ready_made('since')", "What happened since …?", id="chat.since", show=False),
        Binding("ctrl+l", "limit", "The book only up to …", id="chat.limit", show=False, tooltip="Know no more of it"),
        Binding("alt+l", "whole_book", "The whole book", id="chat.whole_book", show=False, tooltip="Know all of it"),
        Binding("pageup", "page_up", "Scroll up", id="chat.page_up", show=False),
        Binding("pagedown", "page_down", "Scroll down", id="chat.page_down", show=False),
    ]

    def __init__(
        self,
        book: OpenBook,
        desk: Desk,
        sessions: Sessions,
        session: Session | None,
        *,
        remembered: Remembered,
        timer: Callable[[], float] = time.perf_counter,
        folder: Path,
        edit: Callable[[str], str] = edited,
    ) -> None:
        """Chat about `book`, going on with `session`; `remembered` knows where the book is read.

        Exports go to `folder`. `edit` lets the reader write in another program, and may raise `CagchatError`.
        """
        super().__init__()
        self.book = book
        self.session = session
        self.editing: int | None = None
        self._draft = ""  # what was being written before a question was edited
        self._desk = desk
        self._sessions = sessions
        self._folder = folder
        self._edit = edit
        self._generation = Generation(self, desk, timer)
        self._limits = LimitMoves(self, desk)
        self._changes = ChatChanges(self, sessions)
        self.recall = Recall(self, sessions)
        self._beside = BookBeside(self, remembered)
        manifest = book.manifest
        self._figures = Figures(
            state="● ready", book=book.n_tokens, context=book.settings.n_context, model=manifest.model_name
        )

    def compose(self) -> ComposeResult:
        """Lay out chats, transcript, prompt and status."""
        manifest = self.book.manifest
        title = " · ".join(filter(None, (manifest.book.title, manifest.book.author)))
        yield TitleBar(title, f"{manifest.model_name} · KV {self.book.settings.kv_type}")
        with Horizontal(id="body"):
            yield ChatList(partial(find_chats, self._sessions, manifest.book.digest))
            with Vertical(id="middle"):
                yield CheckedTranscript(
                    self.book,
                    f"{manifest.book.title}: {self.book.n_tokens:,} tokens are in the model's context. "
                    "Ask anything about it.",
                )
        yield Prompt()
        yield StatusBar()
        yield KeyLine()

    async def on_mount(self) -> None:
        """Show the chat that is continued and wait for a question."""
        self.prompt.focus()
        place = self._beside.place
        for text in place.aside:
            self.prompt.put_aside(text)
        if place.draft:
            self.prompt.write(place.draft)
        self.set_interval(FLUSH_EVERY_S, self._desk.flush)
        self._limits.load(self.session, self.book.limit)
        await self.recall.show()

    def on_resize(self) -> None:
        """Take the keys back from what has no room any more, when the new size is laid out."""
        self.call_after_refresh(self._keep_focus_in_sight)

    def _keep_focus_in_sight(self) -> None:
        focused = self.focused
        if focused is not None and not all(
            node.display for node in focused.ancestors_with_self if node is not self.app
        ):
            self.prompt.focus()

    # -- what there is ---------------------------------------------------------------------------------------------

    @property
    def prompt(self) -> Prompt:
        """Where questions are written."""
        return self.query_one(Prompt)

    @property
    def transcript(self) -> CheckedTranscript:
        """What was said."""
        return self.query_one(CheckedTranscript)

    @property
    def chats(self) -> ChatList:
        """The chats about this book."""
        return self.query_one(ChatList)

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return self._generation.running

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out what cannot be done now."""
        if action in ("again", "edit_question", "copy_answer"):
            return True if self.is_mounted and self.transcript.turns else None
        if action == "whole_book":
            return self._limits.limit is not None
        return True

    def on_chat_list_refused(self, message: ChatList.Refused) -> None:
        """Say why the chats could not be looked through."""
        self.refuse(message.error)

    def _chosen_view(self) -> Shown | None:
        """Return the turn that has the focus, else the last one."""
        focused = self.focused
        if isinstance(focused, TurnView):
            return focused.shown
        turns = self.transcript.turns
        return turns[-1] if turns else None

    # -- asking ----------------------------------------------------------------------------------------------------

    async def on_prompt_sent(self) -> None:
        """Take what was written, as soon as the chat is there that it is for."""
        text = self.prompt.taken()
        if not self.recall.holds(text):
            await self.send(text)

    async def send(self, text: str) -> None:
        """Ask what was written, in place of an earlier question when one is being edited; obey what begins with /."""
        used = False
        try:
            used = await (obey(self, text) if text.lstrip().startswith("/") else self.ask(text, self.editing, text))
        except CagchatError as error:
            self.refuse(error)
        if not used:
            self.prompt.give_back(text)

    def still_answering(self) -> None:
        """Say why nothing is asked now."""
        self.notify("Still answering; Esc stops it.", markup=False)

    async def ask(self, question: str, number: int | None, text: str) -> bool:
        """Ask what `text` was sent for, in place of question `number` if given; False while one is being answered."""
        if self.busy:
            self.still_answering()
            return False
        question = question.strip()
        self.prompt.asked(text)
        if self.prompt.text:  # the next question is being written
            self.prompt.put_aside(self._draft)
            self._draft = ""
        self._edit_none()
        if self.has_class("-narrow") and self.has_class("-book"):  # where the answer would come, the book is
            await self.action_book()
        await self._generation.begin(Ask(question) if number is None else Edit(number, question), question, number)
        return True

    async def action_ready_made(self, kind: Kind) -> None:
        """Fill the prompt with a question that every reader asks, after asking for the word that it needs."""
        if (document := await self._beside.document()) is None:
            return
        try:
            pick = dialog(kind, document, here=self._beside.place.position, until=self._limits.until)
        except CagchatError as error:
            self.refuse(error)
        else:
            self.app.push_screen(pick, partial(self._fill, kind))

    def _fill(self, kind: Kind, word: str | None) -> None:
        if word is not None:
            self.prompt.fill(WORDINGS[kind](word))
            self.prompt.focus()

    def refuse(self, error: CagchatError) -> None:
        """Say why something is not done."""
        self.notify(error.hint, title=error.message, severity="error", markup=False)

    async def action_again(self) -> None:
        """Answer the last question anew."""
        if self.transcript.turns:
            await self._again(self.transcript.turns[-1])

    async def _again(self, turn: Shown) -> None:
        if self.busy:
            self.still_answering()
        else:
            await self._generation.begin(Regenerate(turn.number), turn.question, turn.number)

    async def on_turn_view_wanted(self, message: TurnView.Wanted) -> None:
        """Do what was clicked below an answer."""
        message.stop()
        match message.what:
            case "again":
                await self._again(message.shown)
            case "edit":
                self.edit_question(message.shown)
            case "copy":
                self._copy(message.shown)

    async def on_happened(self, message: Happened) -> None:
        """Show an event of the answer, or what a limit costs."""
        self._limits.happened(message)
        await self._generation.happened(message)

    async def on_ended(self, message: Ended) -> None:
        """Be ready for another answer, or show how far the chat knows the book now."""
        await self._limits.ended(message)
        await self._generation.ended(message)

    def action_stop(self) -> None:
        """Stop the answer and keep it. Where nothing runs, leave what lies over the chat; never clear, never quit."""
        if self.busy:
            self._generation.stop()
            return
        self._edit_none()
        self.remove_class("-chats")
        self.prompt.focus()

    # -- earlier questions and answers -----------------------------------------------------------------------------

    def action_edit_question(self) -> None:
        """Take a question back into the prompt: the last one, and one before it each time."""
        turns = self.transcript.turns
        if self.busy or not turns:
            return
        focused = self.focused
        if isinstance(focused, TurnView):
            chosen = focused.shown
        else:
            before = [turn for turn in turns if self.editing is None or turn.number < self.editing]
            chosen = before[-1] if before else turns[-1]
        self.edit_question(chosen)

    def edit_question(self, chosen: Shown) -> None:
        """Take a question back into the prompt."""
        if self.editing is None:
            self._draft = self.prompt.unsent
        self.editing = chosen.number
        self.prompt.border_title = f"instead of question {chosen.number} (Esc: a new one)"
        self.prompt.fill(chosen.question)
        self.prompt.focus()

    def _edit_none(self) -> None:
        """Edit no question any more, and go on with what was being written before."""
        self.editing, draft, self._draft = None, self._draft, ""
        self.prompt.border_title = None
        if draft.strip():
            self.prompt.fill(draft)

    def action_copy_answer(self) -> None:
        """Copy the answer that has the focus, or the last one, as the model wrote it."""
        shown = self._chosen_view()
        if shown is not None:
            self._copy(shown)

    def _copy(self, shown: Shown) -> None:
        answer = shown.answer or self._generation.text_of(shown.number)
        if not answer:
            self.notify("There is nothing of this answer to copy yet.", markup=False)
            return
        self.app.copy_to_clipboard(answer)
        self.notify(f"Copied answer {shown.number}: {len(answer):,} characters.", markup=False)

    def action_copy_text(self) -> None:
        """Copy what was selected with the mouse, and say so."""
        super().action_copy_text()
        self.notify(f"Copied {len(self.app.clipboard):,} characters.", markup=False)

    async def on_prompt_editor_wanted(self) -> None:
        """Hand the terminal to the reader's editor and take the question back."""
        try:
            with self.app.suspend():
                text = self._edit(self.prompt.text)
        except SuspendNotSupported:
            self.notify("This terminal cannot be lent to an editor.", severity="warning", markup=False)
        except CagchatError as error:
            await self.transcript.add(ErrorCard(error))
        else:
            self.prompt.write(text)
        self.refresh()

    def action_to_end(self) -> None:
        """Go to the end of the chat and follow it."""
        self.run_worker(self.transcript.to_end(), group="scroll", exclusive=True)

    def action_page_up(self) -> None:
        """Scroll the transcript up."""
        self.transcript.up()

    def action_page_down(self) -> None:
        """Scroll the transcript down."""
        self.transcript.down()

    # -- chats -----------------------------------------------------------------------------------------------------

    async def go_to(self, session: Session | None, limit: Limit | None = None) -> None:
        """Leave the chat, stopping and keeping its answer, for another or (None) a new one, up to a limit if given."""
        self._generation.leave()
        self.session = session
        self._limits.load(session, limit)
        self._edit_none()
        self.draw(state="● ready")
        await self.recall.show()
        self.remove_class("-chats")
        self.prompt.focus()

    async def action_new_chat(self) -> None:
        """Begin a new chat about the same book."""
        await self.go_to(None)

    async def on_chat_list_chosen(self, message: ChatList.Chosen) -> None:
        """Continue the chat that was chosen."""
        await self.go_to(message.session)

    def action_chats(self) -> None:
        """Show or hide the chats; where there is no room beside, they lie over the transcript."""
        if self.has_class("-narrow"):
            shown = not self.has_class("-chats")
            self.set_class(shown, "-chats")
        else:
            shown = self.has_class("-no-chats")
            self.set_class(not shown, "-no-chats")
        if shown:
            self.chats.query_one("OptionList").focus()
        else:
            self.prompt.focus()

    def action_rename(self) -> None:
        """Give the open chat another title."""
        self._changes.rename_open()

    def on_chat_list_rename_wanted(self, message: ChatList.RenameWanted) -> None:
        """Give a chat of the list another title."""
        self._changes.rename(message.session)

    def action_delete(self) -> None:
        """Delete the open chat."""
        self._changes.delete_open()

    def on_chat_list_delete_wanted(self, message: ChatList.DeleteWanted) -> None:
        """Delete a chat of the list."""
        self._changes.delete(message.session)

    # -- the book, files and figures -------------------------------------------------------------------------------

    async def action_book(self) -> None:
        """Show or hide the book beside the chat, or in its place where there is no room beside."""
        await self._beside.show_or_hide(self._limits.until)

    async def action_quote(self) -> None:
        """Show the next quote of the last answer where it stands in the book."""
        if (check := self.transcript.next_quote()) is None:
            self.notify("The last answer has no quote that stands in the book.", markup=False)
        else:
            await self.on_quote_line_followed(followed(check))

    async def on_quote_line_followed(self, message: QuoteLine.Followed) -> None:
        """Open the book at a quote, with the passage lit."""
        await self._beside.show_passage(message.start, message.length, self._limits.until)

    async def on_reader_pane_up_to_here(self, message: ReaderPane.UpToHere) -> None:
        """Let the chat know the book as far as it was read."""
        if (document := await self._beside.document()) is not None:
            self._limits.to(limit_at(document, message.offset))

    async def action_limit(self) -> None:
        """Ask up to which place the chat is to know the book."""
        if (document := await self._beside.document()) is not None:
            place = self._beside.place
            self._limits.choose(document, place.position, place.named)

    async def limit_to(self, words: str) -> None:
        """Let the chat know the book up to a place that is named. Raises `UsageError`."""
        if (document := await self._beside.document()) is not None:
            self._limits.to(limit_named(document, words, self._beside.place.named))

    async def action_whole_book(self) -> None:
        """Let the chat know all of the book."""
        if (document := await self._beside.document()) is not None:
            self._limits.to(whole(document))

    def on_reader_pane_position_changed(self, message: ReaderPane.PositionChanged) -> None:
        """Note the place; it is written when the pane is closed."""
        self._beside.note(position=message.offset)

    def on_reader_pane_bookmarks_changed(self, message: ReaderPane.BookmarksChanged) -> None:
        """Remember the bookmarks."""
        self._beside.note(bookmarks=message.bookmarks)
        self._beside.save()

    def on_text_area_changed(self) -> None:
        """Note what is being written: who leaves finds it in the prompt the next time."""
        self._beside.note(draft=(self._draft or self.prompt.unsent)[:MAX_DRAFT], aside=self.prompt.aside)

    def action_export(self, suffix: Suffix) -> None:
        """Write the chat as Markdown or as JSON."""
        if self.session is None:
            self.notify("There is nothing to export yet.", markup=False)
            return
        beside(self, partial(write_chat, self._sessions, self.session.id, self._folder, suffix), self._exported)

    async def _exported(self, path: Path | None, error: CagchatError | None) -> None:
        if error is not None:
            await self.transcript.add(ErrorCard(error))
        else:
            self.notify(f"Written to {path}.", markup=False)

    def on_unmount(self) -> None:
        """Keep the questions that were sent and not asked yet: the record has nothing of them."""
        self._beside.leave([*self._generation.unasked(), *self.recall.early])

    def draw(self, **changes: Any) -> None:
        """Change figures of the status line."""
        self._figures = replace(self._figures, **changes)
        self.query_one(StatusBar).figures = self._figures
