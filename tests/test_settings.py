"""Settings: merged in order, checked, written back without losing a comment."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cagchat.engine import protocol
from cagchat.errors import ConfigError, UsageError
from cagchat.settings import Settings, example, resolve, rules, statements, unset_value, write_value

EXAMPLE = Path(__file__).parent.parent / "config" / "config.example.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def refusal(file: Path, environ: dict[str, str] | None = None) -> ConfigError:
    """Return the error of resolving what must not be resolved."""
    with pytest.raises(ConfigError) as caught:
        resolve(file, environ or {}, {})
    return caught.value


def test_defaults(file: Path) -> None:
    """Without a file, variables and flags, all settings are the defaults."""
    resolved = resolve(file, {}, {})
    assert resolved.settings == Settings()
    assert set(resolved.origins.values()) == {"default"}
    assert list(resolved.origins) == [f.name for f in fields(Settings)]


def test_order(file: Path) -> None:
    """The file overrides defaults, variables the file, flags all; each origin is named."""
    file.write_text("batch = 1\nthreads = 1\nkv_type = 'q8_0'\n")
    resolved = resolve(file, {"CAGCHAT_THREADS": "2", "CAGCHAT_KV_TYPE": "q4_0"}, {"kv_type": "f16"})
    assert (resolved.settings.batch, resolved.settings.threads, resolved.settings.kv_type) == (1, 2, "f16")
    origins = [resolved.origins[name] for name in ("batch", "threads", "kv_type", "seed")]
    assert origins == [str(file), "CAGCHAT_THREADS", "--kv-type", "default"]


def test_not_given(file: Path) -> None:
    """A flag that is None, an empty variable and other programs' variables change nothing."""
    resolved = resolve(file, {"CAGCHAT_THREADS": "", "CAGCHAT_HOME": "/x", "THREADS": "3"}, {"threads": None})
    assert resolved.settings == Settings()


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("YES", True), ("on", True), ("1", True), ("off", False), ("No", False)]
)
def test_truth_in_variables(file: Path, text: str, value: bool) -> None:
    """A variable spells yes and no in the usual ways."""
    assert resolve(file, {"CAGCHAT_THINKING": text}, {}).settings.thinking is value


def test_whole_number_for_a_number(file: Path) -> None:
    """A whole number is taken where a number is due, and becomes one."""
    file.write_text("temperature = 1\n")
    assert type(resolve(file, {}, {}).settings.temperature) is float


def test_flag_as_text(file: Path) -> None:
    """A flag may come as text or as its value."""
    assert resolve(file, {}, {"top_p": "0.5", "seed": 7}).settings == Settings(top_p=0.5, seed=7)


@pytest.mark.parametrize(
    "line",
    [
        'threads = "4"',
        "threads = 4.0",
        "threads = true",
        "threads = -1",
        "threads = 999999999999999999999999",
        "temperature = nan",
        "temperature = inf",
        "temperature = 5.01",
        f"disk_budget_gb = 1{'0' * 400}",
        "thinking = 1",
        'kv_type = "q8"',
        "model = 3",
        "threads = [1]",
        "threads.x = 1",
    ],
)
def test_wrong_value(file: Path, line: str) -> None:
    """A value of the wrong type or out of range is refused with the file, the line and the key."""
    file.write_text(f"# first line\n{line}\n")
    error = refusal(file)
    key = re.match(r"\w+", line)
    assert key is not None
    assert f"{key[0]} in {file}, line 2, is " in error.message
    assert error.hint


@pytest.mark.parametrize(
    ("name", "text"), [("THREADS", "four"), ("TOP_P", "2"), ("THINKING", "maybe"), ("SEED", "1.5")]
)
def test_wrong_variable(file: Path, name: str, text: str) -> None:
    """A wrong variable is refused by its name."""
    assert f"CAGCHAT_{name}" in refusal(file, {f"CAGCHAT_{name}": text}).message


def test_wrong_flag(file: Path) -> None:
    """A wrong flag is refused as it is written on the command line, with the range."""
    with pytest.raises(UsageError, match=re.escape("--top-p is 1.5, which is not a number from 0 to 1.")) as caught:
        resolve(file, {}, {"top_p": 1.5})
    assert caught.value.hint


def test_unknown_key(file: Path) -> None:
    """An unknown key is refused with the file, its line and the nearest setting."""
    file.write_text('instructions = """\nthred = 1\n"""\n\nthred = 4\n')
    error = refusal(file)
    assert '"thred"' in error.message
    assert f"{file}, line 5" in error.message
    assert error.hint == "Did you mean threads?"


def test_unknown_table(file: Path) -> None:
    """A table is an unknown key, found at its header."""
    file.write_text("threads = 1\n[zzz]\nthreads = 2\n")
    error = refusal(file)
    assert f"{file}, line 2" in error.message
    assert "checkpoint_share" in error.hint


def test_near_choice(file: Path) -> None:
    """A misspelt choice is answered with the nearest one."""
    file.write_text('kv_type = "q8-0"\n')
    assert refusal(file).hint == "Did you mean q8_0?"


@pytest.mark.parametrize(("text", "line"), [("threads = 1\nbatch 2\n", 2), ("threads = 1\n\nmodel = '''x\n", 4)])
def test_bad_toml(file: Path, text: str, line: int) -> None:
    """A file that is not TOML is refused with the line."""
    file.write_text(text)
    assert f"{file}, line {line}, is not TOML" in refusal(file).message


@pytest.mark.parametrize("line", [f"threads = {'9' * 5000}", f"model = {'[' * 5000}"], ids=["digits", "brackets"])
def test_toml_that_is_too_long(file: Path, line: str) -> None:
    """A number or a list that Python does not read is refused by the file's name, and nothing is written there."""
    file.write_text(f"{line}\n")
    assert f"{file} holds a number or a list that is too long" in refusal(file).message
    with pytest.raises(ConfigError):
        write_value(file, "batch", "1")
    assert file.read_text() == f"{line}\n"


def test_number_too_long_to_be_shown(file: Path) -> None:
    """A number that can be read in hexadecimal digits, and not be written in decimal ones, is out of range."""
    file.write_text(f"threads = 0x{'f' * 5000}\n")
    assert "is a number of thousands of digits, which is not" in refusal(file).message


def test_text_that_is_not_utf_8(file: Path) -> None:
    """The name of a model's file may be any bytes; a text for the model may not."""
    assert resolve(file, {"CAGCHAT_MODEL": "caf\udce9.gguf"}, {}).settings.model == "caf\udce9.gguf"
    assert "which is not UTF-8" in refusal(file, {"CAGCHAT_INSTRUCTIONS": "caf\udce9"}).message


def test_unreadable(tmp_path: Path) -> None:
    """A folder in the file's place, or bytes that are no text, are refused by name."""
    assert "cannot be read" in refusal(tmp_path).message
    (tmp_path / "c.toml").write_bytes(b"model = '\xff'\n")
    assert "is not UTF-8" in refusal(tmp_path / "c.toml").message


def test_write_new(file: Path) -> None:
    """Setting a key where no file is makes one, with its folder, that only its owner can read."""
    deeper = file.parent / "a" / "config.toml"
    assert write_value(deeper, "threads", "4") == 4
    assert deeper.read_text() == "threads = 4\n"
    assert deeper.stat().st_mode & 0o777 == 0o600


def test_write_keeps_the_rest(file: Path) -> None:
    """Only the key's own assignment changes: comments, order and other values stay."""
    file.write_text('# mine\nmodel = "a#b"  # the good one\n\nthreads=2 # laptop\n#batch = 1\n')
    write_value(file, "model", 'c"#d')
    write_value(file, "threads", "8")
    assert file.read_text() == '# mine\nmodel = "c\\"#d"  # the good one\n\nthreads = 8 # laptop\n#batch = 1\n'


def test_write_appends(file: Path) -> None:
    """A key that is not set is appended, also after a last line without an end."""
    file.write_text("# threads = 1\nbatch = 2")
    write_value(file, "threads", "3")
    assert file.read_text() == "# threads = 1\nbatch = 2\nthreads = 3\n"


def test_write_multiline(file: Path) -> None:
    """A value over several lines is replaced as a whole, and one that looks like the key inside it is not."""
    file.write_text('instructions = """\nthreads = 1\n# not a comment\n"""  # note\nthreads = 2\n')
    write_value(file, "threads", "3")
    write_value(file, "instructions", "a\nb")
    assert file.read_text() == 'instructions = "a\\nb"  # note\nthreads = 3\n'


def test_write_before_tables(file: Path) -> None:
    """A new key goes before a table, where it would mean something else."""
    file.write_text("[other]\nthreads = 1\n")
    write_value(file, "threads", "3")
    assert tomllib.loads(file.read_text()) == {"threads": 3, "other": {"threads": 1}}


def test_write_line_ends(file: Path) -> None:
    """A file with CRLF keeps it."""
    file.write_bytes(b"batch = 2\r\nthreads = 1\r\n")
    write_value(file, "batch", "4")
    write_value(file, "seed", "5")
    assert file.read_bytes() == b"batch = 4\r\nthreads = 1\r\nseed = 5\r\n"


def test_write_through_a_link(file: Path, tmp_path: Path) -> None:
    """A link to a file elsewhere stays a link."""
    target = tmp_path / "dotfiles.toml"
    target.write_text("batch = 2\n")
    file.symlink_to(target)
    write_value(file, "batch", "4")
    assert file.is_symlink()
    assert target.read_text() == "batch = 4\n"


@pytest.mark.parametrize(
    ("old", "key", "text"),
    [
        ("threads = 1\n", "thread", "4"),
        ("threads = 1\n", "threads", "many"),
        ("threads = \n", "threads", "4"),
        ("[threads]\nx = 1\n", "threads", "4"),
        ("threads.x = 1\nthreads.y = 2\n", "threads", "4"),
    ],
)
def test_write_refused(file: Path, old: str, key: str, text: str) -> None:
    """A wrong key, a wrong value or a file that cannot be changed safely is refused, and the file stays."""
    file.write_text(old)
    with pytest.raises(ConfigError):
        write_value(file, key, text)
    assert file.read_text() == old


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_write_any_text(file: Path, text: str) -> None:
    """Any text comes back from the file as it was set, and is set twice like once."""
    file.write_text("# top\n")
    write_value(file, "instructions", text)
    once = file.read_bytes()
    write_value(file, "instructions", text)
    assert file.read_bytes() == once
    assert resolve(file, {}, {}).settings.instructions == text


def test_unset(file: Path) -> None:
    """Unsetting takes out the key's lines, all of them, and nothing else."""
    file.write_text('# a\ninstructions = """\nx\n"""\nthreads = 1\n')
    assert unset_value(file, "instructions") is True
    assert file.read_text() == "# a\nthreads = 1\n"


def test_unset_missing(file: Path) -> None:
    """Unsetting a setting that is not set does nothing, not even make the file."""
    assert unset_value(file, "threads") is False
    assert not file.exists()


def test_unset_unknown(file: Path) -> None:
    """A misspelt key can be taken out of the file; one that is nowhere is refused."""
    file.write_text("thred = 1\n")
    assert unset_value(file, "thred") is True
    assert file.read_text() == ""
    with pytest.raises(ConfigError, match="thred"):
        unset_value(file, "thred")


def test_statements_tile() -> None:
    """The statements of a file, put together, are the file."""
    text = 'a = 1\r\n\nb = [\n1,\n]\n# c\n[t]\nx = 1\n[u]\ny = """\n"""'
    parts = list(statements(text))
    assert "".join(part.text for part in parts) == text
    assert [(part.line, part.keys) for part in parts if part.keys] == [(1, ("a",)), (3, ("b",)), (7, ("t", "u"))]


def test_example_is_current() -> None:
    """The example file in the repository is the one the settings make."""
    assert EXAMPLE.read_text(encoding="utf-8") == example()


def test_example_is_the_default(file: Path) -> None:
    """The example changes nothing as it is, and nothing with every setting uncommented."""
    file.write_text(example())
    assert tomllib.loads(example()) == {}
    file.write_text(re.sub(r"^#(?=\w)", "", example(), flags=re.MULTILINE))
    resolved = resolve(file, {}, {})
    assert resolved.settings == Settings()
    assert "default" not in resolved.origins.values()


@pytest.mark.parametrize("name", rules())
def test_rules_complete(name: str) -> None:
    """Every setting has a sentence, and every number a range that holds its default."""
    rule = rules()[name]
    assert rule.doc.endswith(".")
    if rule.kind in (int, float):
        assert rule.low <= float(rule.default) <= rule.high
        assert rule.low < rule.high


def test_kv_types_are_the_engine_s() -> None:
    """The KV cache types to choose from are those that engines have."""
    assert rules()["kv_type"].choices == ("auto", *protocol.KV_TYPES)


def test_import_is_light() -> None:
    """Importing the settings loads no parser, no writer and no part of the engine."""
    heavy = ["tomllib", "tomli_w", "difflib", "sqlite3", "cagchat.engine.protocol"]
    code = f"import sys, cagchat.settings; print(set({heavy}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
