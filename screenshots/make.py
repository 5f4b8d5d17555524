"""Draw the README's picture: the real `cagchat demo`, as a terminal shows it.

    python screenshots/make.py [--fake] [--out FOLDER]

Runs the demonstration in a folder of its own, so that it reads the story anew, and writes demo.svg.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100
PROOF = re.compile(r"\bfirst token\b")
SIZES = re.compile(r"[\d,]+ (?:tokens reused|book tokens read|evaluated)|restored .+? in [\d.]+ m?s")
FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # rich links a web font; ours must not need the network
TERMINAL_ID = re.compile(r"terminal-\d+")


def main() -> None:
    """Run the demonstration and draw what it printed."""
    parser = argparse.ArgumentParser(description="Draw the README's picture from a real run of `cagchat demo`.")
    parser.add_argument("--fake", action="store_true", help="use the engine without a model")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write demo.svg")
    args = parser.parse_args()
    output = run_demo(["--fake"] if args.fake else [])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "demo.svg").write_text(draw("$ cagchat demo\n" + output), encoding="utf-8")


def run_demo(options: list[str]) -> str:
    """Return what the demonstration prints, both streams in the order in which they appear on a terminal."""
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
    svg = console.export_svg(title="cagchat", clear=True)
    return FONT.sub("", TERMINAL_ID.sub("terminal", svg))


if __name__ == "__main__":
    main()
