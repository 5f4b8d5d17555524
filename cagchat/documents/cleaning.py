"""Bring decoded text into one shape: NFC, `\\n` line ends, no control characters, no piles of blank lines.

Terminals write bold and underlined letters one over the other, and colours as sequences: of these the text is left.
"""

from __future__ import annotations

import re
import unicodedata

# A vertical tab is a line's end inside a paragraph, as word processors write it.
_LINE_ENDS = re.compile("\r\n|[\r\x0b\f\x85\u2028\u2029]")
# Byte order marks from files that were joined, soft hyphens from scans: neither is seen, both hide words from a search.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufeff\u00ad]+")
_OVERWRITTEN = re.compile("[^\n\x08]\x08")
# ECMA-48: control sequences, operating system commands (titles, links), choices of a character set.
_SEQUENCES = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)|[()][0-9A-Za-z])")
_BLANK_PILE = re.compile("\n{5,}")


def clean(text: str) -> str:
    """Return the text with at most three blank lines together, ending in one newline; "" when nothing is left."""
    text = _LINE_ENDS.sub("\n", text)
    if "\x1b" in text:
        text = _SEQUENCES.sub("", text)
    if "\x08" in text:
        text = _OVERWRITTEN.sub("", text)
    text = _UNSEEN.sub("", text)
    text = unicodedata.normalize("NFC", text)
    # Line by line, because `[ \t]+$` takes quadratic time on a long run of spaces.
    text = "\n".join([line.rstrip() for line in text.split("\n")])
    text = _BLANK_PILE.sub("\n\n\n\n", text).strip("\n")
    return f"{text}\n" if text else ""
