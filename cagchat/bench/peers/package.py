"""The ways that llama-cpp-python has in one process: `Llama` alone, with `save_state`, with `LlamaDiskCache`."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from cagchat.bench.memory import peak_of_family
from cagchat.bench.peers.counting import count_decoded, use_kernels
from cagchat.bench.peers.job import ANSWER_TOKENS, Here, Job, Outcome, Prompts, Step, answer_all

ROOM_BYTES = 1 << 40  # so that a cache with a limit never drops the book


class Peer:
    """llama-cpp-python's `Llama`, with its settings made ours and every token that it decodes counted."""

    def __init__(self, job: Job) -> None:
        from cagchat.engine.bindings import bindings, high_level
        from cagchat.engine.blob import GGML_TYPES

        self.package = high_level()  # before bindings(), which would put a bare package in its place
        self.prompts = Prompts(job.book, job.opening, job.bodies)
        self._n_book = len(job.book)
        self._positions: list[int] = []
        use_kernels(bindings(), fast=job.fast_kernels)
        count_decoded(bindings(), self._positions.extend)
        kv = GGML_TYPES[job.kv_type]
        self.llama = self.package.Llama(
            model_path=job.model,
            n_gpu_layers=job.gpu_layers,
            n_ctx=job.n_context,
            n_batch=job.n_batch,
            n_ubatch=job.n_batch,
            n_threads=job.threads,
            n_threads_batch=job.threads,
            flash_attn=job.flash_attention,
            type_k=kv,
            type_v=kv,
            no_perf=True,
            verbose=False,
        )

    def evaluated(self) -> int:
        """Return how many tokens at positions of the book were decoded since the last call."""
        count = sum(position < self._n_book for position in self._positions)
        self._positions.clear()
        return count

    def watch_samples(self, here: Here) -> list[int]:
        """Call `here` whenever a token was sampled, and return the list that grows by it."""
        kind = self.package.Llama
        sampled: list[int] = []

        def sample(*arguments: Any, **options: Any) -> Any:
            token = kind.sample(self.llama, *arguments, **options)
            sampled.append(int(token))
            here()
            return token

        self.llama.sample = sample
        return sampled


def run(job: Job, began: float) -> Outcome:
    """Read the book or take it back, and answer."""
    return Outcome(WAYS[job.way](job, Peer(job), began), peak_of_family())


def plain(job: Job, peer: Peer, began: float) -> Any:
    """Keep nothing: `generate` reuses what its context holds, as far as it can."""
    return answer_all(generating(peer, lambda step: None), began)


def save_state(job: Job, peer: Peer, began: float) -> Any:
    """Keep the book with `save_state`, pickled; `load_state` takes it back.

    Where the context cannot simply be cut, that is done before every question that does not continue the last one,
    as a program must do that wants not to read again.
    """
    path = Path(job.folder) / "state.pickle"
    if job.phase == "read":
        peer.llama.eval(job.book)
        state = peer.llama.save_state()
        with path.open("wb") as kept:
            pickle.dump(state, kept, pickle.HIGHEST_PROTOCOL)
    else:
        with path.open("rb") as file:
            state = pickle.load(file)
        peer.llama.load_state(state)
    if job.is_attention:
        del state

    def prepare(step: Step) -> None:
        if step in ("regenerate", "new_chat") and not job.is_attention:
            peer.llama.load_state(state)

    return answer_all(generating(peer, prepare), began)


def disk_cache(job: Job, peer: Peer, began: float) -> Any:
    """Keep the book in a `LlamaDiskCache`, which `create_completion` fills and looks into."""
    cache = peer.package.LlamaDiskCache(job.folder, capacity_bytes=ROOM_BYTES)
    cache.cache.reset("size_limit", ROOM_BYTES)
    with closing(cache.cache):
        peer.llama.set_cache(cache)
        if job.phase == "read":
            peer.llama.create_completion(job.book, max_tokens=1, temperature=0)

        def ask(step: Step, here: Here) -> int:
            prompt = peer.prompts.take(step)
            sampled = peer.watch_samples(here)
            peer.llama.create_completion(prompt, max_tokens=ANSWER_TOKENS, temperature=0)
            peer.prompts.add(sampled[:ANSWER_TOKENS])
            return peer.evaluated()

        return answer_all(ask, began)


def generating(peer: Peer, prepare: Callable[[Step], None]) -> Callable[[Step, Here], int]:
    """Return how `generate` answers a question, after what has to be done before it."""

    def ask(step: Step, here: Here) -> int:
        prepare(step)
        peer.watch_samples(here)
        peer.prompts.add(list(islice(peer.llama.generate(peer.prompts.take(step), temp=0), ANSWER_TOKENS)))
        return peer.evaluated()

    return ask


WAYS: dict[str, Callable[[Job, Peer, float], Any]] = {
    "plain": plain,
    "save_state": save_state,
    "disk_cache": disk_cache,
}
