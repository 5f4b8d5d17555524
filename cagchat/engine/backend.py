"""Where engines come from: the real ones in child processes, or the fake."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cagchat.engine.child import Spare
from cagchat.engine.fastpath import Verdicts, open_engine, record_crash
from cagchat.engine.library import can_offload
from cagchat.engine.process import EngineProcess, TokenizerProcess
from cagchat.engine.protocol import BOOK, Engine, EngineSettings, VocabularyReader
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied, ModelError
from cagchat.locations import Locations
from cagchat.models.facts import ModelFacts, facts
from cagchat.plan.run import Run
from cagchat.settings import Settings

if TYPE_CHECKING:
    # Planning takes 50 ms to load and the fake 5, which reopening a book need not wait for.
    from cagchat.engine.fake import FakeScript
    from cagchat.plan.card import Card
    from cagchat.plan.choose import Machine, Plan
    from cagchat.plan.planner import Planner
    from cagchat.plan.rates import Estimate, Rate

Notify = Callable[[str], None]

FAKE_MODEL = "fake.gguf"


class Backend(Protocol):
    """Finds models, says what this machine offers them, and starts engines."""

    def named_model(self, settings: Settings) -> Path | None:
        """Return the model that the settings name, None when they leave it open. Raises `ModelError`."""
        ...

    def cards(self, settings: Settings, model: Path | None = None) -> tuple[Card, ...]:
        """Return the models to plan with, best first; only `model`, or the one the settings name, if there is one.

        Raises `ModelError` when there is none.
        """
        ...

    def offloads(self, settings: Settings) -> bool:
        """Tell whether any layer could go to a GPU, if there is one."""
        ...

    def machine(self, settings: Settings) -> Machine:
        """Return what a plan may use."""
        ...

    def facts(self, model: Path) -> ModelFacts:
        """Return what identifies a model; its whole file is read the first time. Raises `ModelError`."""
        ...

    def better(self, plan: Plan, settings: Settings) -> str:
        """Return a sentence about a model that is not here and would serve better, or ""."""
        ...

    def estimate(self, run: Run, start: int, end: int) -> Estimate | None:
        """Return how long reading tokens `start` to `end` should take, None when nothing is known about it."""
        ...

    def observe(self, run: Run, rates: Iterable[Rate]) -> None:
        """Remember how fast a reading went. Raises `StorageError`."""
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

    def __init__(
        self,
        locations: Locations,
        fast_kernels: str = "auto",
        spare: Spare | None = None,
        planner: Planner | None = None,
    ) -> None:
        """Keep what is learnt about models and this processor in the cache folder.

        `fast_kernels` is "on", "off", or "auto" for on where a trial in a process of its own survives. `spare` is a
        child that the first engine may use; its owner closes it if none does.
        """
        self._spare = spare
        self._planner = planner
        self._locations = locations
        self._policy = fast_kernels
        self._verdicts = Verdicts(locations.cache / "kernels.json")

    @property
    def planner(self) -> Planner:
        """What is known about models and machine."""
        if self._planner is None:
            from cagchat.plan.planner import Planner

            self._planner = Planner(self._locations)
        return self._planner

    def named_model(self, settings: Settings) -> Path | None:
        """See the protocol."""
        if not settings.model:
            return None
        with suppress(OSError, RuntimeError):  # what is wrong is said below
            if (path := Path(settings.model).expanduser()).is_file():  # mostly; the catalogue need not be loaded then
                return path.absolute()
        from cagchat.models.find import resolve_model

        folders = self._locations
        return resolve_model(settings.model, folders.models, user_file=folders.catalogue_file).absolute()

    def cards(self, settings: Settings, model: Path | None = None) -> tuple[Card, ...]:
        """See the protocol."""
        return self.planner.here(settings, model)

    def offloads(self, settings: Settings) -> bool:
        """See the protocol."""
        return settings.gpu_layers != 0 and can_offload()

    def machine(self, settings: Settings) -> Machine:
        """See the protocol."""
        return self.planner.machine(settings)

    def facts(self, model: Path) -> ModelFacts:
        """See the protocol."""
        return facts(model, self._locations.cache / "models.json")

    def better(self, plan: Plan, settings: Settings) -> str:
        """See the protocol."""
        return self.planner.better(plan, settings)

    def estimate(self, run: Run, start: int, end: int) -> Estimate | None:
        """See the protocol."""
        return self.planner.estimate(run, start, end)

    def observe(self, run: Run, rates: Iterable[Rate]) -> None:
        """See the protocol."""
        self.planner.observe(run, rates)

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
        from cagchat.engine.fake import FakeScript

        self.script = script or FakeScript()
        self._own_process = own_process
        self._sleep = sleep

    def named_model(self, settings: Settings) -> Path | None:
        """See the protocol. A file is a model of llama.cpp's, and what was read with it no state of this engine's."""
        return Path(settings.model) if settings.model and not is_file(Path(settings.model)) else None

    def cards(self, settings: Settings, model: Path | None = None) -> tuple[Card, ...]:
        """See the protocol."""
        from cagchat.models.shape import ModelShape
        from cagchat.plan.card import Card

        path = model or self.named_model(settings) or Path(FAKE_MODEL)
        trained = self.script.context_trained
        # As small as the fake is: what a plan says about it is not far from what it takes. Its attention is none that
        # could be chosen.
        shape = ModelShape("llama", 259, 8, 8, 1, (1,), 8, 8, trained, exact=False)
        return (
            Card(
                model=path.stem,
                label=path.stem,
                quantisation="",
                shape=shape,
                tensors=(),
                longest=trained,
                path=path,
                chat_template=self.script.chat_template,
            ),
        )

    def offloads(self, settings: Settings) -> bool:
        """See the protocol."""
        return False

    def machine(self, settings: Settings) -> Machine:
        """See the protocol."""
        from cagchat.plan.choose import Machine

        return Machine(device_bytes=0, host_bytes=0)

    def better(self, plan: Plan, settings: Settings) -> str:
        """See the protocol."""
        return ""

    def estimate(self, run: Run, start: int, end: int) -> Estimate | None:
        """See the protocol."""
        return None

    def observe(self, run: Run, rates: Iterable[Rate]) -> None:
        """See the protocol."""

    def facts(self, model: Path) -> ModelFacts:
        """See the protocol."""
        if is_file(model):
            raise ModelError(f"{model} is a model for llama.cpp.", "Leave out --fake to use it.")
        return ModelFacts(
            path=model,
            name="Fake model of bytes",
            architecture="fake",
            # States are found by it in UTF-8, which the name of a file need not be.
            tensor_digest=f"fake {model}".encode(errors="backslashreplace").decode(),
            meaning_digest="fake",
            chat_template=self.script.chat_template,
            context_length=self.script.context_trained,
            size_bytes=0,
        )

    def open_tokenizer(self, model: Path) -> VocabularyReader:
        """See the protocol."""
        from cagchat.engine.fake import FakeEngine

        return FakeEngine(EngineSettings(model=model, n_context=BOOK), self.script)

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        """See the protocol."""
        from cagchat.engine.fake import FakeEngine

        if self._own_process:
            return EngineProcess(Start("fake", (settings, self.script)))
        return FakeEngine(settings, self.script, self._sleep)

    def crashed(self, engine: Engine, died: EngineDied) -> str:
        """See the protocol."""
        return ""


def is_file(path: Path) -> bool:
    """Tell whether there is a file; a path that the system refuses, because it is too long, is that of none."""
    try:
        return path.is_file()
    except OSError:
        return False
