"""Run llama-server as the package xllamacpp has it: `python launch_slots.py SETTINGS`, a JSON object of its parameters.

Runs in any environment that has the package, with nothing of cagchat installed.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys


def main() -> None:
    """Set what is given, start the server's threads and wait to be ended."""
    xllamacpp = importlib.import_module("xllamacpp")
    settings = json.loads(sys.argv[1])
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings.pop("model")
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = settings["n_threads"]
    del settings["n_threads"]
    if "flash_attn" in settings:  # else it decides, by what the processor or the GPU can
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type(int(settings.pop("flash_attn")))
    kv_type = xllamacpp.ggml_type(settings.pop("kv_type"))
    parameters.cache_type_k = parameters.cache_type_v = kv_type
    for name, value in settings.items():
        setattr(parameters, name, value)
    server = xllamacpp.Server(parameters)
    print(f"Listening at {server.listening_address}.", file=sys.stderr)
    signal.pause()


if __name__ == "__main__":
    main()
