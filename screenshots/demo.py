"""The picture of `cagchat demo`, as a terminal shows a real run."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile

from rich.console import Console
from rich.text import Text
from svg import plain

WIDTH = 100
PROOF = re.compile(r"\bfirst token\b")
SIZES = re.compile(r"[\d,]+ (?:tokens reused|book tokens read|evaluated)|restored .+? in [\d.]+ m?s")


def run_demo(options: list[str]) -> str:
    """Return what the demonstration prints, both streams in the order in which they appear on a terminal.

    It runs in a folder of its own, so that it reads the story anew.
    """
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-m", "cagchat", "demo", *options],
            env={**os.environ, "CAGCHAT_HOME": home, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return done.stdout


def draw(output: str) -> str:
    """Return an SVG of a terminal with this output; proof lines stand out, progress is shortened to its last line."""
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True)
    lines = output.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  ") and following.startswith("  "):
            continue
        text = Text(line)
        if line.startswith(("> ", "$ ")):
            text.stylize("bold cyan")
        elif PROOF.search(line):
            text.stylize("dim")
            text.highlight_regex(SIZES, "bold green not dim")
        elif line.startswith("  "):
            text.stylize("yellow")
        console.print(text)
    return plain(console.export_svg(title="cagchat", clear=True))
