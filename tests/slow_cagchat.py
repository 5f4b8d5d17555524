"""The `cagchat` command whose --fake engine takes its time over batches and words: what the tests interrupt."""

from __future__ import annotations

import sys
from dataclasses import replace

import cagchat.engine.backend
from cagchat.cli.main import main
from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript

ANSWERS = {"everything": "And so it went on. " * 40}


class SlowBackend(FakeBackend):
    """A fake backend that follows its script slowly, and has a long answer beside."""

    def __init__(self, script: FakeScript | None = None) -> None:
        script = script or FakeScript()
        super().__init__(replace(script, answers={**script.answers, **ANSWERS}, batch_s=0.03, token_s=0.02))


if __name__ == "__main__":
    cagchat.engine.backend.FakeBackend = SlowBackend  # type: ignore[assignment,misc]  # where the command looks it up
    sys.exit(main(sys.argv[1:]))
