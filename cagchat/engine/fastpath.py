"""Which processor path llama.cpp may take on this machine: tried once in a process that may crash, then remembered.

With `fast_kernels` llama.cpp repacks weights for the processor. On some (an x86 with AMX, built by GCC 12) that path
ends in SIGSEGV at the first decode. The verdict is kept per processor, llama.cpp library and model file, in a cache
that can be deleted; `cagchat doctor` shows it.
"""

from __future__ import annotations

import contextlib
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from cagchat.engine.child import Spare
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import CHAT, EngineSettings
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied, ModelError, StorageError
from cagchat.files import private_folder, write_bytes

TRIAL_TOKENS = 64  # a batch large enough for the matrix kernels; single tokens take another path, so one follows
NATIVE_FAULTS = ("SIGSEGV", "SIGILL", "SIGBUS", "SIGFPE")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the fast kernels work here for one model: `reason` is empty or the signal that ended the trial."""

    machine: str
    model: str
    works: bool
    reason: str = ""


class Verdicts:
    """The remembered verdicts: a JSON file; a damaged one is as if it were not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Verdict]:
        """Return every verdict, the oldest first."""
        try:
            return [Verdict(**item) for item in json.loads(self._path.read_bytes())]
        except (OSError, ValueError, TypeError, RecursionError):
            return []

    def find(self, machine: str, model: str) -> Verdict | None:
        """Return what is known about this machine and model."""
        return next((v for v in self.all() if (v.machine, v.model) == (machine, model)), None)

    def add(self, verdict: Verdict) -> None:
        """Remember a verdict in place of an earlier one, where the cache can be written: else it is found anew."""
        others = [v for v in self.all() if (v.machine, v.model) != (verdict.machine, verdict.model)]
        with contextlib.suppress(StorageError):
            private_folder(self._path.parent)
            write_bytes(self._path, json.dumps([asdict(v) for v in [*others, verdict]], indent=1).encode())

    def forget(self) -> None:
        """Forget all verdicts, so that the fast path is tried again."""
        self._path.unlink(missing_ok=True)


def machine_name() -> str:
    """Name the processor and the installed llama.cpp library: what a verdict is valid for."""
    spec = find_spec("llama_cpp")
    folders = (spec.submodule_search_locations if spec else None) or ()
    libraries = sorted(path for folder in folders for path in Path(folder).glob("lib/*ggml-cpu*"))
    stamp = f"{libraries[0].stat().st_size}-{libraries[0].stat().st_mtime_ns}" if libraries else "no library"
    return f"{processor_name()}, library {stamp}"


def processor_name() -> str:
    """Name the processor as the system does."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Model", "CPU part")):
                return f"{platform.machine()} {line.partition(':')[2].strip()}"
    except OSError:
        pass
    return f"{platform.machine()} {platform.processor()}".strip()


def model_name(model: Path) -> str:
    """Name a model file by name and size: kernels depend on its tensor types. Raises `ModelError` when it is gone."""
    try:
        return f"{model.name} {model.stat().st_size}"
    except OSError as error:
        raise ModelError(f"{model} cannot be read: {error.strerror}.", "Choose a model with --model PATH.") from error


Starter = Callable[[EngineSettings, Spare | None], EngineProcess]


def start_llama(settings: EngineSettings, spare: Spare | None) -> EngineProcess:
    """Start llama.cpp in a child process."""
    return EngineProcess(Start("llama", (settings,)), spare)


def open_engine(
    settings: EngineSettings,
    verdicts: Verdicts,
    notify: Callable[[str], None],
    start: Starter = start_llama,
    spare: Spare | None = None,
) -> EngineProcess:
    """Start an engine on the fast path if it is known to work or not yet known, else on the safe one.

    An unknown fast path is tried before anything depends on it; when the trial crashes, that is remembered and the
    safe path is taken. `notify` hears about it once.
    """
    machine, model = machine_name(), model_name(settings.model)
    known = verdicts.find(machine, model)
    if known is not None:
        return start(replace(settings, fast_kernels=known.works), spare)
    engine = start(replace(settings, fast_kernels=True), spare)
    try:
        _try(engine)
    except EngineDied as died:
        engine.close()
        if died.reason not in NATIVE_FAULTS:
            raise
        verdicts.add(Verdict(machine, model, works=False, reason=died.reason))
        notify(f"llama.cpp's fast kernels crash on this processor ({died.reason}); the safe ones are used from now on.")
        return start(replace(settings, fast_kernels=False), None)
    except BaseException:
        engine.close()
        raise
    verdicts.add(Verdict(machine, model, works=True))
    return engine


def _try(engine: EngineProcess) -> None:
    tokens = [i % engine.info.vocabulary.n_vocab for i in range(TRIAL_TOKENS)]
    engine.logits(CHAT, tokens[: engine.settings.n_batch])
    engine.logits(CHAT, tokens[:1])
    engine.clear(CHAT)
    engine.take_spans()


def record_crash(settings: EngineSettings, verdicts: Verdicts, died: EngineDied) -> bool:
    """Remember a native fault of an engine that ran on the fast path; True when that changes what is used next."""
    if not settings.fast_kernels or died.reason not in NATIVE_FAULTS:
        return False
    verdicts.add(Verdict(machine_name(), model_name(settings.model), works=False, reason=died.reason))
    return True
