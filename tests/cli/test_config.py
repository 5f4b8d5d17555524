"""`cagchat config`: show, path, set and unset on a real file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cagchat.cli.main import main
from cagchat.locations import locate
from cagchat.settings import rules


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path))
    for rule in rules().values():
        monkeypatch.delenv(rule.variable, raising=False)
    return tmp_path


def config_file() -> Path:
    return locate().config_file


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    assert main(["config"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    return {name: (value, origin) for name, value, origin in rows}


def test_a_name_that_is_not_utf_8_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """TOML is UTF-8: a file's name in other bytes is refused in one line that says how else to give it."""
    assert main(["config", "set", "batch", "64"]) == 0
    before = config_file().read_bytes()
    assert main(["config", "set", "model", "caf\udce9.gguf"]) == 1
    err = capsys.readouterr().err
    assert "TOML is UTF-8" in err
    assert "--model" in err
    assert main(["config", "set", "instructions", "caf\udce9"]) == 1
    assert "which is not UTF-8" in capsys.readouterr().err
    assert config_file().read_bytes() == before


def test_every_setting_is_shown_with_its_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Default, file and variable are told apart."""
    assert main(["config", "set", "batch", "64"]) == 0
    monkeypatch.setenv("CAGCHAT_THREADS", "3")
    capsys.readouterr()
    values = shown(capsys)
    assert list(values) == list(rules())
    assert values["batch"] == ("64", str(config_file()))
    assert values["threads"] == ("3", "CAGCHAT_THREADS")
    assert values["kv_type"] == ('"auto"', "default")


def test_show_on_a_terminal_is_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the values stand under headers."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["config", "show"]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert all(word in head for word in ("Setting", "Value", "From"))


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each setting has its value, origin, default and sentence."""
    assert main(["config", "show", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["file"] == str(config_file())
    assert content["settings"]["thinking"] == {
        "value": False,
        "origin": "default",
        "default": False,
        "about": rules()["thinking"].doc,
    }


def test_path_is_printed_though_there_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The file's path is all of stdout."""
    assert main(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{config_file()}\n"


def test_set_keeps_comments(capsys: pytest.CaptureFixture[str]) -> None:
    """Setting a value changes its line only."""
    config_file().parent.mkdir(parents=True)
    config_file().write_text("# mine\nbatch = 32 # small\n")
    assert main(["config", "set", "batch", "64"]) == 0
    assert capsys.readouterr().out == "batch = 64\n"
    assert config_file().read_text() == "# mine\nbatch = 64 # small\n"


def test_negative_numbers_are_values(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that begins with a dash is no flag."""
    assert main(["config", "set", "gpu_layers", "-1"]) == 0
    assert capsys.readouterr().out == "gpu_layers = -1\n"


def test_unset_restores_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that was taken out has its default again; once more is no error."""
    assert main(["config", "set", "batch", "64"]) == 0
    capsys.readouterr()
    assert main(["config", "unset", "batch"]) == 0
    assert capsys.readouterr().out == "batch = 0\n"
    assert shown(capsys)["batch"] == ("0", "default")
    assert main(["config", "unset", "batch"]) == 0


@pytest.mark.parametrize("words", [["set", "batch", "-1"], ["set", "bach", "64"], ["unset", "bach"]])
def test_wrong_keys_and_values_are_bad_input(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """A value out of range or an unknown key ends with 1, and no file is written."""
    assert main(["config", *words]) == 1
    assert "hint:" in capsys.readouterr().err
    assert not config_file().exists()


@pytest.mark.parametrize("words", [["set", "threads", "2"], ["unset", "threads"]])
def test_variable_that_overrides_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Changing a setting that the environment decides says so."""
    monkeypatch.setenv("CAGCHAT_THREADS", "3")
    assert main(["config", *words]) == 0
    assert "The variable CAGCHAT_THREADS is set and overrides it." in capsys.readouterr().err
