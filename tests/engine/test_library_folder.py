"""What the installed llama.cpp can do, told by its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.engine.library import can_offload, library_folder


def holding(folder: Path, *names: str) -> Path:
    """Put empty libraries into a folder."""
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "name", ["libggml-cuda.so", "libggml-metal.dylib", "ggml-vulkan.dll", "libggml-cuda.so.0.9.4", "libggml-hip.so"]
)
def test_a_gpu_backend_is_a_library_of_its_own(tmp_path: Path, name: str) -> None:
    """A build for a GPU has that backend's library, on every platform."""
    assert can_offload(holding(tmp_path, "libllama.so", "libggml-base.so", "libggml-cpu.so", name))


def test_a_processor_build_offloads_nothing(tmp_path: Path) -> None:
    """The libraries of every build tell nothing of a GPU."""
    names = ("libllama.so", "libggml.so", "libggml-base.so", "libggml-cpu.so", "libggml-blas.so", "libmtmd.so")
    assert not can_offload(holding(tmp_path, *names))


def test_a_missing_folder_offloads_nothing(tmp_path: Path) -> None:
    """A package in another layout is taken for one that computes on the processor."""
    assert not can_offload(tmp_path / "none")
    assert not can_offload(holding(tmp_path, "libggml-cuda.so") / "libggml-cuda.so")


def test_the_installed_library_is_found_without_loading_it() -> None:
    """The folder of the package holds llama.cpp's library."""
    folder = library_folder()
    assert folder is not None
    assert any(path.name.startswith(("libllama.", "llama.")) for path in folder.iterdir())
