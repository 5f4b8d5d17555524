"""Whether llama.cpp rotates quantised K and V before it stores them: it changes what saved bytes mean."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

VARIABLE = "LLAMA_ATTN_ROT_DISABLE"


def rotated(kv_type: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether K and V of this type are stored rotated by a Hadamard matrix (llama-kv-cache.cpp reads `atoi`)."""
    not_zero = re.match(r"\s*[+-]?0*[1-9]", environ.get(VARIABLE, ""))
    return kv_type != "f16" and not not_zero
