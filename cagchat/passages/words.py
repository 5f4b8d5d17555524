"""Prepare text for FTS5's tokenizers: what they cannot take is replaced, and scripts without blanks are cut up."""

from __future__ import annotations

import re

# Chinese, Japanese, Korean, Thai, Lao, Burmese and Khmer run on without blanks (Korean has some, and endings).
_RUN = (
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    r"\uf900-\ufaff\U00020000-\U0003ffff]"
)
_RUNS = re.compile(f"{_RUN}+")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def plain(text: str) -> str:
    """Return text that SQLite takes: NUL characters and lone surrogates become blanks, one for one."""
    return _UNSTORABLE.sub(" ", text)


def spaced(text: str) -> str:
    """Return text in which runs of characters that are written without blanks are overlapping pairs, blanks between.

    Most Chinese words have two characters: FTS5's trigram tokenizer finds none of them.
    """
    return _RUNS.sub(lambda run: f" {' '.join(pairs(run.group()))} ", text)


def pairs(run: str) -> list[str]:
    """Return the overlapping pairs of characters of a run; one character alone is itself."""
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def is_run(word: str) -> bool:
    """Tell whether a word is written in a script without blanks."""
    return _RUNS.fullmatch(word) is not None
