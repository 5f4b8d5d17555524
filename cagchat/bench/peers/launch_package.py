"""Run `llama_cpp.server` as it is, with every decoded batch noted: `python launch_package.py NOTES FAST [OPTION...]`.

NOTES gets a line with the first position and the length of each batch; FAST is 1 or 0. Runs in any environment that
has the server, with nothing of cagchat installed: hence no import of the module beside this file.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Note what is decoded, then be the server."""
    _, notes, fast, *options = sys.argv
    low_level = importlib.import_module("llama_cpp.llama_cpp")
    counting = runpy.run_path(str(Path(__file__).with_name("counting.py")))
    with Path(notes).open("a", encoding="ascii", buffering=1) as file:
        counting["use_kernels"](low_level, fast=fast == "1")
        counting["count_decoded"](low_level, lambda positions: print(positions[0], len(positions), file=file))
        sys.argv = ["llama_cpp.server", *options]
        runpy.run_module("llama_cpp.server", run_name="__main__")


if __name__ == "__main__":
    main()
