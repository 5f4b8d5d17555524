"""Print as JSON which of the named packages an environment has, and its llama-server: `python look.py PACKAGE...`.

Runs in any environment, with nothing of cagchat installed.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def llama_server() -> str | None:
    """Return llama-server beside this interpreter, else on the path."""
    return shutil.which("llama-server", path=str(Path(sys.executable).parent)) or shutil.which("llama-server")


def version_of(package: str) -> str | None:
    """Return a package's version, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(json.dumps({"versions": {name: version_of(name) for name in sys.argv[1:]}, "llama_server": llama_server()}))
