"""A Mac's kernel that answers as a test says."""

from __future__ import annotations

from cagchat.hardware.apple import Sysctl


def mac(**values: int | str) -> Sysctl:
    """Return a kernel with these values; with `_` for each dot: hw_memsize is hw.memsize."""

    def ask(name: str) -> bytes | None:
        value = values.get(name.replace(".", "_"))
        if isinstance(value, str):
            return value.encode() + b"\0"
        return None if value is None else value.to_bytes(8 if name == "hw.memsize" else 4, "little")

    return ask
