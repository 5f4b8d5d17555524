"""Work that takes long, beside the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_background(work: Callable[[], object], *, to_its_end: bool = False) -> None:
    """Run on a thread that does not keep the program from ending, as those of Textual's workers do.

    With `to_its_end` it does: what was promised to be deleted is gone when the program is.
    """
    threading.Thread(target=work, name="beside", daemon=not to_its_end).start()
