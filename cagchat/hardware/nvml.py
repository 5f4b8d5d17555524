"""NVIDIA's GPUs through NVML: those that CUDA would show this process, their memory and load, or why there is none."""

# ruff: noqa: N802 - the protocol has NVML's own names

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from cagchat.hardware.gpu import Found, Gpu, NoGpu
from cagchat.hardware.visible import VARIABLE, Listed, visible

NOT_SUPPORTED = 3
LIBRARY_NOT_FOUND = 12

# What a user can do about the return codes that are met in practice (nvml.h); of others NVML's own words are shown.
REASONS = {
    4: NoGpu("This process may not use NVIDIA's driver.", "sudo usermod -aG video,render $USER, then log in again."),
    9: NoGpu("NVIDIA's driver is installed but not loaded.", "sudo modprobe nvidia"),
    LIBRARY_NOT_FOUND: NoGpu("No NVIDIA driver is installed: its library NVML was not found."),
    15: NoGpu("The NVIDIA GPU no longer answers: it fell off the bus.", "Restart the machine."),
    16: NoGpu("The NVIDIA GPU waits for a reset.", "sudo nvidia-smi --gpu-reset, or restart the machine."),
    18: NoGpu(
        "NVIDIA's driver was updated while it ran: library and kernel module are of different versions.",
        "Restart the machine.",
    ),
}
NOT_INSTALLED = NoGpu("nvidia-ml-py is not installed, so NVIDIA's GPUs cannot be seen.", "pip install nvidia-ml-py")
NO_DEVICE = NoGpu("NVIDIA's driver runs but shows no GPU here.", "nvidia-smi -L; a container needs --gpus all.")
NO_INSTANCE = NoGpu("The GPU is in MIG mode and has no instance that may be used here.", "nvidia-smi mig -lgi")


class MemoryInfo(Protocol):
    """Bytes; what the driver keeps for itself is not free."""

    @property
    def total(self) -> int: ...  # noqa: D102 - NVML's field
    @property
    def free(self) -> int: ...  # noqa: D102 - NVML's field


class Rates(Protocol):
    """Percent of the last sample period in which a kernel ran."""

    @property
    def gpu(self) -> int: ...  # noqa: D102 - NVML's field


class Nvml(Protocol):
    """The part of the module `pynvml` that is used; every function may raise `NVMLError`. Handles are opaque."""

    @property
    def NVMLError(self) -> type[Exception]:
        """The base of NVML's errors; `value` is the return code."""
        ...

    def nvmlInit(self) -> None:
        """Load the driver's library and connect to it."""

    def nvmlShutdown(self) -> None:
        """Give back one `nvmlInit`."""

    def nvmlSystemGetDriverVersion(self) -> str:
        """Return a version such as 580.65.06."""
        ...

    def nvmlDeviceGetCount(self) -> int:
        """Return how many GPUs this process may see."""
        ...

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> object:
        """Return a GPU, counted by PCI address."""
        ...

    def nvmlDeviceGetName(self, handle: object, /) -> str:
        """Return a GPU's or a MIG instance's name."""
        ...

    def nvmlDeviceGetUUID(self, handle: object, /) -> str:
        """Return GPU-... or MIG-..."""
        ...

    def nvmlDeviceGetMemoryInfo(self, handle: object, /) -> MemoryInfo:
        """Return what a GPU or a MIG instance has; not supported where the GPU has no memory of its own."""
        ...

    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> Rates:
        """Return a GPU's load; not supported in MIG mode."""
        ...

    def nvmlDeviceGetCudaComputeCapability(self, handle: object, /) -> tuple[int, int]:
        """Return a whole GPU's capability."""
        ...

    def nvmlDeviceGetMigMode(self, handle: object, /) -> Sequence[int]:
        """Return the mode now (1 is on) and after a reset; not supported by most GPUs."""
        ...

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object, /) -> int:
        """Return how many places for MIG instances there are, filled or not."""
        ...

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: int, /) -> object:
        """Return the instance at a place; not found when it is empty."""
        ...

    def nvmlDeviceGetGpuInstanceId(self, handle: object, /) -> int:
        """Return the GPU instance's number of a MIG instance."""
        ...

    def nvmlDeviceGetComputeInstanceId(self, handle: object, /) -> int:
        """Return the compute instance's number of a MIG instance."""
        ...


def load_nvml() -> Nvml | None:
    """Return the module `pynvml`; None when nvidia-ml-py is not installed. The driver is not touched yet."""
    try:
        import pynvml  # 20 ms
    except ImportError:
        return None
    module: Nvml = pynvml
    return module


@dataclass(frozen=True, slots=True)
class Device:
    """A handle, and everything about it that stays: memory and load in `gpu` are filled in when they are read."""

    handle: object
    gpu: Gpu


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU as the driver has it: whole, its MIG instances, and how CUDA's rules see both."""

    whole: Device
    instances: tuple[Device, ...]
    listed: Listed

    def device(self, instance: int | None) -> Device:
        """Return one of its instances, or with None the whole."""
        return self.whole if instance is None else self.instances[instance]


class NvidiaGpus:
    """NVML kept open on the GPUs that CUDA would show. Nothing here raises: what fails becomes a reason."""

    def __init__(self, nvml: Nvml | None, environ: Mapping[str, str] = os.environ) -> None:
        """Connect to the driver, which takes up to a second where it sleeps while nobody uses a GPU."""
        self._nvml = nvml
        self._devices: list[Device] = []
        self._none: NoGpu | None = NOT_INSTALLED
        self._open = False
        self._failures: tuple[type[Exception], ...] = ()
        if nvml is None:
            return
        self._failures = (nvml.NVMLError, OSError, UnicodeError)
        try:
            nvml.nvmlInit()
            self._open = True
            self._devices, self._none = self._choose(nvml, environ.get(VARIABLE))
        except self._failures as error:
            self._none = explain(error)

    def read(self) -> Found:
        """Return the GPUs as they are now; one that no longer answers is left out."""
        if self._nvml is None or not self._open:
            return Found(none=self._none or NO_DEVICE)
        gpus, none = [], self._none
        for device in self._devices:
            try:
                gpus.append(self._measure(self._nvml, device))
            except self._failures as error:
                none = explain(error)
        return Found(tuple(gpus), None if gpus else none or NO_DEVICE)

    def close(self) -> None:
        """Let go of the driver. Calling it twice is harmless; what is read afterwards is no GPU."""
        if self._nvml is not None and self._open:
            self._open = False
            with suppress(*self._failures):
                self._nvml.nvmlShutdown()

    def _choose(self, nvml: Nvml, value: str | None) -> tuple[list[Device], NoGpu | None]:
        """Return the visible devices, or why there is none."""
        driver = nvml.nvmlSystemGetDriverVersion()
        cards: list[Card] = []
        none = NO_DEVICE
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                cards.append(self._card(nvml, index, driver))
            except self._failures as error:  # a container may see a number it may not use
                none = explain(error)
        listed = [card.listed for card in cards]
        if picks := visible(listed, value):
            return [cards[pick.gpu].device(pick.instance) for pick in picks], None
        if value is not None and visible(listed, None):
            return [], hidden(value)
        return [], NO_INSTANCE if cards else none

    def _card(self, nvml: Nvml, index: int, driver: str) -> Card:
        whole = self._whole(nvml, index, driver)
        mig = self._is_sliced(nvml, whole.handle)
        instances = self._instances(nvml, whole) if mig else ()
        names = tuple(self._names(nvml, instance, whole.gpu.uuid) for instance in instances)
        return Card(whole, instances, Listed(whole.gpu.uuid, mig, names))

    def _whole(self, nvml: Nvml, index: int, driver: str) -> Device:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        gpu = Gpu(
            name=nvml.nvmlDeviceGetName(handle),
            total_bytes=0,
            free_bytes=0,
            index=index,
            uuid=nvml.nvmlDeviceGetUUID(handle),
            driver=driver,
            compute=(major, minor),
        )
        return Device(handle, gpu)

    def _is_sliced(self, nvml: Nvml, handle: object) -> bool:
        try:
            return nvml.nvmlDeviceGetMigMode(handle)[0] == 1
        except self._failures:
            return False

    def _instances(self, nvml: Nvml, whole: Device) -> tuple[Device, ...]:
        """Return the MIG instances that this process may use; a container sees only its own."""
        found = []
        with suppress(*self._failures):
            for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(whole.handle)):
                with suppress(*self._failures):
                    handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(whole.handle, place)
                    name, uuid = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetUUID(handle)
                    found.append(Device(handle, replace(whole.gpu, name=name, uuid=uuid, mig=True)))
        return tuple(found)

    def _names(self, nvml: Nvml, instance: Device, parent: str) -> tuple[str, ...]:
        """Return the instance's UUID and the name that drivers before R470 used."""
        try:
            gi = nvml.nvmlDeviceGetGpuInstanceId(instance.handle)
            ci = nvml.nvmlDeviceGetComputeInstanceId(instance.handle)
        except self._failures:
            return (instance.gpu.uuid,)
        return instance.gpu.uuid, f"MIG-{parent}/{gi}/{ci}"

    def _measure(self, nvml: Nvml, device: Device) -> Gpu:
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(device.handle)
            gpu = replace(device.gpu, total_bytes=int(memory.total), free_bytes=int(memory.free))
        except nvml.NVMLError as error:
            if code_of(error) != NOT_SUPPORTED:
                raise
            gpu = replace(device.gpu, unified=True)
        with suppress(*self._failures):
            gpu = replace(gpu, load_percent=int(nvml.nvmlDeviceGetUtilizationRates(device.handle).gpu))
        return gpu


def hidden(value: str) -> NoGpu:
    """Say that the environment hides every GPU."""
    what = f"{VARIABLE}={value}" if value else f"{VARIABLE}, which is set and empty,"
    return NoGpu(f"{what} hides every GPU of this machine.", f"unset {VARIABLE}")


def code_of(error: Exception) -> int:
    """Return NVML's return code; 0, which it never raises, for errors of another kind."""
    code = getattr(error, "value", 0)
    return code if isinstance(code, int) else 0


def explain(error: Exception) -> NoGpu:
    """Say in words why NVML failed, and what to do."""
    known = REASONS.get(code_of(error))
    return known or NoGpu(f"NVIDIA's driver does not answer as it should: {error}.", "nvidia-smi")
