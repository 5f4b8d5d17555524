"""What llama.cpp was built for against what is here."""

from __future__ import annotations

from cagchat.hardware.cards import Maker
from cagchat.hardware.detect import Hardware
from cagchat.hardware.gpu import Gpu, NoGpu
from cagchat.hardware.offload import judge

CUDA = Gpu("Test GPU 4090", 24 << 30, 20 << 30)
METAL = Gpu("Apple M2 Max", 24 << 30, 20 << 30, backend="metal", unified=True)


def hardware(*gpus: Gpu, cards: tuple[Maker, ...] = ()) -> Hardware:
    return Hardware(gpus, None if gpus else NoGpu("None."), None, "test", 8, cards)


def test_build_that_can_use_the_gpu_is_right() -> None:
    """A GPU and a build for it leave nothing to mend; each GPU is named."""
    found = judge(hardware(CUDA, CUDA), can_offload=True)
    assert (found.works, found.wasted, found.mend) == (True, False, "")
    assert "Test GPU 4090 and Test GPU 4090" in found.text


def test_build_for_the_processor_wastes_a_gpu() -> None:
    """A build for the processor on a machine with an NVIDIA GPU is said to be wasted, with the whole command."""
    found = judge(hardware(CUDA), can_offload=False, version="0.3.36")
    assert (found.works, found.wasted) == (False, True)
    assert "Test GPU 4090" in found.text
    assert found.mend == (
        'CMAKE_ARGS="-DGGML_CUDA=on" pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python '
        '"llama-cpp-python==0.3.36"'
    )


def test_mac_needs_no_flag() -> None:
    """Metal is on by default: building again is enough."""
    found = judge(hardware(METAL), can_offload=False, version="0.3.36")
    assert found.wasted
    assert found.mend.startswith("pip install ")


def test_other_cards_use_vulkan() -> None:
    """A card of another maker can be used through Vulkan."""
    found = judge(hardware(cards=("AMD",)), can_offload=False)
    assert found.wasted
    assert "AMD" in found.text
    assert found.mend.startswith('CMAKE_ARGS="-DGGML_VULKAN=on" ')
    assert found.mend.endswith(" llama-cpp-python llama-cpp-python")
    assert judge(hardware(cards=("AMD",)), can_offload=True).works


def test_machine_without_a_gpu_needs_none() -> None:
    """A build for the processor is right where there is nothing else, or a card whose driver is missing."""
    assert not judge(hardware(), can_offload=False).wasted
    assert not judge(hardware(cards=("NVIDIA",)), can_offload=False).wasted
    assert not judge(hardware(), can_offload=True).works
