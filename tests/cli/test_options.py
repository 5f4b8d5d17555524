"""Flags that several commands share: --json before an action, and values that flags do not take."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Terminal, error_of, terminal_at
from tests.reading_cases import write_book

WITH_JSON = (
    "config show",
    "library list",
    "library info Lanterns",
    "library verify",
    "library prune --dry-run",
    "models list",
    "models verify",
    "sessions list",
    "sessions show last",
    "sessions search word",
)
WITHOUT_JSON = (
    "config path",
    "config set batch 64",
    "config unset batch",
    "library rm -y Lanterns",
    "models add model.gguf",
    "models get model",
    "models rm -y model",
    "models path model",
    "sessions export last",
    "sessions rename last anew",
    "sessions rm -y last",
)


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in whose home one book was read and asked."""
    terminal = terminal_at(tmp_path / "home", capsys, monkeypatch)
    assert terminal("ask", "--fake", write_book(tmp_path), "Who?").code == 0
    return terminal


@pytest.mark.parametrize("line", WITH_JSON)
def test_json_stands_before_an_action_or_behind_it(line: str, cagchat: Terminal) -> None:
    """Where an action prints JSON, it does so wherever the flag stands."""
    command, *rest = line.split()
    before, behind = cagchat(command, "--json", *rest), cagchat(command, *rest, "--json")
    assert before == behind
    assert before.code == 0
    assert before.out[0] in "[{"


@pytest.mark.parametrize("line", WITHOUT_JSON)
def test_json_before_an_action_without_it_is_refused(line: str, cagchat: Terminal) -> None:
    """What waits for JSON is told that none will come, and nothing is done."""
    command, action, *rest = line.split()
    lists = [cagchat(*words) for words in (("library",), ("sessions",), ("config",))]
    assert f"`cagchat {command} {action}` takes no --json" in error_of(cagchat(command, "--json", action, *rest), 2)
    assert cagchat(command, action, *rest, "--json").code == 2
    assert [cagchat(*words) for words in (("library",), ("sessions",), ("config",))] == lists


@pytest.mark.parametrize(
    "line",
    [
        "ask BOOK --fake Who? --max-tokens 0",
        "ask BOOK --fake Who? --temp -1",
        "ask BOOK --fake Who? --temp nan",
        "ask BOOK --fake Who? --kv q3",
        "ask BOOK --fake Who? --until 150%",
        "read BOOK --fake --threads 99999",
        "plan BOOK --chat-tokens 0",
        "plan BOOK --vram much",
        "text BOOK --section 9",
        "library prune --days x",
        "models get qwen3.5-4b --quant Q9",
        "doctor --fake --threads 99999",
    ],
)
def test_a_value_that_a_flag_does_not_take_is_wrong_usage(line: str, cagchat: Terminal) -> None:
    """Whatever finds the value wrong, the parser or what is asked for it, the exit code is 2."""
    outcome = cagchat(*(cagchat.home.parent / "lanterns.txt" if word == "BOOK" else word for word in line.split()))
    assert outcome.code == 2
    assert outcome.err


@pytest.mark.parametrize("name", ["max_tokens", "kv_type", "temperature"])
def test_a_wrong_value_elsewhere_is_bad_input(name: str, cagchat: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file or in a variable the same value is exit code 1: the command line is right."""
    ask = ("ask", cagchat.home.parent / "lanterns.txt", "--fake", "Who?")
    monkeypatch.setenv(f"CAGCHAT_{name.upper()}", "-1")
    assert f"CAGCHAT_{name.upper()} is" in error_of(cagchat(*ask), 1)
    monkeypatch.delenv(f"CAGCHAT_{name.upper()}")
    file = Path(cagchat("config", "path").out.strip())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{name} = -1\n")
    assert f"{name} in {file}, line 1, is -1" in error_of(cagchat(*ask), 1)
