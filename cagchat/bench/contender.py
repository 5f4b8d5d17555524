"""One way to keep a book that was read, in a process of its own: `python -m cagchat.bench.contender JOB`.

A job is either to read the book and keep it ("read"), or to take it back and answer two questions ("ask"), each in a
chat of its own. Every report is a line of JSON on stdout: `{"question": 0}` when the first token of an answer is there,
at last one with what was counted.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Way = Literal["cagchat", "save_state", "disk_cache"]
Phase = Literal["read", "ask"]

ANSWER_TOKENS = 8
ROOM_BYTES = 1 << 40  # so that a cache with a limit never drops the book


@dataclass(frozen=True, slots=True)
class Job:
    """What one process has to do. `book` and `questions` are token ids, for those who do not frame prompts as we do.

    `home`, `path`, `settings` and `texts` are what cagchat is given instead; `folder` is where the others keep files.
    """

    way: Way
    phase: Phase
    folder: str
    model: str
    n_context: int
    n_batch: int
    threads: int
    gpu_layers: int
    fast_kernels: bool
    kv_type: str
    book: list[int]
    questions: list[list[int]]
    home: str
    path: str
    settings: dict[str, Any]
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Counted:
    """One question: seconds from asking to the first token, and book tokens that were evaluated for it."""

    first_token_s: float
    book_evaluated: int


Report = Callable[[dict[str, Any]], None]
Ask = Callable[[int, Callable[[], None]], int]


def answer(job: Job, ask: Ask, report: Report, began: float) -> None:
    """Put both questions and report; the first one's seconds include taking the book back.

    `ask` answers a question, calls back at the first token, and returns the book tokens evaluated for it.
    """
    answers = []
    for number in range(len(job.questions)):
        first: list[float] = []

        def here(number: int = number, first: list[float] = first) -> None:
            if not first:
                first.append(time.perf_counter())
                report({"question": number})

        book_evaluated = ask(number, here)
        answers.append(Counted(first[0] - began, book_evaluated))
        began = time.perf_counter()
    report({"answers": [asdict(counted) for counted in answers]})


# -- cagchat ---------------------------------------------------------------------------------------------------------


def run_cagchat(job: Job, report: Report, began: float) -> None:
    """Open the book as the program does and ask it."""
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
    library = Library(locations, settings, LlamaBackend(locations, settings.fast_kernels))
    private_folder(locations.data)
    ready = next(event for event in library.prepare(Path(job.path)) if isinstance(event, Ready))
    options = AskOptions(Sampling(temperature=0), max_tokens=ANSWER_TOKENS)
    with closing(ready.book) as book, Sessions(locations.sessions_db) as sessions:

        def ask(number: int, here: Callable[[], None]) -> int:
            watch_pieces(book.engine, here)
            events = list(Conversation(book, sessions).ask(job.texts[number], options))
            assert isinstance(events[-1], Answered), "ask ends with Answered"
            return events[-1].proof.book_evaluated

        answer(job, ask, report, began)


def watch_pieces(engine: Any, here: Callable[[], None]) -> None:
    """Call `here` whenever a token reaches the program; its text may come later, when a character is complete."""
    kind = type(engine)

    def generate(*arguments: Any, **options: Any) -> Iterator[Any]:
        for item in kind.generate(engine, *arguments, **options):
            here()
            yield item

    engine.generate = generate


# -- the package's own ways ------------------------------------------------------------------------------------------


class Peer:
    """llama-cpp-python's `Llama`, with its settings made ours and every token that it decodes counted."""

    def __init__(self, job: Job) -> None:
        from cagchat.engine.bindings import bindings, high_level
        from cagchat.engine.blob import GGML_TYPES

        self.package = high_level()  # before bindings(), which would put a bare package in its place
        self._ll = bindings()
        self._positions: list[int] = []
        self._use_kernels(job.fast_kernels)
        self._count_decoded()
        kv = GGML_TYPES[job.kv_type]
        self.llama = self.package.Llama(
            model_path=job.model,
            n_gpu_layers=job.gpu_layers,
            n_ctx=job.n_context,
            n_batch=job.n_batch,
            n_ubatch=job.n_batch,
            n_threads=job.threads,
            n_threads_batch=job.threads,
            flash_attn=True,
            type_k=kv,
            type_v=kv,
            no_perf=True,
            verbose=False,
        )

    def _use_kernels(self, fast: bool) -> None:
        """Set what `Llama` has no argument for: some processors crash on the path that llama.cpp takes by default."""
        defaults = self._ll.llama_model_default_params

        def parameters() -> Any:
            chosen = defaults()
            chosen.use_extra_bufts = fast
            return chosen

        self._ll.llama_model_default_params = parameters

    def _count_decoded(self) -> None:
        """Note the position of every token where it is decoded, whoever asks for that."""
        decode = self._ll.llama_decode

        def counting(context: Any, batch: Any) -> Any:
            self._positions += [int(batch.pos[i]) for i in range(batch.n_tokens)]
            return decode(context, batch)

        self._ll.llama_decode = counting

    def take_evaluated(self, n_book: int) -> int:
        """Return how many tokens at positions of the book were decoded since the last call."""
        count = sum(position < n_book for position in self._positions)
        self._positions.clear()
        return count

    def watch_samples(self, here: Callable[[], None]) -> None:
        """Call `here` whenever a token was sampled: the first is the answer's first token."""
        kind = self.package.Llama

        def sample(*arguments: Any, **options: Any) -> Any:
            token = kind.sample(self.llama, *arguments, **options)
            here()
            return token

        self.llama.sample = sample


def run_save_state(job: Job, report: Report, began: float) -> None:
    """Keep the book with `save_state`, pickled; take it back with `load_state`."""
    peer = Peer(job)
    path = Path(job.folder) / "state.pickle"
    if job.phase == "read":
        peer.llama.eval(job.book)
        with path.open("wb") as kept:
            pickle.dump(peer.llama.save_state(), kept, pickle.HIGHEST_PROTOCOL)
        return
    with path.open("rb") as file:
        peer.llama.load_state(pickle.load(file))

    def ask(number: int, here: Callable[[], None]) -> int:
        peer.watch_samples(here)
        for _ in take(peer.llama.generate([*job.book, *job.questions[number]], temp=0), ANSWER_TOKENS):
            pass
        return peer.take_evaluated(len(job.book))

    answer(job, ask, report, began)


def run_disk_cache(job: Job, report: Report, began: float) -> None:
    """Keep the book in a `LlamaDiskCache`, which `create_completion` fills and looks into."""
    peer = Peer(job)
    cache = peer.package.LlamaDiskCache(job.folder, capacity_bytes=ROOM_BYTES)
    cache.cache.reset("size_limit", ROOM_BYTES)
    with closing(cache.cache):
        peer.llama.set_cache(cache)
        if job.phase == "read":
            peer.llama.create_completion(job.book, max_tokens=1, temperature=0)
            return

        def ask(number: int, here: Callable[[], None]) -> int:
            peer.watch_samples(here)
            prompt = [*job.book, *job.questions[number]]
            peer.llama.create_completion(prompt, max_tokens=ANSWER_TOKENS, temperature=0)
            return peer.take_evaluated(len(job.book))

        answer(job, ask, report, began)


def take(tokens: Iterator[int], count: int) -> Sequence[int]:
    """Return the first tokens of an answer; the generator is closed."""
    return [token for token, _ in zip(tokens, range(count), strict=False)]


WAYS: dict[Way, Callable[[Job, Report, float], None]] = {
    "cagchat": run_cagchat,
    "save_state": run_save_state,
    "disk_cache": run_disk_cache,
}


def main() -> None:
    """Do the job that the first argument names; what libraries print goes to stderr."""
    began = time.perf_counter()
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(content: dict[str, Any]) -> None:
        print(json.dumps(content), file=reports, flush=True)

    job = Job(**json.loads(Path(sys.argv[1]).read_bytes()))
    WAYS[job.way](job, report, began)


if __name__ == "__main__":
    main()
