"""What every picture of the bench is made of: the frame with its title and description for those who cannot see it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def picture(width: int, height: int, title: str, described: str, style: str, lines: Iterable[str]) -> str:
    """Return an SVG document on paper of that size. `style` has a class `paper`; `lines` are elements, two deep."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'role="img" aria-labelledby="title description">',
            f'  <title id="title">{escape(title)}</title>',
            f'  <desc id="description">{escape(described)}</desc>',
            f"  <style>{style}  </style>",
            f'  <rect class="paper" width="{width}" height="{height}"/>',
            *lines,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Return a line of text; `kind` is its classes."""
    named = f' class="{kind}"' if kind else ""
    return f'  <text x="{x}" y="{y}"{named}>{escape(words)}</text>'
