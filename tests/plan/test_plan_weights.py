"""How weights split between GPU and RAM."""

from __future__ import annotations

import pytest

from cagchat.models.gguf import TensorInfo
from cagchat.models.tensors import tensors
from cagchat.plan.weights import Bytes, streamed_bytes, weights_bytes
from tests.plan.flagship import FLAGSHIP


def tensor(name: str, size_bytes: int) -> TensorInfo:
    return TensorInfo(name, (size_bytes,), "I8", 0, size_bytes)


UNTIED = (
    tensor("token_embd.weight", 1000),
    tensor("blk.0.attn_q.weight", 1),
    tensor("blk.0.ffn_gate_exps.weight", 10),
    tensor("blk.1.attn_q.weight", 2),
    tensor("blk.1.ffn_down_exps.weight", 30),
    tensor("output_norm.weight", 100),
    tensor("output.weight", 5000),
)
TIED = UNTIED[:-1]
MTP = (*UNTIED, tensor("blk.2.attn_q.weight", 7), tensor("blk.2.nextn.eh_proj.weight", 7))


@pytest.mark.parametrize(
    ("layers", "device", "host"),
    [(0, 0, 6143), (1, 5100, 1043), (2, 5132, 1011), (3, 5143, 1000), (99, 5143, 1000), (-1, 5143, 1000)],
)
def test_layers_go_to_the_gpu_from_the_last_on(layers: int, device: int, host: int) -> None:
    """The output is the first layer to go, then the last block; the input embeddings never go."""
    assert weights_bytes(UNTIED, layers) == Bytes(device, host)


def test_tied_embeddings_are_there_twice() -> None:
    """A model that uses its embeddings as the output has a copy of them on the GPU, and none without a GPU."""
    assert weights_bytes(TIED) == Bytes(1143, 1000)
    assert weights_bytes(TIED, 0) == Bytes(0, 1143)


@pytest.mark.parametrize(("count", "moved"), [(0, 0), (1, 10), (2, 40), (50, 40)])
def test_experts_stay_in_ram(count: int, moved: int) -> None:
    """The routed experts of the first layers stay in RAM, and nothing else of them."""
    assert weights_bytes(UNTIED, -1, count) == Bytes(5143 - moved, 1000 + moved)


def test_layers_that_predict_further_are_not_loaded() -> None:
    """MTP layers take no memory, but count as layers when some go to the GPU."""
    assert weights_bytes(MTP) == weights_bytes(UNTIED)
    assert weights_bytes(MTP, 3) == weights_bytes(UNTIED, 2)


@pytest.mark.parametrize(
    ("layers", "experts", "expected"), [(-1, 0, 0), (-1, 1, 10), (-1, 2, 30), (2, 0, 11), (1, 0, 32)]
)
def test_the_largest_layer_in_ram_is_streamed(layers: int, experts: int, expected: int) -> None:
    """A GPU makes room for the weights of one layer that stayed in RAM: the largest."""
    assert streamed_bytes(UNTIED, layers, experts) == expected


def test_the_flagships_weights() -> None:
    """The 35B in Q3_K_M puts 15.4 GiB on the GPU and keeps 0.2 GiB of embeddings in RAM."""
    split = weights_bytes(tensors(FLAGSHIP, "Q3_K_M"))
    assert split.device / (1 << 30) == pytest.approx(15.4, abs=0.05)
    assert split.host / (1 << 30) == pytest.approx(0.2, abs=0.05)
