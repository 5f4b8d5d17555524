"""Where a model's weights go: which tensors the GPU gets and which stay in RAM (llama-model.cpp, load_tensors).

The input embeddings always stay in RAM. Layers are counted from the end, and the output is the layer after the last.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cagchat.models.gguf import TensorInfo

LAYER = re.compile(r"blk\.(\d+)\.")
EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")  # what engine.bindings keeps in RAM
INPUT, OUTPUT = "token_embd.weight", "output.weight"
ALL_LAYERS = -1
INPUT_LAYER = -1


@dataclass(frozen=True, slots=True)
class Bytes:
    """Sizes by place: on the GPU (`device`) and in RAM (`host`)."""

    device: int = 0
    host: int = 0

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(self.device + other.device, self.host + other.host)


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor and the layer it is placed with: -1 for the input embeddings, one past the last for the output.

    The output's norm and tables of RoPE factors count as the output's; they are too small to matter.
    """

    tensor: TensorInfo
    layer: int

    def in_ram(self, first_gpu_layer: int, experts_in_ram: int) -> bool:
        """Tell whether it stays in RAM."""
        kept = self.layer < experts_in_ram and EXPERTS.search(self.tensor.name) is not None
        return self.layer < first_gpu_layer or kept


def weights_bytes(tensors: Sequence[TensorInfo], gpu_layers: int = ALL_LAYERS, experts_in_ram: int = 0) -> Bytes:
    """Return how a model's weights split; RAM is mapped from the file, so the system may drop and reread it.

    `gpu_layers` -1 means all and the output; of the first `experts_in_ram` layers the routed experts stay in RAM.
    """
    found, first = placed(tensors), first_gpu_layer(tensors, gpu_layers)
    host = sum(item.tensor.size_bytes for item in found if item.in_ram(first, experts_in_ram))
    device = sum(item.tensor.size_bytes for item in found) - host
    tied = all(item.tensor.name != OUTPUT for item in found)
    if tied and first <= n_layers(tensors):  # the embeddings are copied to be the output as well
        device += sum(item.tensor.size_bytes for item in found if item.tensor.name == INPUT)
    return Bytes(device, host)


def streamed_bytes(tensors: Sequence[TensorInfo], gpu_layers: int = ALL_LAYERS, experts_in_ram: int = 0) -> int:
    """Return the most that a layer's weights in RAM take: a GPU copies them to itself to compute a batch with them."""
    first = first_gpu_layer(tensors, gpu_layers)
    by_layer: Counter[int] = Counter()
    for item in placed(tensors):
        if item.layer >= 0 and item.in_ram(first, experts_in_ram):
            by_layer[item.layer] += item.tensor.size_bytes
    return max(by_layer.values(), default=0)


def first_gpu_layer(tensors: Sequence[TensorInfo], gpu_layers: int) -> int:
    """Return the first layer on the GPU: layers go there from the last on, the output before all of them."""
    return max(0, n_layers(tensors) + 1 - gpu_layers) if gpu_layers >= 0 else 0


def placed(tensors: Sequence[TensorInfo]) -> list[Placed]:
    """Return the tensors that are loaded, with their layers; layers that predict further tokens (MTP) are left out."""
    output = n_layers(tensors)
    found = [Placed(tensor, layer_of(tensor, output)) for tensor in tensors]
    unused = {item.layer for item in found if ".nextn." in item.tensor.name}
    return [item for item in found if item.layer not in unused]


def layer_of(tensor: TensorInfo, output: int) -> int:
    """Return the layer a tensor is placed with, `output` being the number after the last."""
    if match := LAYER.match(tensor.name):
        return int(match[1])
    return INPUT_LAYER if tensor.name == INPUT else output


def n_layers(tensors: Sequence[TensorInfo]) -> int:
    """Return how many layers have tensors, those for MTP included."""
    return max((int(match[1]) + 1 for tensor in tensors if (match := LAYER.match(tensor.name))), default=0)
