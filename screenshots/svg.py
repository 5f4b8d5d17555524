"""What makes an exported SVG the same in every run, and free of links."""

from __future__ import annotations

import re

FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # rich links a web font; ours must not need the network
TERMINAL_ID = re.compile(r"terminal-\d+")


def plain(svg: str) -> str:
    """Return the picture without web fonts and numbered ids, and without blanks at the ends of its lines."""
    masked = FONT.sub("", TERMINAL_ID.sub("terminal", svg))
    return "\n".join(line.rstrip() for line in masked.splitlines()) + "\n"
