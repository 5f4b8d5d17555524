"""The model that would be used, and a trial of the engine with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.engine.backend import Backend
    from cagchat.engine.protocol import Engine, Finish, KvType
    from cagchat.hardware.detect import Hardware
    from cagchat.locations import Locations
    from cagchat.settings import Settings

TRIAL_PROMPT = "Once upon a time, in a house by the sea, there lived"
TRIAL_TOKENS = 16
TRIAL_CONTEXT = 512


def check_model(app: App, hardware: Hardware) -> Iterator[Finding]:
    """Say which model is used, from the header of its file; its weights are not read."""
    from cagchat.errors import ModelError
    from cagchat.models.find import resolve_model
    from cagchat.models.gguf import read_header
    from cagchat.units import size

    if app.fake:
        yield Finding("note", "model", "the engine without a model was asked for")
        return
    try:
        header = read_header(
            resolve_model(app.settings.model, app.locations.models, user_file=app.locations.catalogue_file)
        )
        size_bytes = sum(path.stat().st_size for path in header.part_paths)
    except ModelError as error:
        yield Finding("problem", "model", error.message, error.hint)
        return
    except OSError as error:
        yield Finding("problem", "model", f"{error.filename}: {error.strerror}.", "Fetch the missing part again.")
        return
    template = "has a chat template" if header.chat_template else "has no chat template"
    context = f"context {header.context_length:,}" if header.context_length else "context unknown"
    yield Finding("ok", "model", f"{header.name}, {header.architecture}, {size(size_bytes)}, {context}, {template}")
    yield Finding("ok", "model file", str(header.path))
    if not header.chat_template:
        yield Finding("note", "model", "Without a chat template it may not be made for conversations.")
    room = room_bytes(hardware)
    if room is not None and size_bytes > room:
        yield Finding("note", "model", f"It takes {size(size_bytes)}; there is {size(room)} of memory, VRAM included.")


def room_bytes(hardware: Hardware) -> int | None:
    """Return how much memory a model could be spread over: the machine's and that of the GPUs; None when unknown."""
    if hardware.ram is None:
        return None
    return hardware.ram.total_bytes + sum(gpu.total_bytes for gpu in hardware.gpus if not gpu.unified)


def check_engine(
    backend: Backend, settings: Settings, locations: Locations, *, fake: bool = False
) -> Iterator[Finding]:
    """Start the engine and let it continue a sentence."""
    from cagchat.engine.protocol import EngineSettings
    from cagchat.errors import CagchatError, EngineDied
    from cagchat.models.find import resolve_model
    from cagchat.plan.run import batch_for

    notices: list[str] = []
    try:
        model, flash = Path("fake.gguf"), True
        if not fake:
            model = resolve_model(settings.model, locations.models, user_file=locations.catalogue_file)
            flash = not suits_plain(model, backend, settings)
        wanted = EngineSettings(
            model=model,
            n_context=TRIAL_CONTEXT,
            n_batch=min(batch_for(settings.batch, flash_attention=flash), TRIAL_CONTEXT),
            kv_type=tried_kv_type(settings),
            flash_attention=flash,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
        )
        engine = backend.open_engine(wanted, notices.append)
    except CagchatError as error:
        yield Finding("problem", "trial", error.message, error.hint)
        return
    try:
        n_prompt, n_decoded, finish = decode(engine)
    except EngineDied as died:
        known = backend.crashed(engine, died)
        last = f" {died.log_lines[-1]}" if died.log_lines else ""
        mend = "cagchat doctor --try" if known else "Choose another model with --model PATH."
        yield Finding("problem", "trial", f"{died.message}{last} {known}".strip(), mend)
        return
    except CagchatError as error:
        yield Finding("problem", "trial", error.message, error.hint)
        return
    finally:
        engine.close()
    for notice in notices:
        yield Finding("note", "trial", notice)
    speeds = f"{per_second(n_prompt, finish.first_token_s)} reading, {per_second(n_decoded, finish.decode_s)} answering"
    attention = "" if flash else " without flash attention"
    yield Finding(
        "ok", "trial", f"the engine answers{attention}: {n_prompt} tokens read, {n_decoded} decoded; {speeds}"
    )


def tried_kv_type(settings: Settings) -> KvType:
    """Return the type of K and V in the trial: the one that is set, else f16."""
    return "f16" if settings.kv_type == "auto" else settings.kv_type


def suits_plain(model: Path, backend: Backend, settings: Settings) -> bool:
    """Tell whether a book would be read without flash attention, where memory allows. Raises `ModelError`."""
    from cagchat.models.gguf import read_header
    from cagchat.models.shape import shape_of
    from cagchat.plan.attention import plain_suits

    on_gpu = backend.machine(settings).may_have_gpu and settings.gpu_layers != 0
    return plain_suits(shape_of(read_header(model)), tried_kv_type(settings), on_gpu=on_gpu)


def decode(engine: Engine) -> tuple[int, int, Finish]:
    """Let an engine continue a sentence; return the tokens read, those decoded, and how it ended."""
    from cagchat.engine.protocol import CHAT, Finish, Sampling
    from cagchat.errors import EngineError

    prompt = engine.tokenize([TRIAL_PROMPT], special=False)[0]
    for decoded, item in enumerate(engine.generate(CHAT, prompt, Sampling(), max_tokens=TRIAL_TOKENS)):
        if isinstance(item, Finish):
            return len(prompt), decoded, item
    raise EngineError("The engine's answer had no end.", "Try again.")


def per_second(count: int, seconds: float) -> str:
    """Return a speed in tokens, in words."""
    return f"{count / seconds:,.0f} tok/s" if seconds > 0 else "no speed"
