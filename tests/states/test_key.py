"""The key of a state: what makes two states interchangeable, and what is said when they are not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from cagchat.states.key import NAMES, StateKey, differences, mismatch

KEY = StateKey(
    format_version=1,
    prompt_version=1,
    model_weights="a" * 32,
    model_metadata="b" * 32,
    chat_template="c" * 32,
    instructions="d" * 32,
    token_ids="e" * 32,
    n_tokens=1000,
    kv_type="f16",
    flash_attention=True,
    yarn_factor=1.0,
    yarn_original_context=0,
    rotated_kv=False,
)
FIELDS = [field.name for field in fields(StateKey)]


def changed(*names: str) -> StateKey:
    """Return the key with another value in these fields."""
    others: dict[type, object] = {int: 77, str: "another", float: 4.0}
    values = {name: getattr(KEY, name) for name in names}
    return replace(
        KEY,
        **{n: (not v if isinstance(v, bool) else others[type(v)]) for n, v in values.items()},  # type: ignore[arg-type]  # by name
    )


def test_equal_keys_fit() -> None:
    """A state with the same key is used without a word."""
    assert mismatch(KEY, replace(KEY)) is None
    assert differences(KEY, replace(KEY)) == ()


@pytest.mark.parametrize("name", FIELDS)
def test_any_other_value_is_a_mismatch_that_names_its_field(name: str) -> None:
    """Each field alone is enough, and the error says which one in words."""
    error = mismatch(KEY, changed(name))
    assert error is not None
    assert error.field == name
    assert NAMES[name] in error.message
    assert error.hint


def test_every_field_has_a_name() -> None:
    """There are words for each field, and for nothing else."""
    assert list(NAMES) == FIELDS


def test_several_differences_are_counted() -> None:
    """The first field in order is named, and the others are counted."""
    error = mismatch(KEY, changed("kv_type", "yarn_factor", "n_tokens"))
    assert error is not None
    assert error.field == "n_tokens"
    assert "and 2 more" in error.message
    assert differences(KEY, changed("kv_type", "n_tokens")) == ("n_tokens", "kv_type")


def test_values_are_shown() -> None:
    """A value that a reader can understand is shown, before and now."""
    error = mismatch(KEY, replace(KEY, kv_type="q8_0"))
    assert error is not None
    assert "(f16, now q8_0)" in error.message


def test_digests_are_not_shown() -> None:
    """A digest says nothing to a reader, so it is left out."""
    error = mismatch(KEY, replace(KEY, model_weights="f" * 32))
    assert error is not None
    assert "aaaa" not in error.message
    assert "ffff" not in error.message
