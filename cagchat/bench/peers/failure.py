"""How a process ended that should not have, in one sentence."""

from __future__ import annotations

import signal

from cagchat.errors import EngineError


def failure(code: int | None, log: str) -> EngineError:
    """Describe a process that did not end well: the signal or code (None: it runs), and the last line it wrote."""
    if code is None:
        how = "It does not answer"
    else:
        try:
            how = f"It ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}"
        except ValueError:
            how = f"It ended with signal {-code}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = f": {lines[-1]}" if lines else ""
    return EngineError(f"{how}{said}.", "Run it again with `cagchat bench peers`.")
