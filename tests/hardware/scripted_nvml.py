"""An NVML that answers as a test says: GPUs, MIG instances, and errors at any call."""

# ruff: noqa: N802 - NVML's own names

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GIB = 1 << 30

NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6


class ScriptedError(Exception):
    """NVML's error: a return code."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return f"code {self.value}"


@dataclass(frozen=True)
class Memory:
    total: int
    free: int


@dataclass(frozen=True)
class Busy:
    gpu: int


@dataclass(frozen=True)
class Card:
    """A GPU or a MIG instance; `places` are those for instances, None an empty one; `fails` maps calls to codes."""

    uuid: str
    name: str = "Test GPU"
    total: int = 24 * GIB
    free: int = 20 * GIB
    load: int = 7
    compute: tuple[int, int] = (8, 9)
    mig: bool = False
    places: tuple[Card | None, ...] = ()
    ids: tuple[int, int] = (0, 0)
    fails: Mapping[str, int | Exception] = field(default_factory=dict)


class ScriptedNvml:
    """Stands in for the module `pynvml`. `fails` maps calls about no card to a return code or an error to raise."""

    NVMLError: type[Exception] = ScriptedError

    def __init__(self, *cards: Card, fails: Mapping[str, int | Exception] | None = None) -> None:
        self.cards = list(cards)
        self.fails = dict(fails or {})
        self.opened = 0

    def nvmlInit(self) -> None:
        self._check("nvmlInit")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self._check("nvmlShutdown")
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        self._check("nvmlSystemGetDriverVersion")
        return "580.65.06"

    def nvmlDeviceGetCount(self) -> int:
        self._check("nvmlDeviceGetCount")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> object:
        return self._card("nvmlDeviceGetHandleByIndex", self.cards[index])

    def nvmlDeviceGetName(self, handle: object, /) -> str:
        return self._card("nvmlDeviceGetName", handle).name

    def nvmlDeviceGetUUID(self, handle: object, /) -> str:
        return self._card("nvmlDeviceGetUUID", handle).uuid

    def nvmlDeviceGetMemoryInfo(self, handle: object, /) -> Memory:
        card = self._card("nvmlDeviceGetMemoryInfo", handle)
        return Memory(card.total, card.free)

    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> Busy:
        card = self._card("nvmlDeviceGetUtilizationRates", handle)
        if card.mig or card.uuid.startswith("MIG-"):
            raise ScriptedError(NOT_SUPPORTED)
        return Busy(card.load)

    def nvmlDeviceGetCudaComputeCapability(self, handle: object, /) -> tuple[int, int]:
        return self._card("nvmlDeviceGetCudaComputeCapability", handle).compute

    def nvmlDeviceGetMigMode(self, handle: object, /) -> list[int]:
        card = self._card("nvmlDeviceGetMigMode", handle)
        if not card.mig and not card.places:
            raise ScriptedError(NOT_SUPPORTED)
        return [int(card.mig), int(card.mig)]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object, /) -> int:
        return len(self._card("nvmlDeviceGetMaxMigDeviceCount", handle).places)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: int, /) -> object:
        found = self._card("nvmlDeviceGetMigDeviceHandleByIndex", handle).places[index]
        if found is None:
            raise ScriptedError(NOT_FOUND)
        return found

    def nvmlDeviceGetGpuInstanceId(self, handle: object, /) -> int:
        return self._card("nvmlDeviceGetGpuInstanceId", handle).ids[0]

    def nvmlDeviceGetComputeInstanceId(self, handle: object, /) -> int:
        return self._card("nvmlDeviceGetComputeInstanceId", handle).ids[1]

    def _check(self, call: str) -> None:
        self._raise(self.fails.get(call))
        if call not in ("nvmlInit", "nvmlShutdown") and not self.opened:
            raise ScriptedError(1)

    def _card(self, call: str, handle: object) -> Card:
        self._check(call)
        assert isinstance(handle, Card)
        self._raise(handle.fails.get(call))
        return handle

    def _raise(self, failure: int | Exception | None) -> None:
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            raise ScriptedError(failure)
