"""Say how much of a file's text a loader left out, where that is more than a little."""

from __future__ import annotations

# A banner of a few lines, or a title page of a long book, is not worth a sentence.
_LITTLE = 0.02
_FEW_CHARACTERS = 300


def note_on_share(left_out: int, characters: int, what: str) -> tuple[str, ...]:
    """Return a note when `left_out` of all `characters` of a file's text are more than a little; `what` names them."""
    if left_out < _FEW_CHARACTERS or left_out < _LITTLE * characters:
        return ()
    return (f"Of the file's text {100 * left_out / characters:.0f} % was left out: {what}.",)
