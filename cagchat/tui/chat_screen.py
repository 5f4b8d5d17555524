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

from cagchat.documents.document import Document
from cagchat.errors import CagchatError, Stopped
from cagchat.events import Answer, Answered, AskEvent, Limited, Reading, Thinking
from cagchat.limits.limit import Limit
from cagchat.limits.until import limit_at
from cagchat.opened import OpenBook
from cagchat.proof import recorded
from cagchat.remembered import MAX_DRAFT, Remembered
from cagchat.sessions.session import Session, Turn
from cagchat.sessions.store import Sessions
from cagchat.tui.chat_changes import ChatChanges
from cagchat.tui.chat_file import Suffix, write_chat
from cagchat.tui.chat_list import ChatList
from cagchat.tui.chat_search import find_chats
from cagchat.tui.checked_transcript import CheckedTranscript
from cagchat.tui.desk import Desk
from cagchat.tui.editor import edited
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.event_notes import note_on
from cagchat.tui.jobs import Answering, Ask, Edit, Regenerate
from cagchat.tui.key_line import KeyLine
from cagchat.tui.limit_dialogs import whole
from cagchat.tui.limit_moves import LimitMoves
from cagchat.tui.messages import Ended, Happened
from cagchat.tui.prompt import Prompt
from cagchat.tui.quote_line import QuoteLine, followed
from cagchat.tui.reader import ReaderPane
from cagchat.tui.ready_made import WORDINGS, Kind, bare_command, dialog, worded
from cagchat.tui.shown import Shown, brief, clean, of_answer, of_turn
from cagchat.tui.speed import Speed
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
        self._desk = desk
        self._sessions = sessions
        self._remembered = remembered
        self._digest = book.manifest.book.digest
        self._timer = timer
        self._folder = folder
        self._edit = edit
        self._job: Answering | None = None
        self._live: TurnView | None = None
        self._limited: Limited | None = None
        self._limits = LimitMoves(self, desk)
        self._changes = ChatChanges(self, sessions)
        self._question = ""
        self._stopping = False
        self._speed = Speed(timer)
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
            yield ChatList(partial(find_chats, self._sessions, self._digest))
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
        if draft := self._remembered.place(self._digest).draft:
            self.prompt.write(draft)
        self.set_interval(FLUSH_EVERY_S, self._desk.flush)
        self._limits.load(self.session, self.book.limit)
        await self._show_session()

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
        return self._job is not None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out what cannot be done now."""
        if action in ("again", "edit_question", "copy_answer"):
            return True if self.is_mounted and self.transcript.turns else None
        if action == "whole_book":
            return self._limits.limit is not None
        return True

    def on_chat_list_refused(self, message: ChatList.Refused) -> None:
        """Say why the chats could not be looked through."""
        self._refuse(message.error)

    def _chosen_view(self) -> Shown | None:
        """Return the turn that has the focus, else the last one."""
        focused = self.focused
        if isinstance(focused, TurnView):
            return focused.shown
        turns = self.transcript.turns
        return turns[-1] if turns else None

    # -- asking ----------------------------------------------------------------------------------------------------

    async def on_prompt_sent(self, message: Prompt.Sent) -> None:
        """Ask what was written, in place of an earlier question when one is being edited."""
        if self.busy:
            self.notify("Still answering; Esc stops it.", markup=False)
            return
        if (kind := bare_command(message.text)) is not None:
            self.prompt.clear()
            await self.action_ready_made(kind)
            return
        try:
            question, number = worded(self.book, message.text.strip()), self.editing
        except CagchatError as error:
            self._refuse(error)
            return
        self.prompt.sent()
        self._edit_none()
        await self._ask(Ask(question) if number is None else Edit(number, question), question, number)

    async def action_ready_made(self, kind: Kind) -> None:
        """Fill the prompt with a question that every reader asks, after asking for the word that it needs."""
        if (document := await self.document()) is None:
            return
        here = self._remembered.place(self._digest).position
        try:
            pick = dialog(kind, document, here=here, until=self._limits.until)
        except CagchatError as error:
            self._refuse(error)
        else:
            self.app.push_screen(pick, partial(self._fill, kind))

    def _fill(self, kind: Kind, word: str | None) -> None:
        if word is not None:
            self.prompt.fill(WORDINGS[kind](word))
            self.prompt.focus()

    def _refuse(self, error: CagchatError) -> None:
        self.notify(error.hint, title=error.message, severity="error", markup=False)

    async def action_again(self) -> None:
        """Answer the last question anew."""
        if self.transcript.turns:
            await self._again(self.transcript.turns[-1])

    async def _again(self, turn: Shown) -> None:
        if self.busy:
            self.notify("Still answering; Esc stops it.", markup=False)
        else:
            await self._ask(Regenerate(turn.number), turn.question, turn.number)

    async def on_turn_view_wanted(self, message: TurnView.Wanted) -> None:
        """Do what was clicked below an answer."""
        message.stop()
        match message.what:
            case "again":
                await self._again(message.shown)
            case "edit":
                self._edit_question(message.shown)
            case "copy":
                self._copy(message.shown)

    async def _ask(self, job: Answering, question: str, number: int | None) -> None:
        self._job, self._question, self._stopping = job, question, False
        self._speed = Speed(self._timer)
        self._draw(state="◐ thinking", speed=0.0)
        if number is not None:
            await self.transcript.cut(number)
            if self._job is not job:  # the chat was left meanwhile
                return
        turns = self.transcript.turns
        live = await self.transcript.begin(Shown(number or (turns[-1].number + 1 if turns else 1), clean(question)))
        if self._job is job:  # unless the chat was left meanwhile
            self._live = live
            self._desk.submit(job, self, self.book)  # not before there is something to show its events in
            if self._stopping:
                self._desk.stop()
            self.refresh_bindings()

    async def on_happened(self, message: Happened) -> None:
        """Show an event of the running answer; what still comes of one that was left is not shown."""
        self._limits.happened(message)
        if message.job is self._job and self._live is not None:
            await self._show_event(message.event, message.n_tokens, self._live, message.job)  # type: ignore[arg-type]  # an answer's

    async def _show_event(self, event: AskEvent, n_tokens: int, live: TurnView, job: Answering) -> None:
        if note := note_on(event):
            await live.note(note)
            if self._job is not job:  # the chat was left meanwhile
                return
        match event:
            case Limited():
                self._limited = event
            case Reading():
                self._draw_reading(event)
            case Thinking(text):
                self._count(n_tokens, "◐ thinking")
                await live.add_thinking(text, n_tokens)
            case Answer(text):
                self._count(n_tokens, "◑ answering")
                live.add_answer(text)
            case Answered():
                shown = of_answer(self._question, event)
                self.transcript.settle(shown)
                await live.finish(shown)
                if self._job is job:
                    proof = event.proof
                    self._draw(proof=brief(proof), speed=proof.tokens_per_s, chat=proof.chat_tokens)

    async def on_ended(self, message: Ended) -> None:
        """Be ready again; an error becomes a card and the chat goes on."""
        if message.job is not self._job:
            await self._limits.ended(message)
            return
        self.session = message.session
        if message.error is not None:
            await self._failed(message.error, message.job)
        if message.job is self._job:  # unless the chat was left meanwhile
            self._job = self._live = None
            self._draw(state="● ready")
            self.chats.refill(self.session.id if self.session else None)
            self.refresh_bindings()

    async def _failed(self, error: CagchatError, job: Answering) -> None:
        turns, _ = self._recorded_turns()
        card = None if isinstance(error, Stopped) else ErrorCard(error)
        if self._live is not None and turns and turns[-1].number == self._live.shown.number:
            shown = of_turn(turns[-1])
            self.transcript.settle(shown)
            await self._live.finish(shown, card)
            return
        if not self.prompt.text:  # it never got into the record
            self.prompt.write(self._question)
        await self._show_session()
        if card is not None and self._job is job:
            await self.transcript.add(card)

    def _recorded_session(self) -> Session | None:
        """Return the chat that is open as it is recorded: its title and the number of its questions change."""
        if self.session is None:
            return None
        try:
            return self._sessions.get(self.session.id)
        except CagchatError as error:
            self._refuse(error)
            return None

    def _recorded_turns(self) -> tuple[list[Turn], CagchatError | None]:
        """Return the record of the chat that is open; none, and why, when it cannot be read."""
        try:
            return self._sessions.turns(self.session.id) if self.session else [], None
        except CagchatError as error:
            return [], error

    def action_stop(self) -> None:
        """Stop the answer and keep it. Where nothing runs, leave what lies over the chat; never clear, never quit."""
        if self.busy:
            self._stopping = True
            self._desk.stop()
            self._draw(state="◌ stopping")
            return
        self._edit_none()
        self.remove_class("-chats")
        self.prompt.focus()

    def _draw_reading(self, event: Reading) -> None:
        """Show how much of what the chat's limit needs is read."""
        if self._limited is not None and not self._stopping:
            left = event.n_tokens - event.position
            share = 100 * (1 - left / max(1, self._limited.to_read))
            self._draw(state=f"◐ reading {share:.0f} %" if left else "◐ thinking", speed=event.tokens_per_s or 0.0)

    def _count(self, n_tokens: int, state: str) -> None:
        self._draw(state="◌ stopping" if self._stopping else state, speed=self._speed.count(n_tokens))

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
        self._edit_question(chosen)

    def _edit_question(self, chosen: Shown) -> None:
        self.editing = chosen.number
        self.prompt.border_title = f"instead of question {chosen.number} (Esc: a new one)"
        self.prompt.write(chosen.question)
        self.prompt.focus()

    def _edit_none(self) -> None:
        self.editing = None
        self.prompt.border_title = None

    def action_copy_answer(self) -> None:
        """Copy the answer that has the focus, or the last one, as the model wrote it."""
        shown = self._chosen_view()
        if shown is not None:
            self._copy(shown)

    def _copy(self, shown: Shown) -> None:
        self.app.copy_to_clipboard(shown.answer)
        self.notify(f"Copied answer {shown.number}: {len(shown.answer):,} characters.", markup=False)

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

    async def _show_session(self) -> None:
        """Show the turns of the session that is open now."""
        turns, error = self._recorded_turns()
        self.prompt.remember([turn.question for turn in turns])
        proof = recorded(turns[-1].proof) if turns else None
        self._draw(
            proof=brief(proof) if proof else "",
            chat=proof.chat_tokens if proof else 0,
            speed=proof.tokens_per_s if proof else 0.0,
        )
        await self.transcript.show([of_turn(turn) for turn in turns])
        if error is not None:
            await self.transcript.add(ErrorCard(error))
        if self.session is None:
            self.chats.forget_current()
        else:
            self.chats.refill(self.session.id)
        self.refresh_bindings()

    async def go_to(self, session: Session | None, limit: Limit | None = None) -> None:
        """Leave the chat, stopping and keeping its answer, for another or (None) a new one, up to a limit if given."""
        if self.busy:
            self._desk.stop()
        self._job, self._live, self.session = None, None, session
        self._limits.load(session, limit)
        self._edit_none()
        self._draw(state="● ready")
        await self._show_session()
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
        if (session := self._recorded_session()) is not None:
            self._changes.rename(session)

    def on_chat_list_rename_wanted(self, message: ChatList.RenameWanted) -> None:
        """Give a chat of the list another title."""
        self._changes.rename(message.session)

    def action_delete(self) -> None:
        """Delete the open chat."""
        if (session := self._recorded_session()) is not None:
            self._changes.delete(session)

    def on_chat_list_delete_wanted(self, message: ChatList.DeleteWanted) -> None:
        """Delete a chat of the list."""
        self._changes.delete(message.session)

    # -- the book, files and figures -------------------------------------------------------------------------------

    async def document(self) -> Document | None:
        """Return the book's text; None, and a card says why, when it cannot be read."""
        try:
            return self.book.document
        except CagchatError as error:
            await self.transcript.add(ErrorCard(error))
            return None

    async def action_book(self) -> None:
        """Show or hide the book beside the chat, or in its place where there is no room beside."""
        if self.query(ReaderPane):
            await self.query(ReaderPane).remove()
            self.remove_class("-book")
            self._remembered.save()
            self.prompt.focus()
            return
        if (document := await self.document()) is not None:
            place = self._remembered.place(self._digest)
            pane = ReaderPane(document, position=place.position, bookmarks=place.bookmarks, limit=self._limits.until)
            self.add_class("-book")
            await self.query_one("#body").mount(pane)
            pane.focus()

    async def action_quote(self) -> None:
        """Show the next quote of the last answer where it stands in the book."""
        if (check := self.transcript.next_quote()) is None:
            self.notify("The last answer has no quote that stands in the book.", markup=False)
        else:
            await self.on_quote_line_followed(followed(check))

    async def on_quote_line_followed(self, message: QuoteLine.Followed) -> None:
        """Open the book at a quote, with the passage lit."""
        if not self.query(ReaderPane):
            await self.action_book()
        for pane in self.query(ReaderPane):  # which knows its height after the next layout
            pane.call_after_refresh(pane.show, message.start, message.length)

    async def on_reader_pane_up_to_here(self, message: ReaderPane.UpToHere) -> None:
        """Let the chat know the book as far as it was read."""
        if (document := await self.document()) is not None:
            self._limits.to(limit_at(document, message.offset))

    async def action_limit(self) -> None:
        """Ask up to which place the chat is to know the book."""
        if (document := await self.document()) is not None:
            place = self._remembered.place(self._digest)
            self._limits.choose(document, place.position, place.named)

    async def action_whole_book(self) -> None:
        """Let the chat know all of the book."""
        if (document := await self.document()) is not None:
            self._limits.to(whole(document))

    def on_reader_pane_position_changed(self, message: ReaderPane.PositionChanged) -> None:
        """Note the place; it is written when the pane is closed."""
        self._note_place(position=message.offset)

    def on_reader_pane_bookmarks_changed(self, message: ReaderPane.BookmarksChanged) -> None:
        """Remember the bookmarks."""
        self._note_place(bookmarks=message.bookmarks)
        self._remembered.save()

    def on_text_area_changed(self) -> None:
        """Note what is being written: who leaves finds it in the prompt the next time."""
        self._note_place(draft=self.prompt.text[:MAX_DRAFT])

    def _note_place(self, **changes: Any) -> None:
        self._remembered.remember(self._digest, replace(self._remembered.place(self._digest), **changes))

    async def action_export(self, suffix: Suffix) -> None:
        """Write the chat as Markdown or as JSON."""
        if self.session is None:
            self.notify("There is nothing to export yet.", markup=False)
            return
        try:
            path = write_chat(self._sessions, self.session, self._folder, suffix)
        except CagchatError as error:
            await self.transcript.add(ErrorCard(error))
        else:
            self.notify(f"Written to {path}.", markup=False)

    def _draw(self, **changes: Any) -> None:
        self._figures = replace(self._figures, **changes)
        self.query_one(StatusBar).figures = self._figures
