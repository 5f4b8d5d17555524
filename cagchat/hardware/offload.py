"""Whether the installed llama.cpp can use the GPUs that are here: a build without them is a common mistake."""

from __future__ import annotations

from dataclasses import dataclass

from cagchat.hardware.detect import Hardware

PACKAGE = "llama-cpp-python"


@dataclass(frozen=True, slots=True)
class Offload:
    """One line about putting layers on a GPU; `mend` is the command that makes it possible where it is not.

    `works` says that layers can go to a GPU that is here, `wasted` that only the build stands in the way.
    """

    works: bool
    text: str
    mend: str = ""
    wasted: bool = False


def judge(hardware: Hardware, *, can_offload: bool, version: str = "") -> Offload:
    """Compare what llama.cpp was built for with what is here; `version` is the one to install again."""
    names = " and ".join(gpu.name for gpu in hardware.gpus)
    if hardware.gpus and can_offload:
        return Offload(True, f"This build of llama.cpp can put layers on {names}.")
    if hardware.gpus:
        metal = hardware.gpus[0].backend == "metal"
        needs = "building for Metal needs nothing" if metal else "building for CUDA needs its toolkit (nvcc)"
        text = f"This build of llama.cpp computes on the processor only and leaves {names} idle; {needs}."
        return Offload(False, text, rebuild("" if metal else "-DGGML_CUDA=on", version), wasted=True)
    others = [maker for maker in hardware.cards if maker != "NVIDIA"]
    if can_offload:
        return Offload(bool(others), "This build of llama.cpp can put layers on a GPU.")
    if others:
        text = f"This build of llama.cpp computes on the processor only; a GPU by {others[0]} is here, for Vulkan."
        return Offload(False, text, rebuild("-DGGML_VULKAN=on", version), wasted=True)
    return Offload(False, "This build of llama.cpp computes on the processor only, as fits a machine without a GPU.")


def rebuild(flag: str, version: str) -> str:
    """Return the command that compiles llama.cpp anew; on a Mac it takes Metal in without a flag."""
    variable = f'CMAKE_ARGS="{flag}" ' if flag else ""
    wanted = f'"{PACKAGE}=={version}"' if version else PACKAGE
    return f"{variable}pip install --force-reinstall --no-cache-dir --no-binary {PACKAGE} {wanted}"
