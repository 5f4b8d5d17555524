"""What can be told of the installed llama.cpp without loading it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

GPU_BACKENDS = ("cuda", "metal", "vulkan", "hip", "sycl", "musa", "opencl", "cann")


def library_folder() -> Path | None:
    """Return the folder of llama.cpp's shared libraries, None when the package is not installed."""
    spec = find_spec("llama_cpp")
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) / "lib" if folders else None


def can_offload(folder: Path | None = None) -> bool:
    """Tell whether llama.cpp was built with a backend that computes on a GPU: each is a library of its own."""
    folder = folder or library_folder()
    if folder is None or not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    return any(f"ggml-{backend}" in name for backend in GPU_BACKENDS for name in names)
