"""The machine: processor, memory, GPUs, and llama.cpp as it was built for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cagchat.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from cagchat.engine.bindings import System
    from cagchat.engine.fastpath import Verdict
    from cagchat.hardware.detect import Hardware
    from cagchat.hardware.gpu import Gpu
    from cagchat.settings import Settings


def check_processor(settings: Settings, hardware: Hardware) -> Iterator[Finding]:
    """Say what computes, and with how many threads."""
    from cagchat.engine.bindings import threads_for

    threads = threads_for(settings.threads, hardware.cores)
    cores = f"{hardware.cores} core{'s' if hardware.cores > 1 else ''}"
    used = f"{threads} thread{'s' if threads > 1 else ''} used"
    yield Finding("ok", "processor", f"{hardware.processor}, {cores}, {used}")
    if settings.threads > threads:
        text = (
            f"The setting asks for {settings.threads:,} threads; more than there are cores would wait for each other."
        )
        yield Finding("note", "processor", text, "cagchat config unset threads")


def check_memory(hardware: Hardware) -> Iterator[Finding]:
    """Say how much memory there is, and whether a container may use all of it."""
    from cagchat.units import size

    ram = hardware.ram
    if ram is None:
        yield Finding("note", "memory", "this system does not say how much there is")
        return
    limit = f" (the limit of this container; the machine has {size(ram.machine_bytes)})" if ram.limit_bytes else ""
    yield Finding("ok", "memory", f"{size(ram.total_bytes)}{limit}, {size(ram.available_bytes)} of it free")


def check_gpus(hardware: Hardware) -> Iterator[Finding]:
    """Say what each GPU has and what is free of it, or why there is none."""
    for gpu in hardware.gpus:
        yield Finding("ok", "GPU", describe(gpu))
    if hardware.no_gpu is not None:
        none = hardware.no_gpu
        yield Finding("note" if none.mend else "ok", "GPU", f"none: {none.reason}", none.mend)


def describe(gpu: Gpu) -> str:
    """Return a GPU's line."""
    from cagchat.units import size

    memory = "memory shared with the processor" if gpu.unified else "VRAM"
    parts = [gpu.name, f"{size(gpu.free_bytes)} of {size(gpu.total_bytes)} {memory} free"]
    if gpu.load_percent is not None:
        parts.append(f"load {gpu.load_percent} %")
    if gpu.mig:
        parts.append("a MIG instance")
    if gpu.compute:
        parts.append("compute capability {}.{}".format(*gpu.compute))
    if gpu.driver:
        parts.append(f"driver {gpu.driver}")
    return ", ".join(parts)


def required_library() -> str:
    """Return the version of llama-cpp-python that cagchat asks for; empty when cagchat is not an installed package."""
    import re
    from importlib.metadata import PackageNotFoundError, requires

    try:
        wanted = requires("cagchat") or []
    except PackageNotFoundError:
        return ""
    found = (re.match(r"llama[-_]cpp[-_]python\s*==\s*([\w.]+)", requirement) for requirement in wanted)
    return next((match[1] for match in found if match), "")


def load_library() -> System:
    """Load llama.cpp in a process of its own. Raises `EngineError`, or `EngineDied` with the last lines it wrote."""
    from cagchat.engine.child import Child
    from cagchat.engine.wire import Start

    child = Child(Start("system", ()))
    try:
        system: System = child.greeting()
        return system
    finally:
        child.close()


def check_library(
    hardware: Hardware, load: Callable[[], System] = load_library, wanted: str | None = None
) -> Iterator[Finding]:
    """Say whether llama.cpp can be loaded, and whether it can use these GPUs; `wanted` is the version asked for."""
    from cagchat.errors import EngineDied, EngineError
    from cagchat.hardware.offload import judge

    wanted = required_library() if wanted is None else wanted
    install = f"pip install --force-reinstall llama-cpp-python{f'=={wanted}' if wanted else ''}"
    try:
        system = load()
    except EngineDied as died:
        last = f" {died.log_lines[-1]}" if died.log_lines else ""
        yield Finding("problem", "llama.cpp", f"llama-cpp-python cannot be loaded ({died.reason}).{last}", install)
        return
    except EngineError as error:
        yield Finding("problem", "llama.cpp", error.message, install)
        return
    yield Finding("ok", "llama.cpp", f"llama-cpp-python {system.version}; {system.features}")
    if wanted and system.version != wanted:
        yield Finding(
            "note", "llama.cpp", f"This cagchat was checked with {wanted}: saved states are proved anew.", install
        )
    offload = judge(hardware, can_offload=system.gpu_offload, version=wanted or system.version)
    yield Finding("problem" if offload.wasted else "ok", "offload", offload.text, offload.mend)


def check_kernels(policy: str, verdicts: list[Verdict], machine: str) -> Iterator[Finding]:
    """Say what is remembered about llama.cpp's fast kernels here."""
    if policy != "auto":
        yield Finding("note", "kernels", f"the fast ones are switched {policy} by the setting fast_kernels")
        return
    here = [verdict for verdict in verdicts if verdict.machine == machine]
    if not here:
        yield Finding("ok", "kernels", "the fast ones were not tried here yet")
    for verdict in here:
        if verdict.works:
            yield Finding("ok", "kernels", f"the fast ones work with {verdict.model} bytes")
        else:
            text = f"the fast ones crashed ({verdict.reason}) with {verdict.model} bytes; the safe ones are used"
            yield Finding("note", "kernels", text, "cagchat doctor --retry-kernels")
