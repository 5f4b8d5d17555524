"""Looking at a row of logits: whether they are numbers, and which are the largest.

A sampler picks some token among NaN as well, and goes on with it for ever.
"""

from __future__ import annotations

import math
import sys
from array import array
from heapq import nlargest

from cagchat.errors import ModelError

_HIGH_BYTE = 3 if sys.byteorder == "little" else 0


def are_numbers(logits: array[float]) -> bool:
    """Tell whether tokens can be chosen by a row (array type "f"): no NaN, and no infinity but one that forbids."""
    highest = logits.tobytes()[_HIGH_BYTE::4]  # sign and exponent: to look at them costs a tenth of the sum
    if b"\x7f" not in highest and b"\xff" not in highest:
        return True
    return not math.isnan(sum(logits)) and math.isfinite(max(logits))


def largest(logits: array[float], count: int) -> list[int]:
    """Return the tokens with the largest logits of a row, the largest first, of equal ones the lower.

    Sorting all of them would take a fifth of the time that a small model needs for a token.
    """
    least = min(nlargest(count, logits), default=0.0)
    candidates = [token for token, logit in enumerate(logits) if logit >= least]
    return sorted(candidates, key=logits.__getitem__, reverse=True)[:count]


def no_numbers(position: int) -> ModelError:
    """Say that a model computes nothing: its weights are damaged, or what it has read is too much for them."""
    return ModelError(
        f"After {position:,} tokens the model computes no numbers (its logits are NaN or infinite).",
        "Fetch the model file again, or choose another with --model.",
    )
