"""The llama.cpp library: the only file that imports `llama_cpp`.

Everything else is handed the bindings that `bindings` returns.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
import types
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from cagchat.engine.protocol import Buffer
from cagchat.errors import EngineError, ModelError
from cagchat.hardware.cores import usable_cores

EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"  # LLM_FFN_EXPS_REGEX in llama.cpp's common.h
GENERAL = re.compile(r"failed to load model\.?$")  # stands below the line that says why
NO_MEMORY = re.compile(r"alloc|memory", re.IGNORECASE)
BUFFER_SIZE = b" buffer size = "
BUFFER_LINE = re.compile(r"(\S+) +(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")


def bindings() -> Any:
    """Import the ctypes bindings without the package's `__init__`, which takes 90 ms more (jinja2, numpy, servers)."""
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise EngineError("llama-cpp-python is not installed.", "pip install llama-cpp-python")
        package = types.ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        package.__spec__ = spec  # who asks where the package is finds it
        sys.modules["llama_cpp"] = package
    import llama_cpp.llama_cpp

    return llama_cpp.llama_cpp


def high_level() -> Any:
    """Import the package's own high-level interface: what `cagchat bench` compares itself with."""
    import llama_cpp

    return llama_cpp


@dataclass(frozen=True, slots=True)
class System:
    """The installed library: its version, its line about processor features and devices, and whether it uses GPUs."""

    version: str
    features: str
    gpu_offload: bool


def system() -> System:
    """Load the library and ask what it was built for; no model is needed."""
    ll = bindings()
    features = ll.llama_print_system_info().decode(errors="replace").strip(" |")
    return System(package_version(), features, bool(ll.llama_supports_gpu_offload()))


class LogTail:
    """Keeps llama.cpp's last warnings and errors, and passes them on to stderr (a log file in the child process)."""

    def __init__(self, ll: Any) -> None:
        self._lines: deque[str] = deque(maxlen=20)
        self.buffers: list[Buffer] = []
        warning, continued = 3, 5  # GGML_LOG_LEVEL_WARN, ..._CONT: it goes on with the line before, whatever that was
        last = 0

        def receive(level: int, text: bytes, _user_data: object) -> None:
            nonlocal last
            last = last if level == continued else level
            # Looked for first: a model comes with thousands of lines, and the pattern took a tenth of its loading.
            if BUFFER_SIZE in text and (found := BUFFER_LINE.search(text.decode(errors="replace"))):
                device, kind, mib = found.groups()
                self.buffers.append(Buffer(device, cast(Any, kind), round(float(mib) * (1 << 20))))
            if last >= warning and (line := text.decode(errors="replace").strip()):
                self._lines.append(line)
                if sys.stderr is not None:  # print would take stdout for it
                    print(line, file=sys.stderr, flush=True)

        self._callback = ll.llama_log_callback(receive)  # kept: llama.cpp holds only a pointer
        ll.llama_log_set(self._callback, None)

    def because(self) -> str:
        """Return ": the last line that says why", or nothing."""
        why = [line for line in self._lines if not GENERAL.search(line)] or self._lines
        return f": {why[-1].rstrip('.')}" if why else ""


def load_model(ll: Any, path: Path, params: Any, log: LogTail) -> Any:
    """Load a model, or raise `ModelError` with the last thing llama.cpp said."""
    model = ll.llama_model_load_from_file(os.fsencode(path), params)
    if model:
        return model
    hint = "Fetch the file again, or choose another with --model."
    if NO_MEMORY.search(log.because()):
        hint = "Close other programs, choose a smaller model with --model, or lower --gpu-layers if it is the GPU's."
    raise ModelError(f"llama.cpp cannot load {path}{log.because()}.", hint)


class _BufferOverride(ctypes.Structure):
    """llama_model_tensor_buft_override, which the bindings leave out."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def expert_overrides(n_layers: int) -> Any:
    """Return the NULL-terminated array that keeps the experts of the first layers in the processor's memory."""
    from llama_cpp._ggml import libggml

    cpu = libggml.ggml_backend_cpu_buffer_type
    cpu.restype = ctypes.c_void_p
    rules = [_BufferOverride(rf"blk\.{layer}{EXPERTS}".encode(), cpu()) for layer in range(n_layers)]
    return (_BufferOverride * (n_layers + 1))(*rules)


def threads_for(asked: int, cores: int = 0) -> int:
    """Return how many threads to use when `asked` are wanted, 0 for the default: one less than the cores.

    Never more than there are `cores` (0: as many as this process may use): llama.cpp's threads spin, and on busy cores
    they are 100 times slower, or stand.
    """
    cores = cores or usable_cores()
    return min(asked, cores) if asked else max(1, cores - 1)


def package_version() -> str:
    """Read the package's version from its source: importing it, or its metadata, takes longer than a restore."""
    text = (Path(cast(Any, sys.modules["llama_cpp"]).__path__[0]) / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'__version__ = "([^"]+)"', text)
    return match[1] if match else "unknown"
