"""What the parts about files share: engines that outlive the books they are lent to, and a watch over each trial."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cagchat.engine.backend import LlamaBackend, Notify
from cagchat.engine.process import EngineProcess, TokenizerProcess
from cagchat.engine.protocol import Engine, EngineSettings, VocabularyReader
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied
from cagchat.locations import Locations

PATIENCE_S = 300.0  # far more than any trial takes on a busy machine: what takes longer hangs

Result = TypeVar("Result")


class LentEngine(EngineProcess):
    """An engine that is emptied where others end."""

    def close(self) -> None:
        for sequence in range(self.settings.n_sequences):
            self.clear(sequence)
        self.take_spans()

    def end(self) -> None:
        """End the process."""
        super().close()


class LentTokenizer(TokenizerProcess):
    """A tokenizer that is kept where others end."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        """End the process."""
        super().close()


class Lender(LlamaBackend):
    """Lends the same engine to every opening with the same settings; `deaths` counts those that had to be replaced."""

    def __init__(self, locations: Locations) -> None:
        super().__init__(locations, fast_kernels="off")
        self._engines: dict[EngineSettings, LentEngine] = {}
        self._tokenizers: dict[Path, LentTokenizer] = {}
        self.deaths = 0

    def open_tokenizer(self, model: Path) -> VocabularyReader:
        if model not in self._tokenizers:
            self._tokenizers[model] = LentTokenizer(Start("tokenizer", (model,)))
        return self._tokenizers[model]

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        settings = replace(settings, fast_kernels=False)
        if settings not in self._engines:
            self._engines[settings] = LentEngine(Start("llama", (settings,)))
        return self._engines[settings]

    def crashed(self, engine: Engine, died: EngineDied) -> str:
        self.deaths += 1
        self._engines = {settings: kept for settings, kept in self._engines.items() if kept is not engine}
        return super().crashed(engine, died)

    def end(self) -> None:
        """End every process."""
        for engine in self._engines.values():
            engine.end()
        for tokenizer in self._tokenizers.values():
            tokenizer.end()


def watched(work: Callable[[], Result]) -> Future[Result]:
    """Do something on a thread of its own and return what became of it; it is not done after `PATIENCE_S`: it hangs."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # whatever it is, the one who asked judges it
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return future
