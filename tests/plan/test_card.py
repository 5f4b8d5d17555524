"""What planning knows of a model from its file, and how large it counts as."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from cagchat.errors import ModelError
from cagchat.models.gguf import read_header
from cagchat.plan.card import YARN_STRETCH, active_parameters, card_of, parameters
from tests.engine_cases import model_path, smollm2
from tests.plan.cards import MIXTURE, SMALL, card


def test_card_is_what_the_header_says(models: Path) -> None:
    """Shape, tensors, size and template of a card are the file's, its name the one given, else the file's."""
    path = model_path("qwen35", models)
    header, found = read_header(path), card_of(path)
    assert found.path == path
    assert found.tensors == header.tensors
    assert found.size_bytes == path.stat().st_size
    assert found.native == header.context_length
    assert found.chat_template == header.chat_template
    assert (found.label, card_of(path, "Mine").label) == ("qwen35", "Mine")


@pytest.mark.parametrize(("model", "stretch"), [("qwen3", YARN_STRETCH), ("qwen35", YARN_STRETCH), ("gemma3", 1)])
def test_only_models_made_for_it_are_stretched(models: Path, model: str, stretch: int) -> None:
    """Architectures that YaRN is documented for reach four times their trained context, others no further than it."""
    found = card_of(model_path(model, models))
    assert found.longest == stretch * found.native


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """A file without a GGUF's header raises the reader's error."""
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelError):
        card_of(tmp_path / "x.gguf")


def test_parameters_are_the_published_ones() -> None:
    """SmolLM2-135M has 135 million parameters, all of them used."""
    found = card_of(smollm2())
    assert parameters(found) == pytest.approx(135e6, rel=0.005)
    embeddings = sum(prod(t.dimensions) for t in found.tensors if t.name == "token_embd.weight")
    assert active_parameters(found) == parameters(found) - embeddings


def test_of_a_mixture_only_the_experts_used_count() -> None:
    """A token goes through two of 64 experts, so that many more of them make a model hardly better."""
    found = card("Q8_0", MIXTURE)
    assert MIXTURE.experts is not None
    routed = sum(prod(t.dimensions) for t in found.tensors if "_exps." in t.name)
    embeddings = sum(prod(t.dimensions) for t in found.tensors if t.name == "token_embd.weight")
    dense = parameters(found) - routed - embeddings
    assert active_parameters(found) == pytest.approx(dense + routed * 2 / 64, abs=1)
    larger = card("Q8_0", replace(MIXTURE, experts=replace(MIXTURE.experts, count=128)))
    assert found.parameters < larger.parameters < 2 * found.parameters


def test_quantisation_does_not_change_the_parameters() -> None:
    """The same weights in fewer bits count the same."""
    assert card("Q8_0", SMALL).parameters == card("Q4_0", SMALL).parameters
