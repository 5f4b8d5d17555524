"""cagchat's own way: the book is opened, asked, asked again and left as the program does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from cagchat.bench.peers.job import ANSWER_TOKENS, Here, Job, Outcome, Step, answer_all
from cagchat.bench.peers.memory import peak_of_family
from cagchat.engine.child import Spare


def run(job: Job, began: float) -> Outcome:
    """Open the book, which is read when there is no state of it, and ask it."""
    with closing(Spare()) as spare:  # before the rest is loaded, as `cli.app` does it
        return converse(job, began, spare)


def converse(job: Job, began: float, spare: Spare) -> Outcome:
    """Do so with an engine's process that has been started."""
    from cagchat.conversation import AskOptions, Conversation
    from cagchat.engine.backend import LlamaBackend
    from cagchat.engine.protocol import Sampling
    from cagchat.events import Answered, Ready
    from cagchat.files import private_folder
    from cagchat.library import Library
    from cagchat.locations import locate
    from cagchat.sessions.store import Sessions
    from cagchat.settings import Settings

    locations = locate({"CAGCHAT_HOME": job.home})
    settings = Settings(**job.settings)
    library = Library(locations, settings, LlamaBackend(locations, settings.fast_kernels, spare))
    private_folder(locations.data)
    ready = next(event for event in library.prepare(Path(job.path)) if isinstance(event, Ready))
    options = AskOptions(Sampling(temperature=0), max_tokens=ANSWER_TOKENS)
    questions = iter(job.questions)
    with closing(ready.book) as book, Sessions(locations.sessions_db) as sessions:
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
