"""NVIDIA's GPUs: what is read of them, and that whatever fails becomes a reason."""

from __future__ import annotations

import pytest

from cagchat.hardware.gpu import Found
from cagchat.hardware.nvml import NvidiaGpus, Nvml, load_nvml
from tests.hardware.scripted_nvml import GIB, NO_PERMISSION, NOT_SUPPORTED, Card, ScriptedError, ScriptedNvml

ONE = Card("GPU-1", "Test GPU 4090", total=24 * GIB, free=20 * GIB, load=7)
SMALL = Card("MIG-1", "Test GPU MIG 1g.5gb", total=5 * GIB, free=4 * GIB, ids=(1, 0))
LARGE = Card("MIG-2", "Test GPU MIG 3g.20gb", total=20 * GIB, free=19 * GIB, ids=(2, 0))
SLICED = Card("GPU-2", "Test GPU A100", total=40 * GIB, compute=(8, 0), mig=True, places=(None, SMALL, LARGE, None))


def found(nvml: Nvml | None, **environ: str) -> Found:
    """Return what is read, the connection closed again."""
    gpus = NvidiaGpus(nvml, environ)
    try:
        return gpus.read()
    finally:
        gpus.close()


def test_a_gpu_is_read_whole() -> None:
    """Name, memory, load, driver, capability and UUID are the driver's."""
    (gpu,) = found(ScriptedNvml(ONE)).gpus
    assert (gpu.name, gpu.total_bytes, gpu.free_bytes, gpu.used_bytes) == ("Test GPU 4090", 24 * GIB, 20 * GIB, 4 * GIB)
    assert (gpu.load_percent, gpu.driver, gpu.compute, gpu.uuid) == (7, "580.65.06", (8, 9), "GPU-1")
    assert (gpu.backend, gpu.index, gpu.mig, gpu.unified) == ("cuda", 0, False, False)


def test_several_gpus_are_listed_in_cudas_order() -> None:
    """The variable chooses and orders; the number stays NVML's."""
    nvml = ScriptedNvml(ONE, Card("GPU-2"), Card("GPU-3"))
    assert [gpu.uuid for gpu in found(nvml).gpus] == ["GPU-1", "GPU-2", "GPU-3"]
    assert [(gpu.uuid, gpu.index) for gpu in found(nvml, CUDA_VISIBLE_DEVICES="2,GPU-1").gpus] == [
        ("GPU-3", 2),
        ("GPU-1", 0),
    ]


def test_an_instance_has_its_own_memory() -> None:
    """In MIG mode the first instance is what CUDA shows: its memory, no load, the whole GPU's capability."""
    (gpu,) = found(ScriptedNvml(SLICED)).gpus
    assert (gpu.name, gpu.total_bytes, gpu.free_bytes) == ("Test GPU MIG 1g.5gb", 5 * GIB, 4 * GIB)
    assert (gpu.mig, gpu.load_percent, gpu.compute, gpu.index) == (True, None, (8, 0), 0)


@pytest.mark.parametrize("value", ["MIG-2", "MIG-GPU-2/2/0"])
def test_an_instance_is_chosen_by_its_names(value: str) -> None:
    """The UUID and the older name of an instance choose it."""
    (gpu,) = found(ScriptedNvml(SLICED), CUDA_VISIBLE_DEVICES=value).gpus
    assert gpu.uuid == "MIG-2"


def test_whole_gpu_of_a_card_with_mig_off_is_read() -> None:
    """A GPU that could be sliced and is not is an ordinary one."""
    (gpu,) = found(ScriptedNvml(Card("GPU-2", places=(None, None)))).gpus
    assert (gpu.uuid, gpu.mig, gpu.load_percent) == ("GPU-2", False, 7)


def test_mig_without_an_instance_is_no_gpu() -> None:
    """A sliced GPU without an instance cannot be used, and that is said."""
    none = found(ScriptedNvml(Card("GPU-2", mig=True, places=(None,)))).none
    assert none is not None
    assert "MIG" in none.reason


@pytest.mark.parametrize(("value", "said"), [("", "set and empty"), ("-1", "CUDA_VISIBLE_DEVICES=-1"), ("5", "=5")])
def test_hidden_gpus_are_no_gpu(value: str, said: str) -> None:
    """A variable that hides every GPU is named as the reason, with the command that takes it away."""
    result = found(ScriptedNvml(ONE), CUDA_VISIBLE_DEVICES=value)
    assert result.gpus == ()
    assert result.none is not None
    assert said in result.none.reason
    assert result.none.mend == "unset CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("code", "word"),
    [(4, "may not"), (9, "not loaded"), (12, "driver"), (15, "bus"), (16, "reset"), (18, "updated"), (999, "code 999")],
)
@pytest.mark.parametrize("call", ["nvmlInit", "nvmlSystemGetDriverVersion", "nvmlDeviceGetCount"])
def test_broken_driver_is_a_reason(call: str, code: int, word: str) -> None:
    """Whichever first call fails, there is no GPU, and the reason says why in words."""
    result = found(ScriptedNvml(ONE, fails={call: code}))
    assert result.gpus == ()
    assert result.none is not None
    assert word in result.none.reason


@pytest.mark.parametrize("failure", [OSError("libnvidia-ml.so.1: file too short"), ScriptedError(999)])
@pytest.mark.parametrize(
    "call", [name for name in dir(ScriptedNvml) if name.startswith("nvml") and name != "nvmlShutdown"]
)
def test_no_failure_of_a_call_is_raised(call: str, failure: Exception) -> None:
    """Whichever call fails in whatever way, there are GPUs or a reason."""
    result = found(ScriptedNvml(ONE, SLICED, fails={call: failure}))
    assert bool(result.gpus) == (result.none is None)


def test_card_that_is_not_permitted_leaves_the_others() -> None:
    """A container that sees one of two GPUs uses that one."""
    closed = Card("GPU-9", fails={"nvmlDeviceGetHandleByIndex": NO_PERMISSION})
    assert [gpu.uuid for gpu in found(ScriptedNvml(closed, ONE)).gpus] == ["GPU-1"]


def test_card_that_is_not_permitted_is_the_reason() -> None:
    """When no GPU is left, the reason is why the last one was not permitted."""
    none = found(ScriptedNvml(Card("GPU-9", fails={"nvmlDeviceGetHandleByIndex": NO_PERMISSION}))).none
    assert none is not None
    assert "may not use" in none.reason


def test_no_device_is_a_reason() -> None:
    """A driver without a GPU, as in a container that was given none, is a reason with a hint."""
    none = found(ScriptedNvml()).none
    assert none is not None
    assert "shows no GPU" in none.reason
    assert "--gpus all" in none.mend


def test_gpu_that_is_lost_is_left_out_when_read_again() -> None:
    """A GPU that falls off the bus later is a reason then, not an error."""
    fails: dict[str, int | Exception] = {}
    gpus = NvidiaGpus(ScriptedNvml(Card("GPU-1", fails=fails)), {})
    assert len(gpus.read().gpus) == 1
    fails["nvmlDeviceGetMemoryInfo"] = 15
    none = gpus.read().none
    assert none is not None
    assert "bus" in none.reason


def test_gpu_without_memory_of_its_own_is_unified() -> None:
    """Where the driver has no memory to report, the GPU uses the machine's."""
    (gpu,) = found(ScriptedNvml(Card("GPU-1", fails={"nvmlDeviceGetMemoryInfo": NOT_SUPPORTED}))).gpus
    assert (gpu.unified, gpu.total_bytes) == (True, 0)


def test_closing_twice_shuts_down_once() -> None:
    """Each connection is given back once, and what is read afterwards is no GPU."""
    nvml = ScriptedNvml(ONE)
    gpus = NvidiaGpus(nvml, {})
    assert nvml.opened == 1
    gpus.close()
    gpus.close()
    assert nvml.opened == 0
    assert gpus.read().gpus == ()


def test_failure_to_shut_down_is_not_raised() -> None:
    """A driver that goes away before it is closed does not matter."""
    NvidiaGpus(ScriptedNvml(ONE, fails={"nvmlShutdown": 999}), {}).close()


def test_missing_package_is_a_reason() -> None:
    """Without nvidia-ml-py there is no GPU, and the command that installs it."""
    none = found(None).none
    assert none is not None
    assert none.mend == "pip install nvidia-ml-py"


def test_the_real_library_gives_gpus_or_a_reason() -> None:
    """With the installed nvidia-ml-py every GPU has memory, and without one a reason ends in a full stop."""
    nvml = load_nvml()
    assert nvml is not None
    result = found(nvml)
    assert bool(result.gpus) == (result.none is None)
    for gpu in result.gpus:
        assert gpu.unified or gpu.total_bytes >= gpu.free_bytes > 0
        assert gpu.name
    if result.none is not None:
        assert result.none.reason.endswith(".")
