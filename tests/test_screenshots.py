"""The README's pictures are made by a script, and the stored ones are those that it makes.

After a change that is meant: python screenshots/make.py chat library ... (the names of those that differ; without a
name all of them, and the demo runs with its model), and look at them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
STORED = ROOT / "screenshots"
DEMO = "demo"  # shows the times of a real run, so only its kind can be compared
SHOWN = {
    DEMO: ("How many pounds too much", "tokens reused"),
    "chat": ("Eleven Pounds", "only coming home", "13,173 tokens reused", "Chapter Five: The Third Terrace"),
    "quotes": ("1 found in the book, 1 not", "no verified evidence", "✔ “it had taken", "Chapter Four: Under the Seat"),
    "preparing": ("Reading Eleven Pounds", "8,192 / 13,173 tokens", "tok/s", "s left"),
    "library": ("The Salt Almanac", "partly read, 62 %", "GB used of"),
    "search": ("senn", "new chat", "The lake is called Senn"),
    "palette": ("Search for commands", "Answer the last question anew"),
    "error": ("The engine's process ended (SIGSEGV).", "Ask again", "One penny: they weighed eleven pounds"),
    "narrow": ("Why did Osk carry eleven pounds", "13,173 reused"),
}
LINKS = re.compile(r"""url\((?!["']?#)|@import|href=""")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every picture, drawn now."""
    folder = tmp_path_factory.mktemp("pictures")
    command = [sys.executable, str(ROOT / "screenshots" / "make.py"), "--fake", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read(folder)


def read(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.svg")}


def shown_by(svg: str) -> str:
    """Return the words of a picture, in the order of its lines."""
    return " ".join("".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ").split())


def test_every_picture_is_stored_and_no_other(drawn: dict[str, str]) -> None:
    """The script draws the pictures that are stored, all of them and no other."""
    assert drawn.keys() == read(STORED).keys() == SHOWN.keys()


@pytest.mark.parametrize("name", [name for name in SHOWN if name != DEMO])
def test_a_stored_picture_is_the_app(drawn: dict[str, str], name: str) -> None:
    """A stored picture is what the app looks like now, to the byte."""
    stored = (STORED / f"{name}.svg").read_text(encoding="utf-8")
    differ = f"\nnow: {shown_by(drawn[name])}\nstored: {shown_by(stored)}"
    assert drawn[name] == stored, f"{name}.svg is another now; draw it anew: python screenshots/make.py {name}{differ}"


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_shows_what_it_is_for(drawn: dict[str, str], name: str) -> None:
    """A picture shows the words for which it is there."""
    words = shown_by(drawn[name])
    assert [expected for expected in SHOWN[name] if expected not in words] == []


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_needs_nothing_from_outside(name: str) -> None:
    """A stored picture links nothing."""
    assert LINKS.findall((STORED / f"{name}.svg").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", SHOWN)
def test_the_readme_shows_the_picture(name: str) -> None:
    """The README shows every stored picture."""
    assert f"screenshots/{name}.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
