"""The README's picture is made by a script, from a real run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent


def test_the_script_draws_the_demo(tmp_path: Path) -> None:
    """The script runs the demo and writes an SVG that shows a question and its proof, and links nothing outside."""
    subprocess.run([sys.executable, ROOT / "screenshots" / "make.py", "--fake", "--out", tmp_path], check=True)
    svg = (tmp_path / "demo.svg").read_text(encoding="utf-8")
    shown = " ".join("".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ").split())
    assert "How many pounds too much" in shown
    assert "tokens reused" in shown
    assert "url(http" not in svg
