"""`cagchat doctor` about processor, memory, GPUs and what llama.cpp can do with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cagchat.cli.doctor.machine import check_gpus, check_library, check_memory, check_processor, describe
from cagchat.cli.doctor.model import room_bytes
from cagchat.cli.main import main
from cagchat.engine.bindings import System
from cagchat.hardware.detect import Hardware
from cagchat.hardware.gpu import Gpu, NoGpu
from cagchat.hardware.memory import Ram
from cagchat.settings import Settings

CARD = Gpu(
    "Test GPU 4090",
    24_000_000_000,
    21_500_000_000,
    uuid="GPU-1",
    driver="580.65.06",
    compute=(8, 9),
    load_percent=7,
)
RAM = Ram(32_000_000_000, 30_000_000_000)


def hardware(*gpus: Gpu, ram: Ram | None = RAM, none: NoGpu | None = None, cores: int = 8) -> Hardware:
    return Hardware(gpus, none, ram, "Test Processor", cores)


def test_gpu_is_described_whole() -> None:
    """A GPU's line has its memory, what is free of it, its load and its driver."""
    assert describe(CARD) == (
        "Test GPU 4090, 21.5 GB of 24.0 GB VRAM free, load 7 %, compute capability 8.9, driver 580.65.06"
    )


def test_what_is_not_known_of_a_gpu_is_left_out() -> None:
    """An instance without a load, and a chip's GPU without a driver, say what they are."""
    assert describe(Gpu("Slice", 5_000_000_000, 4_000_000_000, mig=True)) == (
        "Slice, 4.0 GB of 5.0 GB VRAM free, a MIG instance"
    )
    assert describe(Gpu("Apple M2", 16_000_000_000, 8_000_000_000, backend="metal", unified=True)) == (
        "Apple M2, 8.0 GB of 16.0 GB memory shared with the processor free"
    )


def test_each_gpu_has_a_line() -> None:
    """Two GPUs are two findings."""
    assert [(f.mark, f.about) for f in check_gpus(hardware(CARD, CARD))] == [("ok", "GPU"), ("ok", "GPU")]


def test_missing_gpu_is_explained() -> None:
    """Without a GPU the reason is said; it is a note only where something can be done."""
    (plain,) = check_gpus(hardware(none=NoGpu("There is no card.")))
    assert (plain.mark, plain.text, plain.mend) == ("ok", "none: There is no card.", "")
    (note,) = check_gpus(hardware(none=NoGpu("The driver is not loaded.", "sudo modprobe nvidia")))
    assert (note.mark, note.mend) == ("note", "sudo modprobe nvidia")


def test_memory_is_shown_with_the_limit_of_a_container() -> None:
    """A container's limit is the memory there is; the machine's is named beside it."""
    (whole,) = check_memory(hardware())
    assert whole.text == "32.0 GB, 30.0 GB of it free"
    (limited,) = check_memory(hardware(ram=Ram(32_000_000_000, 3_000_000_000, 4_000_000_000)))
    assert limited.text == "4.0 GB (the limit of this container; the machine has 32.0 GB), 3.0 GB of it free"
    (unknown,) = check_memory(hardware(ram=None))
    assert unknown.mark == "note"


def test_more_threads_than_cores_are_noted() -> None:
    """A setting above the cores this process may use is a note with the command that takes it back."""
    assert [f.mark for f in check_processor(Settings(threads=8), hardware())] == ["ok"]
    findings = list(check_processor(Settings(threads=9), hardware()))
    assert [f.mend for f in findings if f.mark == "note"] == ["cagchat config unset threads"]


def test_build_without_the_gpu_is_a_problem() -> None:
    """A llama.cpp for the processor on a machine with a GPU is a problem, with the command for the version in use."""
    system = System("1.2.3", "CPU : AVX = 1", gpu_offload=False)
    (problem,) = (f for f in check_library(hardware(CARD), lambda: system, "1.2.3") if f.mark == "problem")
    assert problem.about == "offload"
    assert "Test GPU 4090" in problem.text
    assert "-DGGML_CUDA=on" in problem.mend
    assert "llama-cpp-python==1.2.3" in problem.mend


def test_build_without_a_gpu_is_right_where_there_is_none() -> None:
    """A llama.cpp for the processor is fine on a machine without a GPU."""
    system = System("1.2.3", "CPU : AVX = 1", gpu_offload=False)
    assert {f.mark for f in check_library(hardware(none=NoGpu("None.")), lambda: system, "1.2.3")} == {"ok"}


def test_room_for_a_model_is_memory_and_vram() -> None:
    """A model can be spread over both; shared memory counts once, and unknown memory is not guessed."""
    shared = Gpu("Apple M2", 16, 8, backend="metal", unified=True)
    assert room_bytes(hardware(CARD)) == 56_000_000_000
    assert room_bytes(hardware(shared)) == 32_000_000_000
    assert room_bytes(hardware(CARD, ram=None)) is None


def test_everything_found_is_in_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes, versions and names that were detected are in the JSON, beside the findings."""
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path))
    monkeypatch.setattr("cagchat.hardware.detect.detect", lambda: hardware(CARD))
    monkeypatch.setattr("cagchat.cli.doctor.machine.check_library", lambda found: iter(()))
    main(["doctor", "--fake", "--json"])
    content = json.loads(capsys.readouterr().out)
    (gpu,) = content["hardware"]["gpus"]
    assert (gpu["name"], gpu["total_bytes"], gpu["free_bytes"]) == ("Test GPU 4090", 24_000_000_000, 21_500_000_000)
    assert (gpu["driver"], gpu["load_percent"], gpu["uuid"]) == ("580.65.06", 7, "GPU-1")
    assert content["hardware"]["ram"]["machine_bytes"] == 32_000_000_000
    assert content["hardware"]["cores"] == 8
    assert any(f["about"] == "GPU" and "Test GPU 4090" in f["text"] for f in content["findings"])
