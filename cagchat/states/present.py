"""The key that a saved state's book would have if it were read now."""

from __future__ import annotations

from dataclasses import replace

from cagchat.engine.rotation import rotated
from cagchat.models.facts import ModelFacts
from cagchat.prompt import PROMPT_VERSION, instructions_digest, template_digest
from cagchat.states.key import FORMAT_VERSION, StateKey


def present_key(key: StateKey, facts: ModelFacts | None, instructions: str) -> StateKey:
    """Return the key that the same book would have if it were read now with the same KV type.

    Without facts about the model, what depends on it is taken to be as it was. `instructions` is the setting of that
    name.
    """
    key = replace(
        key,
        format_version=FORMAT_VERSION,
        prompt_version=PROMPT_VERSION,
        instructions=instructions_digest(instructions),
        rotated_kv=rotated(key.kv_type),
    )
    if facts is None:
        return key
    return replace(
        key,
        model_weights=facts.tensor_digest,
        model_metadata=facts.meaning_digest,
        chat_template=template_digest(facts.chat_template),
    )
