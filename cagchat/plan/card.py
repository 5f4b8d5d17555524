"""A model that could read a book: what planning needs to know of it, whether its file is here or not."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path

from cagchat.models.gguf import TensorInfo, read_any_header
from cagchat.models.shape import ModelShape, shape_of

YARN_STRETCH = 4  # Qwen documents a factor of 4 for its models from Qwen2.5 on
STRETCHABLE = ("qwen2", "qwen3", "qwen3moe", "qwen35", "qwen35moe")


@dataclass(frozen=True, slots=True)
class Card:
    """One model in one quantisation.

    `model` names the weights whatever their quantisation: cards that share it are alternatives of each other, and a
    `reduced` one is smaller than what is recommended for it. `longest` is how many positions it takes, with YaRN where
    it may be stretched. `path` is None for a model that is not on this machine.
    """

    model: str
    label: str
    quantisation: str
    shape: ModelShape
    tensors: tuple[TensorInfo, ...]
    longest: int
    path: Path | None = None
    chat_template: str = ""
    reduced: bool = False
    size_bytes: int = 0

    @property
    def native(self) -> int:
        """How many positions it was trained for, 0 when it does not say."""
        return self.shape.n_context_trained

    @property
    def parameters(self) -> float:
        """How many parameters a dense model about as good has; it only orders models that nobody has ranked.

        The geometric mean of all and of those used for a token is the usual rule of thumb for mixtures of experts.
        """
        return sqrt(parameters(self) * active_parameters(self))


def card_of(path: Path, label: str = "") -> Card:
    """Describe the model in a file by its header; parts of a split model are read too. Raises `ModelError`.

    `label` is what it is called, the file's name for "".
    """
    header = read_any_header(path)
    headers = [header, *map(read_any_header, header.part_paths[1:])]
    shape = shape_of(header)
    stretch = YARN_STRETCH if shape.architecture in STRETCHABLE else 1
    return Card(
        model=str(path),
        label=label or path.stem,
        quantisation="",
        shape=shape,
        tensors=tuple(tensor for part in headers for tensor in part.tensors),
        longest=shape.n_context_trained * stretch,
        path=path,
        chat_template=header.chat_template,
        size_bytes=sum(part.size_bytes for part in headers),
    )


def parameters(card: Card) -> int:
    """Return how many numbers the model's tensors hold."""
    return sum(prod(tensor.dimensions) for tensor in card.tensors)


def active_parameters(card: Card) -> int:
    """Return how many of them one token goes through: of the experts those used, of the embeddings none."""
    experts = card.shape.experts
    share = experts.used / experts.count if experts and experts.count else 1.0
    total = 0.0
    for tensor in card.tensors:
        if tensor.name != "token_embd.weight":
            total += prod(tensor.dimensions) * (share if is_expert(tensor) else 1.0)
    return int(total)


def is_expert(tensor: TensorInfo) -> bool:
    """Tell whether a tensor holds routed experts."""
    return "_exps." in tensor.name or "_chexps." in tensor.name
