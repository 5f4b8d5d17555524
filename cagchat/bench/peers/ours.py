"""cagchat's own way: the book is opened, asked, asked again and left as the program does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cagchat.bench.memory import peak_of_family
from cagchat.bench.peers.job import ANSWER_TOKENS, Here, Job, Outcome, Step, answer_all
from cagchat.engine.child import Spare

if TYPE_CHECKING:
    from cagchat.locations import Locations
    from cagchat.opened import OpenBook
    from cagchat.sessions.store import Sessions


def run(job: Job, began: float) -> Outcome:
    """Open the book, which is read when there is no state of it, and ask it."""
    with closing(Spare()) as spare:  # before the rest is loaded, as `cli.app` does it
        return converse(job, began, spare)


def converse(job: Job, began: float, spare: Spare) -> Outcome:
    """Do so with an engine's process that has been started."""
    from cagchat.engine.backend import LlamaBackend
    from cagchat.events import Opening, Ready
    from cagchat.files import private_folder
    from cagchat.library import Library
    from cagchat.locations import locate
    from cagchat.settings import Settings

    locations = locate({"CAGCHAT_HOME": job.home})
    settings = Settings(**job.settings)
    library = Library(locations, settings, LlamaBackend(locations, settings.fast_kernels, spare))
    private_folder(locations.data)
    sessions: Sessions | None = None
    with ExitStack() as stack:
        for event in library.prepare(Path(job.path)):
            if isinstance(event, Opening):  # while the engine starts, as `cagchat ask` does it
                sessions = stack.enter_context(ready_to_chat(locations))
            if isinstance(event, Ready):
                book = stack.enter_context(closing(event.book))
                return answers(job, began, book, sessions or stack.enter_context(ready_to_chat(locations)))
    raise AssertionError("prepare ends with Ready")


def ready_to_chat(locations: Locations) -> Sessions:
    """Load what answering needs and open the chats."""
    import cagchat.conversation  # noqa: F401 - imported here so that it need not be while somebody waits
    from cagchat.sessions.store import Sessions

    return Sessions(locations.sessions_db)


def answers(job: Job, began: float, book: OpenBook, sessions: Sessions) -> Outcome:
    """Ask the open book."""
    from cagchat.conversation import AskOptions, Conversation
    from cagchat.engine.protocol import Sampling
    from cagchat.events import Answered

    options = AskOptions(Sampling(temperature=0), max_tokens=ANSWER_TOKENS)
    questions = iter(job.questions)
    chat = Conversation(book, sessions)

    def ask(step: Step, here: Here) -> int:
        nonlocal chat
        watch_pieces(book.engine, here)
        if step == "new_chat":
            chat = Conversation(book, sessions)
        asking = chat.regenerate(options) if step == "regenerate" else chat.ask(next(questions), options)
        last = list(asking)[-1]
        assert isinstance(last, Answered), "ask ends with Answered"
        return last.proof.book_evaluated

    return Outcome(answer_all(ask, began), peak_of_family())


def watch_pieces(engine: Any, here: Here) -> None:
    """Call `here` whenever a token reaches the program; its text may come later, when a character is complete."""
    kind = type(engine)

    def generate(*arguments: Any, **options: Any) -> Iterator[Any]:
        for item in kind.generate(engine, *arguments, **options):
            here()
            yield item

    engine.generate = generate
