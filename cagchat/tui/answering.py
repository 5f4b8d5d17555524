"""The answer that is being generated for the chat on a screen: asked for, streamed into its turn, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cagchat.errors import CagchatError, Stopped
from cagchat.events import Answer, Answered, AskEvent, Limited, Reading, Thinking
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.event_notes import note_on
from cagchat.tui.jobs import Answering, Job, Regenerate
from cagchat.tui.messages import Ended, Happened
from cagchat.tui.shown import Shown, brief, clean, of_answer, of_turn
from cagchat.tui.speed import Speed
from cagchat.tui.turn_view import TurnView

if TYPE_CHECKING:
    from cagchat.sessions.session import Turn
    from cagchat.tui.chat_screen import ChatScreen
    from cagchat.tui.desk import Desk, Queued


class Generation:
    """Has one answer at a time generated and shows it; what comes of one that was left is not shown.

    A chat may be left while any of this waits for something to be drawn, so what follows looks whether it was.
    """

    def __init__(self, screen: ChatScreen, desk: Desk, timer: Callable[[], float]) -> None:
        self._screen = screen
        self._desk = desk
        self._timer = timer
        self._job: Answering | None = None
        self._question = ""
        self._beginning = ""  # a question that is about to be submitted
        self._submitted: dict[Answering, tuple[Queued, str]] = {}  # those whose end was not told yet, their questions
        self._live: TurnView | None = None  # where it is shown
        self._limited: Limited | None = None
        self._stopping = False
        self._speed = Speed(timer)

    @property
    def running(self) -> bool:
        """Whether an answer is being generated, or its end drawn."""
        return self._job is not None

    def text_of(self, number: int) -> str:
        """Return what there is of the answer to a question that is being answered; "" for any other."""
        live = self._live
        return live.text if live is not None and live.shown.number == number else ""

    async def begin(self, job: Answering, question: str, number: int | None) -> None:
        """Ask, in place of question `number` and what follows it when there is one."""
        self._job, self._question, self._stopping = job, question, False
        self._beginning = "" if isinstance(job, Regenerate) else question
        self._speed = Speed(self._timer)
        self._screen.draw(state="◐ thinking", speed=0.0)
        transcript = self._screen.transcript
        if number is not None:
            await transcript.cut(number)
        if self._job is job:
            turns = transcript.turns
            shown = Shown(number or (turns[-1].number + 1 if turns else 1), clean(question))
            live = await transcript.begin(shown)
        if self._job is not job:
            if not isinstance(job, Regenerate):
                self._screen.prompt.put_aside(question)
            self._beginning = ""
            return
        self._live = live
        queued = self._desk.submit(job, self._screen, self._screen.book)  # not before its events can be shown
        self._submitted[job] = queued, question
        self._beginning = ""
        if self._stopping:
            self._desk.stop()
        self._screen.refresh_bindings()

    def stop(self) -> None:
        """Stop the answer and keep it."""
        self._stopping = True
        self._desk.stop()
        self._screen.draw(state="◌ stopping")

    def leave(self) -> None:
        """Stop the answer, and show nothing more of it."""
        if self.running:
            self._desk.stop()
        self._job = self._live = None

    def unasked(self) -> list[str]:
        """Return the questions that were sent and whose turn has not come: when the desk is stopped, it never does."""
        queued = [question for job, (place, question) in self._submitted.items() if is_lost(job, place)]
        return [*queued, *filter(None, [self._beginning])]

    async def happened(self, message: Happened) -> None:
        """Show an event of the answer."""
        if message.job is self._job and self._live is not None:
            await self._show(message.event, message.n_tokens, self._live)  # type: ignore[arg-type]  # an answer's

    async def _show(self, event: AskEvent, n_tokens: int, live: TurnView) -> None:
        job = self._job
        if note := note_on(event):
            await live.note(note)
            if self._job is not job:
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
                self._screen.transcript.settle(shown)
                await live.finish(shown)
                if self._job is job:
                    proof = event.proof
                    self._screen.draw(proof=brief(proof), speed=proof.tokens_per_s, chat=proof.chat_tokens)

    async def ended(self, message: Ended) -> None:
        """Be ready for another; an error becomes a card and the chat goes on."""
        job = message.job
        left = self._submitted.pop(job, None) if isinstance(job, Answering) else None
        if job is not self._job:
            if left is not None and is_lost(job, left[0]):
                self._put_aside(left[1])
            return
        self._screen.session = message.session
        if message.error is None:
            self._end(job)
        else:  # what came of it the record says
            self._screen.recall.read(
                message.session, partial(self._failed, job, self._live, self._question, message.error)
            )

    def _end(self, job: Job) -> None:
        if job is self._job:
            screen = self._screen
            self._job = self._live = None
            screen.draw(state="● ready")
            screen.chats.refill(screen.session.id if screen.session else None)
            screen.refresh_bindings()

    async def _failed(
        self,
        job: Job,
        live: TurnView | None,
        question: str,
        error: CagchatError,
        turns: Sequence[Turn] | None,
        refused: CagchatError | None,
    ) -> None:
        recorded = turns[-1] if turns and live is not None and turns[-1].number == live.shown.number else None
        if job is not self._job:  # it was left meanwhile
            if recorded is None and not isinstance(job, Regenerate):
                self._put_aside(question)
            return
        card = None if isinstance(error, Stopped) else ErrorCard(error)
        if recorded is not None and live is not None:
            shown = of_turn(recorded)
            self._screen.transcript.settle(shown)
            await live.finish(shown, card)
        else:
            self._keep_question()
            await self._screen.recall.show_turns(turns or [], refused)
            if card is not None and self._job is job:
                await self._screen.transcript.add(card)
        self._end(job)

    def _keep_question(self) -> None:
        """Write the question that was not asked back into the prompt, or where something else stands there, aside."""
        prompt = self._screen.prompt
        if not prompt.text:
            prompt.write(self._question)
        else:
            self._put_aside(self._question)

    def _put_aside(self, question: str) -> None:
        self._screen.prompt.put_aside(question)
        self._screen.notify("The question was not asked; Up in the prompt recalls it.", markup=False)

    def _draw_reading(self, event: Reading) -> None:
        """Show how much of what the chat's limit needs is read."""
        if self._limited is not None and not self._stopping:
            left = event.n_tokens - event.position
            share = 100 * (1 - left / max(1, self._limited.to_read))
            state = f"◐ reading {share:.0f} %" if left else "◐ thinking"
            self._screen.draw(state=state, speed=event.tokens_per_s or 0.0)

    def _count(self, n_tokens: int, state: str) -> None:
        self._screen.draw(state="◌ stopping" if self._stopping else state, speed=self._speed.count(n_tokens))


def is_lost(job: Job, queued: Queued) -> bool:
    """Tell whether what a job asks is in no record when it is stopped now; what is asked again is there already."""
    return not queued.began and not isinstance(job, Regenerate)
