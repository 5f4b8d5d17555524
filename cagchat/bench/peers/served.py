"""The ways that are servers: `llama_cpp.server` with its disk cache, llama-server with its slot saved and restored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cagchat.bench.memory import peak_of_family
from cagchat.bench.peers.client import HOST, Server, free_port
from cagchat.bench.peers.found import SLOTS, Found
from cagchat.bench.peers.job import ANSWER_TOKENS, Here, Job, Outcome, Prompts, Step, answer_all
from cagchat.engine.blob import GGML_TYPES

LAUNCHERS = Path(__file__).parent
ROOM_BYTES = 1 << 40
STATE = "book.bin"
FORCED = 100.0  # added to the logit of the only token that may be answered


def run(job: Job, found: Found, began: Callable[[], float]) -> Outcome:
    """Start the server, let it read the book or take it back, and ask it. Seconds run from when `began` is called."""
    return package_server(job, found, began()) if job.way == "server" else slot_server(job, found, began())


def package_server(job: Job, found: Found, began: float) -> Outcome:
    """Ask `llama_cpp.server`, which keeps every prompt and answer in a cache on disk; it takes texts only."""
    port, folder = free_port(), Path(job.folder)
    notes = folder / "decoded.txt"
    notes.unlink(missing_ok=True)
    settings = {
        "model": job.model,
        "n_ctx": job.n_context,
        "n_batch": job.n_batch,
        "n_ubatch": job.n_batch,
        "n_threads": job.threads,
        "n_threads_batch": job.threads,
        "n_gpu_layers": job.gpu_layers,
        "flash_attn": job.flash_attention,
        "type_k": GGML_TYPES[job.kv_type],
        "type_v": GGML_TYPES[job.kv_type],
        "cache": True,
        "cache_type": "disk",
        "cache_size": ROOM_BYTES,
        "verbose": False,
        "host": HOST,
        "port": port,
    }
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    launcher = str(LAUNCHERS / "launch_package.py")
    command = [found.python, "-P", launcher, str(notes), str(int(job.fast_kernels)), *options]
    prompts = Prompts(job.book_text, job.opening_text, job.body_texts)
    forced = {} if job.forced is None else {"logit_bias": {str(job.forced): FORCED}, "logit_bias_type": "input_ids"}
    with Server(command, folder, port, ready="/v1/models") as server:
        if job.phase == "read":
            server.post("/v1/completions", {"prompt": job.book_text, "max_tokens": 1, "temperature": 0})

        def ask(step: Step, here: Here) -> int:
            body = {"prompt": prompts.take(step), "max_tokens": ANSWER_TOKENS, "temperature": 0, **forced}
            texts = []
            for event in server.stream("/v1/completions", body):
                here()
                texts.append(event["choices"][0]["text"])
            prompts.add("".join(texts))
            return evaluated(notes, len(job.book))

        return Outcome(answer_all(ask, began), peak_of_family(server.pid))


def evaluated(notes: Path, n_book: int) -> int:
    """Return how many tokens at positions of the book stand in a launcher's notes, and empty them."""
    batches = [(int(first), int(count)) for first, count in map(str.split, notes.read_text().splitlines())]
    with notes.open("r+b") as file:
        file.truncate()
    return sum(max(0, min(first + count, n_book) - first) for first, count in batches)


def slot_server(job: Job, found: Found, began: float) -> Outcome:
    """Ask llama-server, whose slot is saved when it holds the book and nothing else, and restored after a restart."""
    port, folder = free_port(), Path(job.folder)
    prompts = Prompts(job.book, job.opening, job.bodies)
    common: dict[str, Any] = {"cache_prompt": True, "id_slot": 0, "temperature": 0}
    if job.forced is not None:
        common["logit_bias"] = [[job.forced, FORCED]]
    with Server(slot_command(job, found, port), folder, port, ready="/health") as server:
        if job.phase == "read":
            server.post("/completion", {**common, "prompt": job.book, "n_predict": 0})
            read = len(job.book)
            server.post("/slots/0?action=save", {"filename": STATE})
        else:
            read = 0
            server.post("/slots/0?action=restore", {"filename": STATE})

        def ask(step: Step, here: Here) -> int:
            nonlocal read
            body = {**common, "prompt": prompts.take(step), "n_predict": ANSWER_TOKENS, "return_tokens": True}
            tokens: list[int] = []
            reused = 0
            for event in server.stream("/completion", body):
                here()
                tokens += event["tokens"]
                reused = event.get("timings", {}).get("cache_n", reused)
            prompts.add(tokens)
            count, read = read + max(0, len(job.book) - reused), 0
            return count

        return Outcome(answer_all(ask, began), peak_of_family(server.pid))


def slot_command(job: Job, found: Found, port: int) -> list[str]:
    """Return what starts llama-server: the package that has it as a library, or its own program."""
    own = job.way == "slots_own"
    if found.versions.get(SLOTS):
        settings = {
            "model": job.model,
            "n_ctx": job.n_context,
            "n_threads": job.threads,
            "n_gpu_layers": job.gpu_layers,
            "kv_type": GGML_TYPES[job.kv_type],
            "n_parallel": 1,
            "slot_save_path": f"{job.folder}/",
            "no_extra_bufts": not job.fast_kernels,
            "warmup": False,
            "fit_params": False,
            "endpoint_slots": True,
            "hostnames": [HOST],
            "port": port,
        }
        if not own:
            settings |= {"n_batch": job.n_batch, "n_ubatch": job.n_batch, "flash_attn": job.flash_attention}
        return [found.python, "-P", str(LAUNCHERS / "launch_slots.py"), json.dumps(settings)]
    options = {
        "--model": job.model,
        "--ctx-size": job.n_context,
        "--threads": job.threads,
        "--threads-batch": job.threads,
        "--n-gpu-layers": job.gpu_layers,
        "--cache-type-k": job.kv_type,
        "--cache-type-v": job.kv_type,
        "--parallel": 1,
        "--slot-save-path": job.folder,
        "--fit": "off",
        "--host": HOST,
        "--port": port,
    }
    if not own:
        flash = "on" if job.flash_attention else "off"
        options |= {"--batch-size": job.n_batch, "--ubatch-size": job.n_batch, "--flash-attn": flash}
    flags = ["--no-warmup", *([] if job.fast_kernels else ["--no-repack"])]
    return [found.llama_server, *(str(part) for pair in options.items() for part in pair), *flags]
