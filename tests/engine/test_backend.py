"""Where engines come from: what belongs to the engine without a model and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.engine.backend import FAKE_MODEL, FakeBackend
from cagchat.errors import ModelError
from tests.reading_cases import SETTINGS


def test_the_fake_does_not_take_a_real_model(tmp_path: Path) -> None:
    """A model's file that the settings name is none of the fake's: a state made with it is not taken for its own."""
    model = tmp_path / "model.gguf"
    model.touch()
    backend = FakeBackend()
    settings = replace(SETTINGS, model=str(model))
    assert backend.named_model(settings) is None
    assert [card.path for card in backend.cards(settings)] == [Path(FAKE_MODEL)]
    with pytest.raises(ModelError, match="model for llama"):
        backend.facts(model)


def test_the_fake_takes_any_other_name() -> None:
    """A name without a file stands for another model of the fake's."""
    backend = FakeBackend()
    settings = replace(SETTINGS, model="other.gguf")
    assert backend.named_model(settings) == Path("other.gguf")
    assert backend.facts(Path("other.gguf")).tensor_digest != backend.facts(Path(FAKE_MODEL)).tensor_digest
