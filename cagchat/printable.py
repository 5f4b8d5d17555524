"""Text of others (models, books, names of files) as a terminal may be given it."""

from __future__ import annotations

import re

# What Unicode counts as control characters, but for the tab and the line feed.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return the text without control characters, which a terminal would obey: nothing moves the cursor or colours.

    Of an escape sequence the visible characters stay, so that a text may be given in pieces, wherever it is cut.
    """
    return CONTROLS.sub("", text)
