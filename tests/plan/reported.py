"""What llama.cpp itself says it allocates: models without weights, loaded in a child process, and its log.

Run as `python -m tests.plan.reported`, it reads cases as JSON from stdin and prints one object for each.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from cagchat.bench.synth_full import write_head
from cagchat.bench.synth_words import own_words, padded
from cagchat.engine.bindings import LogTail
from cagchat.engine.llama import LlamaEngine
from cagchat.engine.protocol import EngineSettings, KvType
from cagchat.models.shape import Experts, ModelShape, Recurrent
from cagchat.models.tensors import data_bytes, tensors

MIB = 1 << 20
PATIENCE_S = 300

LLAMA = ModelShape("llama", 4096, 256, 512, 4, (2,) * 5, 64, 64, 4096, windowed=(False,) * 5)
GEMMA3 = ModelShape(
    "gemma3",
    4096,
    256,
    512,
    4,
    (2,) * 8,
    64,
    64,
    4096,
    window=64,
    windowed=tuple(layer % 6 != 5 for layer in range(8)),
)
QWEN35 = ModelShape(
    "qwen35",
    4096,
    256,
    512,
    4,
    (0, 0, 0, 2) * 2,
    64,
    64,
    4096,
    windowed=(False,) * 8,
    recurrent=Recurrent(conv_kernel=4, inner_size=256, state_size=64, key_heads=2, value_heads=4),
)
SHAPES = {
    "llama": LLAMA,
    "qwen2": replace(LLAMA, architecture="qwen2"),
    "qwen3": replace(LLAMA, architecture="qwen3"),
    "gemma3": GEMMA3,
    "qwen35": QWEN35,
    "qwen35moe": replace(QWEN35, architecture="qwen35moe", n_feed_forward=0, experts=Experts(8, 2, 64, 64)),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A context on the model at `path`."""

    path: str
    n_context: int
    n_ubatch: int
    kv_type: KvType
    n_sequences: int
    flash_attention: bool = True


@dataclass(frozen=True, slots=True)
class Reported:
    """MiB as llama.cpp prints them, with two digits."""

    kv: float
    recurrent: float
    compute: float
    output: float


def write_hollow(path: Path, shape: ModelShape, quantisation: str = "Q8_0", *, tied: bool = False) -> Path:
    """Write a GGUF with all metadata of the shape and a hole where its weights would be."""
    infos = tensors(shape, quantisation, tied=tied)
    write_head(path, shape, quantisation, padded(own_words(), shape.n_vocab), infos)
    os.truncate(path, path.stat().st_size + data_bytes(infos))
    return path


def reported(cases: list[Case]) -> list[Reported]:
    """Return what llama.cpp allocates for each case."""
    asked = json.dumps([asdict(case) for case in cases])
    command = [sys.executable, "-m", "tests.plan.reported"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, input=asked, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    return [Reported(**found) for found in json.loads(done.stdout)]


class Watched:
    """Loads a model without its weights, in place of the engine's own loading, and keeps all of llama.cpp's log."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._listener: Any = None  # llama.cpp holds only a pointer

    def load(self, ll: Any, settings: EngineSettings, _log: LogTail) -> Any:
        """Do what `engine.allocation.load` does."""
        self._listener = ll.llama_log_callback(lambda _level, text, _data: self.log.append(text.decode()))
        ll.llama_log_set(self._listener, None)
        params = ll.llama_model_default_params()
        params.n_gpu_layers = 0
        params.no_alloc = True
        params.load_mode = ll.LLAMA_LOAD_MODE_NONE  # a mapped file is looked at, which a hole must not be
        return ll.llama_model_load_from_file(os.fsencode(settings.model), params)


def watch(case: Case) -> Reported:
    """Make the context and read its log."""
    settings = EngineSettings(
        Path(case.path),
        case.n_context,
        n_batch=case.n_ubatch,
        n_sequences=case.n_sequences,
        kv_type=case.kv_type,
        flash_attention=case.flash_attention,
        threads=1,
        gpu_layers=0,
    )
    watched = Watched()
    with mock.patch("cagchat.engine.llama.load", watched.load):
        LlamaEngine(settings).close()
    log = "".join(watched.log)

    def total(pattern: str) -> float:
        return sum(float(size) for size in re.findall(pattern + r" += +([\d.]+) MiB", log))

    return Reported(
        total("llama_kv_cache: size"),
        total("RS buffer size"),
        total("compute buffer size"),
        total("output buffer size"),
    )


if __name__ == "__main__":
    print(json.dumps([asdict(watch(Case(**case))) for case in json.load(sys.stdin)]))
