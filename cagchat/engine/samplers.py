"""llama.cpp's sampler chain for a way of sampling."""

from __future__ import annotations

from typing import Any

from cagchat.engine.protocol import Sampling

PENALTY_WINDOW = 256  # tokens of the answer that repetition penalties look back on


def sampler_chain(ll: Any, n_vocab: int, sampling: Sampling) -> Any:
    """Return a chain, which the caller frees (`llama_sampler_free`); a temperature of 0 takes the largest logit."""
    chain = ll.llama_sampler_chain_init(ll.llama_sampler_chain_default_params())
    add = ll.llama_sampler_chain_add
    if sampling.repeat_penalty != 1 or sampling.presence_penalty:
        penalties = ll.llama_sampler_init_penalties(
            n_vocab, PENALTY_WINDOW, sampling.repeat_penalty, 0.0, sampling.presence_penalty
        )
        add(chain, penalties)
    if sampling.temperature <= 0:
        add(chain, ll.llama_sampler_init_greedy())
        return chain
    add(chain, ll.llama_sampler_init_top_k(sampling.top_k))
    add(chain, ll.llama_sampler_init_top_p(sampling.top_p, 1))
    add(chain, ll.llama_sampler_init_min_p(sampling.min_p, 1))
    add(chain, ll.llama_sampler_init_temp(sampling.temperature))
    add(chain, ll.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF))
    return chain
