"""Where engines come from: the real ones in child processes, or the fake."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cagchat.engine.child import Spare
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.fastpath import Verdicts, open_engine, record_crash
from cagchat.engine.process import EngineProcess, TokenizerProcess
from cagchat.engine.protocol import BOOK, Engine, EngineSettings, VocabularyReader
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied
from cagchat.locations import Locations
from cagchat.models.facts import ModelFacts, facts
from cagchat.models.find import resolve_model
from cagchat.settings import Settings

Notify = Callable[[str], None]


class Backend(Protocol):
    """Finds models and starts engines."""

    def model(self, settings: Settings) -> ModelFacts:
        """Return the facts about the model that the settings name. Raises `ModelError`."""
        ...

    def open_tokenizer(self, model: Path) -> VocabularyReader:
        """Load a model's tokenizer alone."""
        ...

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        """Start an engine; `notify` hears sentences that the reader should know."""
        ...

    def crashed(self, engine: Engine, died: EngineDied) -> str:
        """Take note of an engine that died; return a sentence about what will be different next time, or ""."""
        ...


class LlamaBackend:
    """Runs llama.cpp in child processes."""

    def __init__(self, locations: Locations, fast_kernels: str = "auto", spare: Spare | None = None) -> None:
        """Keep what is learnt about models and this processor in the cache folder.

        `fast_kernels` is "on", "off", or "auto" for on where a trial in a process of its own survives. `spare` is a
        child that the first engine may use; its owner closes it if none does.
        """
        self._spare = spare
        self._locations = locations
        self._policy = fast_kernels
        self._verdicts = Verdicts(locations.cache / "kernels.json")

    @property
    def verdicts(self) -> Verdicts:
        """What is known about the fast path."""
        return self._verdicts

    def model(self, settings: Settings) -> ModelFacts:
        """See the protocol."""
        path = resolve_model(settings.model, self._locations.models)
        return facts(path, self._locations.cache / "models.json")

    def open_tokenizer(self, model: Path) -> VocabularyReader:
        """See the protocol."""
        return TokenizerProcess(Start("tokenizer", (model,)))

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        """See the protocol."""
        if self._policy == "auto":
            return open_engine(settings, self._verdicts, notify, spare=self._spare)
        return EngineProcess(Start("llama", (replace(settings, fast_kernels=self._policy == "on"),)), self._spare)

    def crashed(self, engine: Engine, died: EngineDied) -> str:
        """See the protocol."""
        try:
            settings = engine.settings
        except EngineDied:
            return ""
        if self._policy == "auto" and record_crash(settings, self._verdicts, died):
            return f"The fast kernels ended in {died.reason}; the safe ones are used from now on."
        return ""


class FakeBackend:
    """Serves the fake engine, in this process or (`own_process`) in a child as the real one is."""

    def __init__(
        self,
        script: FakeScript | None = None,
        *,
        own_process: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.script = script or FakeScript()
        self._own_process = own_process
        self._sleep = sleep

    def model(self, settings: Settings) -> ModelFacts:
        """See the protocol."""
        return ModelFacts(
            path=Path(settings.model or "fake.gguf"),
            name="Fake model of bytes",
            architecture="fake",
            tensor_digest=f"fake {settings.model}",
            meaning_digest="fake",
            chat_template=self.script.chat_template,
            context_length=self.script.context_trained,
            size_bytes=0,
        )

    def open_tokenizer(self, model: Path) -> VocabularyReader:
        """See the protocol."""
        return FakeEngine(EngineSettings(model=model, n_context=BOOK), self.script)

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        """See the protocol."""
        if self._own_process:
            return EngineProcess(Start("fake", (settings, self.script)))
        return FakeEngine(settings, self.script, self._sleep)

    def crashed(self, engine: Engine, died: EngineDied) -> str:
        """See the protocol."""
        return ""
