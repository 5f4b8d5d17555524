"""Work that takes long, beside the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_background(work: Callable[[], object]) -> None:
    """Run on a thread that does not keep the program from ending, as those of Textual's workers do."""
    threading.Thread(target=work, name="beside", daemon=True).start()
