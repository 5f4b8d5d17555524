"""Cards of small models, whose memory is computed in a millisecond, and machines that hold exactly so much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cagchat.models.shape import Experts, ModelShape, Recurrent
from cagchat.models.tensors import tensors
from cagchat.plan.card import Card
from cagchat.plan.choose import Machine

NATIVE = 8192
SMALL = ModelShape("qwen3", 4096, 256, 512, 4, (2,) * 4, 64, 64, NATIVE, windowed=(False,) * 4)
MIXTURE = ModelShape(
    "qwen35moe",
    4096,
    256,
    0,
    4,
    (0, 0, 0, 2) * 2,
    64,
    64,
    NATIVE,
    windowed=(False,) * 8,
    experts=Experts(64, 2, 256, 64),
    recurrent=Recurrent(conv_kernel=4, inner_size=256, state_size=64, key_heads=2, value_heads=4),
)
PLENTY = 1 << 40


def card(
    quantisation: str = "Q8_0",
    shape: ModelShape = SMALL,
    model: str = "small",
    *,
    longest: int = 4 * NATIVE,
    reduced: bool = False,
    path: Path | None = None,
    chat_template: str = "",
) -> Card:
    """Return a card; by default of a model that YaRN stretches four times."""
    found = tensors(shape, quantisation)
    return Card(
        model=model,
        label=f"{model} {quantisation}",
        quantisation=quantisation,
        shape=shape,
        tensors=found,
        longest=longest,
        path=path,
        chat_template=chat_template,
        reduced=reduced,
        size_bytes=sum(tensor.size_bytes for tensor in found),
    )


def gpu(device_bytes: int = PLENTY, host_bytes: int = 0, disk_bytes: int = 0) -> Machine:
    """Return a machine with one card."""
    return Machine(device_bytes, host_bytes, disk_bytes, backend="cuda", size_bytes=device_bytes)


def cpu(host_bytes: int = PLENTY, disk_bytes: int = 0) -> Machine:
    """Return a machine without a card."""
    return Machine(0, host_bytes, disk_bytes, size_bytes=host_bytes)


def unified(size_bytes: int) -> Machine:
    """Return a machine whose card takes its memory from the RAM."""
    return replace(gpu(size_bytes, size_bytes), unified=True)
