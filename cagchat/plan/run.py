"""A model and how it is run: what was chosen from a plan, or recorded with a saved state."""

from __future__ import annotations

from dataclasses import dataclass, field

from cagchat.context import context_for
from cagchat.engine.protocol import EngineSettings, KvType, RopeSettings
from cagchat.models.facts import ModelFacts
from cagchat.settings import Settings

DEFAULT_BATCH = 512
PLAIN_BATCH = 64  # at most, without flash attention: 256 reads SmolLM2 4 % faster, for four times the scores


def batch_for(wanted: int, *, flash_attention: bool) -> int:
    """Return the batch when nothing is planned: what the settings want, 0 for the usual one."""
    if flash_attention:
        return wanted or DEFAULT_BATCH
    return min(wanted or PLAIN_BATCH, PLAIN_BATCH)


@dataclass(frozen=True, slots=True)
class Run:
    """A model and how it is run: `kv_type`, `rope` and `flash_attention` decide what a state's bytes mean.

    The rest decides speed and room.
    """

    model: ModelFacts
    kv_type: KvType
    rope: RopeSettings = field(default_factory=RopeSettings)
    batch: int = DEFAULT_BATCH
    gpu_layers: int = -1
    experts_in_ram: int = 0
    flash_attention: bool = True

    @property
    def longest(self) -> int:
        """How many positions the model takes with these settings, 0 for unknown."""
        return round(self.model.context_length * self.rope.yarn_factor)

    def engine_settings(self, n_tokens: int, settings: Settings) -> EngineSettings:
        """Return what the engine is started with for a prefix of `n_tokens` and a chat about it."""
        return EngineSettings(
            model=self.model.path,
            n_context=context_for(n_tokens, settings.chat_tokens, self.longest),
            n_batch=self.batch,
            kv_type=self.kv_type,
            flash_attention=self.flash_attention,
            rope=self.rope,
            threads=settings.threads,
            gpu_layers=self.gpu_layers,
            experts_in_ram=self.experts_in_ram,
        )
