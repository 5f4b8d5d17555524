"""Whether logits are numbers: a sampler picks some token among NaN as well, and goes on with it for ever."""

from __future__ import annotations

import math
import sys
from array import array

from cagchat.errors import ModelError

_HIGH_BYTE = 3 if sys.byteorder == "little" else 0


def are_numbers(logits: array[float]) -> bool:
    """Tell whether tokens can be chosen by a row (array type "f"): no NaN, and no infinity but one that forbids."""
    highest = logits.tobytes()[_HIGH_BYTE::4]  # sign and exponent: to look at them costs a tenth of the sum
    if b"\x7f" not in highest and b"\xff" not in highest:
        return True
    return not math.isnan(sum(logits)) and math.isfinite(max(logits))


def no_numbers(position: int) -> ModelError:
    """Say that a model computes nothing: its weights are damaged, or what it has read is too much for them."""
    return ModelError(
        f"After {position:,} tokens the model computes no numbers (its logits are NaN or infinite).",
        "Fetch the model file again, or choose another with --model.",
    )
