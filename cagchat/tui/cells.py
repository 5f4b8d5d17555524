"""Texts in cells of the terminal: a letter of a European script takes one, a Chinese character two."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def cut(text: str, cells: int) -> str:
    """Return a text in at most so many cells, with an ellipsis where it was longer."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + "…" if cells > 0 else ""
