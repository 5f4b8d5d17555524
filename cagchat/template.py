"""Render a chat template: a program that came with a model's file, so it runs in a process that may take little.

Whatever such a program does (loop, fill memory, crash its interpreter) is a template that cannot be rendered. The
process is this module, run as `python -m cagchat.template`; request and answer are JSON.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from cagchat.errors import ModelError

MEMORY_BYTES, CPU_S, WALL_S = 512 << 20, 2, 60.0  # an honest template takes 0.1 s of one and 50 MB of the other
ANSWER_BYTES = 1 << 20

# What a template that is wrong raises beside Jinja's own errors. SyntaxError comes from Python, for Jinja that was
# fine: a break outside a loop, or too many loops in one another.
MISTAKES = (
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    SyntaxError,
)

# A conversation as JSON (a list of messages with role and content), and whether thinking is switched on.
Case = tuple[str, bool]


@functools.lru_cache(maxsize=16)
def rendered(template: str, bos: str, eos: str, cases: tuple[Case, ...]) -> tuple[str | None, ...]:
    """Render the template for every case, in a process of its own: about 0.1 s, once for the same arguments.

    None stands for a case that the template refuses or fails at; all are None when the process does not end well.
    Raises `ModelError` when there can be no such process.
    """
    request = {"template": template, "bos": bos, "eos": eos, "cases": cases}
    failed: tuple[str | None, ...] = (None,) * len(cases)
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "cagchat.template"],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=WALL_S,
            check=False,
            # Without it the order of a set, and with it a prompt, could differ from one run to the next.
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,  # a Ctrl-C reaches only this process
        )
        answer = json.loads(child.stdout) if child.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        return failed
    except OSError as error:
        raise ModelError(f"The model's chat template cannot be rendered: {error}.", "Close other programs.") from error
    if not isinstance(answer, list) or len(answer) != len(cases):
        return failed
    return tuple(text if isinstance(text, str) else None for text in answer)


def render(template: str, bos: str, eos: str, cases: Sequence[Case]) -> list[str | None]:
    """Render the template for every case in this process, with what Hugging Face templates expect to find."""
    import jinja2  # 45 ms
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def text_of(messages: str, thinking: bool) -> str | None:
        values: dict[str, Any] = {
            "messages": json.loads(messages),
            "add_generation_prompt": True,
            "bos_token": bos,
            "eos_token": eos,
            "enable_thinking": thinking,
            "raise_exception": refuse,
            "strftime_now": lambda form: "",  # a date in the prefix would make every day another state
        }
        try:
            return environment.from_string(template).render(values)
        except (jinja2.TemplateError, *MISTAKES):
            return None

    return [text_of(*case) for case in cases]


def main() -> None:
    """Answer the request on stdin; nothing is answered when the answer would be absurdly long."""
    from cagchat.confined import confine

    request = json.load(sys.stdin.buffer)
    confine(memory_bytes=MEMORY_BYTES, cpu_s=CPU_S, file_bytes=ANSWER_BYTES, open_files=64)
    answer = json.dumps(render(request["template"], request["bos"], request["eos"], request["cases"])).encode()
    if len(answer) <= ANSWER_BYTES:
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    os._exit(0)  # what the template left behind may take long to tidy up


if __name__ == "__main__":
    main()
