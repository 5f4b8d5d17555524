"""Privacy in its short form: one life of a book, one kill, one defect."""

from __future__ import annotations

import random
from array import array
from pathlib import Path

from tests.torture.privacy import PART
from tests.torture.traces import Traces, spelled, token_runs, too_open, windows
from tests.torture.trial import Terms


def test_short_privacy_holds(tmp_path: Path) -> None:
    """What is written is private, processes tell nothing, and after `rm` nothing is left."""
    report = PART.run(Terms(tmp_path, share=0.04, say=lambda line: None))
    assert report.broken == []
    assert report.counts["lives"] == 1
    assert report.counts["states removed"] >= 1
    assert report.counts["chats removed"] >= 2
    assert report.counts["looks at processes"] >= 10
    assert report.counts["runs of tokens looked for"] >= 100
    assert report.counts["pieces of KV cache looked for"] >= 10


def test_traces_are_found_in_any_of_their_forms() -> None:
    """A word is found in UTF-16 and in capitals, tokens at any offset, a piece of a cache in the middle of a file."""
    chance = random.Random(1)
    cache = chance.randbytes(4096)
    traces = Traces(spelled("secret"), token_runs(array("i", range(100, 120))), windows(cache, chance))
    assert traces.kinds_in("a SECRET".encode("utf-16-le")) == {"words"}
    assert traces.kinds_in(b"x" + array("i", range(103, 112)).tobytes()) == {"tokens"}
    assert traces.kinds_in(b"head" + cache) == {"KV cache"}
    assert traces.kinds_in(array("i", range(100, 107)).tobytes()) == set()


def test_open_modes_are_found(tmp_path: Path) -> None:
    """A file that its group may read and a folder that others may list are reported, private ones are not."""
    for name, mode in (("private", 0o600), ("open", 0o640)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    for name, mode in (("own", 0o700), ("shared", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    assert [path.name for path, _ in too_open([tmp_path])] == ["open", "shared"]
