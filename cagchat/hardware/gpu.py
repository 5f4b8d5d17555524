"""A GPU as plans and reports see it, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or a MIG instance of one, that llama.cpp could put layers on.

    `total_bytes` is what it may hold; `unified` says that this is the machine's own memory, not memory beside it.
    `load_percent` is None where the driver does not say (MIG), `compute` is CUDA's capability, as (9, 0). `index` is
    NVML's number of the whole GPU.
    """

    name: str
    total_bytes: int
    free_bytes: int
    backend: Literal["cuda", "metal"] = "cuda"
    index: int = 0
    uuid: str = ""
    driver: str = ""
    compute: tuple[int, int] | None = None
    load_percent: int | None = None
    mig: bool = False
    unified: bool = False

    @property
    def used_bytes(self) -> int:
        """What is taken, by whomever; what the driver keeps for itself counts."""
        return self.total_bytes - self.free_bytes


@dataclass(frozen=True, slots=True)
class NoGpu:
    """Why there is no GPU to use: one sentence; `mend` is what would change that, empty when nothing would."""

    reason: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """GPUs, or why there are none: `none` is set exactly when `gpus` is empty."""

    gpus: tuple[Gpu, ...] = ()
    none: NoGpu | None = None
