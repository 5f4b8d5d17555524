"""One line of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mark = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at; `mend` is the command, or the sentence, that makes a problem go away."""

    mark: Mark
    about: str
    text: str
    mend: str = ""
