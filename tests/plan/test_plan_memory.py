"""The sum of all parts: it adds up, follows what is asked for, and holds for the flagship's book."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cagchat.models.tensors import tensors
from cagchat.plan.attention import work_bytes
from cagchat.plan.buffers import compute_bytes, output_bytes
from cagchat.plan.caches import kv_bytes, recurrent_bytes
from cagchat.plan.memory import Memory, Request, memory
from tests.plan.flagship import FLAGSHIP, GEMMA3_4B

GIB = 1 << 30
WAR_AND_PEACE = Request(
    FLAGSHIP, tensors(FLAGSHIP, "Q3_K_M"), n_context=786_432, n_ubatch=128, kv_type="q4_0", backend="cuda"
)
GEMMA = Request(GEMMA3_4B, tensors(GEMMA3_4B, "Q4_0", tied=True), n_context=32_768, backend="cuda")

REQUESTS = [
    WAR_AND_PEACE,
    replace(WAR_AND_PEACE, backend="cpu"),
    replace(WAR_AND_PEACE, gpu_layers=0),
    replace(WAR_AND_PEACE, gpu_layers=13),
    replace(WAR_AND_PEACE, experts_in_ram=20),
    replace(WAR_AND_PEACE, n_devices=2),
    GEMMA,
    replace(GEMMA, gpu_layers=7),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_parts_add_up(request_: Request) -> None:
    """The lines for the GPU and for RAM add up to what each must have free, and none is empty."""
    found = memory(request_)
    assert sum(size for _, size in found.device_lines()) == found.device_bytes
    assert sum(size for _, size in found.host_lines()) == found.host_bytes
    assert all(size > 0 for _, size in (*found.device_lines(), *found.host_lines()))


@pytest.mark.parametrize("request_", REQUESTS)
def test_caches_and_weights_lie_in_one_place_or_the_other(request_: Request) -> None:
    """However layers are shared between GPU and RAM, caches take what they take."""
    found = memory(request_)
    sizes = (request_.n_context, request_.kv_type, request_.n_ubatch, request_.n_sequences)
    assert found.kv.device + found.kv.host == kv_bytes(request_.shape, *sizes)
    assert found.recurrent.device + found.recurrent.host == recurrent_bytes(request_.shape, request_.n_sequences)
    assert found.weights.device + found.weights.host >= sum(tensor.size_bytes for tensor in request_.tensors)


@pytest.mark.parametrize("request_", REQUESTS[1:3], ids=["no GPU", "no layers"])
def test_without_a_gpu_all_is_in_ram(request_: Request) -> None:
    """Without a GPU nothing is asked of one, and RAM has exactly the buffers that llama.cpp reports."""
    found = memory(request_)
    assert (found.device_bytes, found.device_lines()) == (0, [])
    compute = compute_bytes(FLAGSHIP, 786_432, 128, 2, "q4_0") + output_bytes(FLAGSHIP, 2)
    assert found.compute.host == compute


def test_war_and_peace_fits_24_gb() -> None:
    """The 35B in Q3_K_M with 786K positions in q4_0 takes 21.4 GiB for itself, and fits a card of 24 GB with the rest.

    A card sold with 24 GB has 24,564 MiB.
    """
    found = memory(WAR_AND_PEACE)
    own = found.weights.device + found.kv.device + found.recurrent.device + found.compute.device
    assert own / GIB == pytest.approx(21.44, abs=0.02)
    assert found.device_bytes < 24_564 << 20


def test_a_million_positions_do_not_fit_24_gb_without_experts_in_ram() -> None:
    """At 1M positions the flagship is too large for 24 GB; with the experts of ten layers in RAM it fits."""
    million = replace(WAR_AND_PEACE, n_context=1 << 20)
    assert memory(million).device_bytes > 24_564 << 20
    assert memory(replace(million, experts_in_ram=10)).device_bytes < 24_564 << 20


def test_more_experts_in_ram_take_less_of_the_gpu() -> None:
    """Each further layer's experts in RAM make the GPU's part smaller."""
    sizes = [memory(replace(WAR_AND_PEACE, experts_in_ram=count)).device_bytes for count in (5, 10, 20, 40)]
    assert sizes == sorted(sizes, reverse=True)


def test_layers_take_their_caches_with_them() -> None:
    """A hybrid's last four layers on the GPU have one layer of K and V there and three recurrent states."""
    found = memory(replace(WAR_AND_PEACE, gpu_layers=5))
    assert found.kv.device * 10 == found.kv.device + found.kv.host
    assert found.recurrent.device * 10 == found.recurrent.device + found.recurrent.host


def test_longer_books_take_more() -> None:
    """Memory grows with the context, the batch and the sequences."""
    base = memory(WAR_AND_PEACE).device_bytes
    larger: list[Memory] = [
        memory(replace(WAR_AND_PEACE, n_context=800_000)),
        memory(replace(WAR_AND_PEACE, n_ubatch=256)),
        memory(replace(WAR_AND_PEACE, n_sequences=3)),
        memory(replace(WAR_AND_PEACE, n_devices=2)),
    ]
    assert all(found.device_bytes > base for found in larger)


@pytest.mark.parametrize("gpu_layers", [-1, 0])
def test_without_flash_attention_the_scores_take_memory(gpu_layers: int) -> None:
    """A state that was read without flash attention needs a batch's scores where its layers are, on a GPU too.

    They are f32, and stand a second time in f16 to be multiplied with V; only a part of that is room anyway.
    """
    flash = replace(WAR_AND_PEACE, n_context=8_192, kv_type="f16", gpu_layers=gpu_layers, n_ubatch=64)
    plain = memory(replace(flash, flash_attention=False))
    scores = FLAGSHIP.n_heads * 8_192 * 64 * 4
    before, after = memory(flash).compute, plain.compute
    grown = after.device - before.device if gpu_layers else after.host - before.host
    assert scores < grown <= scores + work_bytes(FLAGSHIP, 8_192, 64)
    assert (after.device == 0) == (gpu_layers == 0)
