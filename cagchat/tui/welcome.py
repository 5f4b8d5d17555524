"""The library without a book: what was found on this machine, and what to begin with."""

from __future__ import annotations

from textual.containers import VerticalScroll

WELCOME = "Open a book: a model on this machine reads it once, and then answers every question about it at once."


class Welcome(VerticalScroll):
    """What was found, and what to begin with."""

    HELP = """\
## Welcome

**s** opens a short story that comes with the program, **o** a file of your own. A book is read once; that takes a
while, can be stopped and goes on where it stopped. From then on questions are answered at once.
"""
