"""`cagchat plan`: what would read a book on this machine or another, and what that takes."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from cagchat.cli.plan_report import gib, hundredths
from cagchat.models.catalogue import GIB
from cagchat.plan.planner import sold_as
from tests.cli.commands import Terminal, error_of, terminal_at
from tests.documents.invented_text import BOOKS, chapters
from tests.engine_cases import model_path, smollm2
from tests.reading_cases import write_book

VOCABULARY = BOOKS.parent / "models" / "ggml-vocab-qwen35.gguf"
NOVEL = BOOKS / "war_and_peace.txt"


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of a user without models of other programs."""
    terminal = terminal_at(tmp_path / "home", capsys, monkeypatch)
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "LLAMA_CACHE", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    return terminal


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A short book."""
    return write_book(tmp_path)


@pytest.fixture(scope="session")
def novel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """War and Peace where the novels stand beside the checkout, else an invented book that is as long."""
    if NOVEL.exists():
        return NOVEL
    path = tmp_path_factory.mktemp("novel") / "keeper.txt"
    path.write_text(chapters(*(f"CHAPTER {number}" for number in range(1, 366)), characters=9200))
    return path


@pytest.fixture(scope="session")
def counted_novel(novel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """War and Peace, or an invented book with as many tokens for the small model, whose tokens are bytes."""
    if VOCABULARY.exists():
        return novel
    path = tmp_path_factory.mktemp("counted") / "keeper.txt"
    path.write_text(chapters(*(f"CHAPTER {number}" for number in range(1, 366)), characters=2000))
    return path


@pytest.fixture(scope="session")
def vocabulary(models: Path) -> Path:
    """The vocabulary of Qwen3.5 where it stands beside the checkout, else a small model's of its architecture."""
    return VOCABULARY if VOCABULARY.exists() else model_path("qwen35", models)


def planned(cagchat: Terminal, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """Return a plan as JSON."""
    outcome = cagchat("plan", *arguments, "--json")
    assert outcome.code == code, outcome
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def check_sums(option: dict[str, Any], machine: dict[str, Any]) -> None:
    """Parts add up to their sums, and these are no more than there is."""
    assert sum(option["device"].values()) == option["device_bytes"]
    assert sum(option["host"].values()) == option["host_bytes"]
    assert option["device_bytes"] <= machine["device_bytes"]
    assert not machine["host_bytes"] or option["host_bytes"] <= machine["host_bytes"]


# -- the novel ---------------------------------------------------------------------------------------------------------


def test_novel_on_a_card_of_24_gb(cagchat: Terminal, counted_novel: Path, vocabulary: Path) -> None:
    """The flagship holds the whole novel and 8K of chat, exactly counted, in parts that add up."""
    plan = planned(cagchat, counted_novel, "--vram", "24GB", "--chat-tokens", "8192", "--tokenizer", vocabulary)
    chosen = plan["chosen"]
    assert plan["fits"]
    assert plan["beginning"] is None
    assert chosen["exact"]
    check_sums(chosen, plan["machine"])
    assert plan["machine"]["device_bytes"] == sold_as(24)
    assert chosen["n_context"] >= chosen["n_tokens"] + 8192
    assert chosen["model"] == "qwen3.5-35b-a3b"
    if counted_novel == NOVEL and vocabulary == VOCABULARY:
        assert chosen["n_tokens"] == 769_584
        assert (chosen["quantisation"], chosen["kv_type"], chosen["yarn_factor"]) == ("Q3_K_M", "q4_0", 3)
        assert "published for an L4" in [source for _, source in chosen["seconds"]]


def test_novel_that_does_not_fit(cagchat: Terminal, novel: Path) -> None:
    """On a small card the plan says how far the book goes, with what fits there, what would hold it, and fails."""
    plan = planned(cagchat, novel, "--vram", "4GB", "--chat-tokens", "8192", code=1)
    part, options = plan["beginning"], plan["options"]
    assert plan["chosen"] is None
    assert not plan["fits"]
    check_sums(part, plan["machine"])
    assert part["n_tokens"] == max(option["holds"] for option in options)
    assert re.fullmatch(r"[\d,]+ of its tokens, to CHAPTER .*\([\d.]+ %\); nothing here holds more", part["held"])
    assert plan["larger_card_gib"] in (6, 8)
    assert all(option["problem"] and option["missing_bytes"] >= 0 for option in options)


# -- words -------------------------------------------------------------------------------------------------------------


def test_report_in_words(cagchat: Terminal, book: Path) -> None:
    """The report names book, tokens, machine, model and settings; each memory's lines add up as printed."""
    outcome = cagchat("plan", book, "--vram", "8GB", "--ram", "32")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].startswith("Lanterns: ")
    assert "estimated, within" in lines[0]
    assert lines[1] == "machine: a card sold with 8 GiB, of which 7.6 GiB can be used, 32 GiB of RAM"
    assert lines[3].startswith("Qwen3.5 9B ")
    assert lines[4] == "  holds the whole book"
    total, n_sums = 0, 0
    for line in lines:
        if found := re.match(r"    (\S.*?) +(\d+)\.(\d\d) GiB", line):
            number = int(found[2] + found[3])
            if found[1] == "together":
                assert number == total
                total, n_sums = 0, n_sums + 1
            else:
                total += number
    assert n_sums == 2
    assert any(line.startswith("  to fetch it: cagchat models get qwen3.5-9b") for line in lines)


@pytest.mark.parametrize("arguments", [("--vram", "24GB", "--ram", "64"), ("--vram", "4"), ("--vram", "24", "--all")])
def test_no_line_is_wrapped_at_80_columns(cagchat: Terminal, book: Path, arguments: tuple[str, ...]) -> None:
    """Every row of the table is one line that begins with a model's name, as wide as 80 columns at most."""
    out = cagchat("plan", book, *arguments).out
    table = out[out.index("considered") :].splitlines()[3:]
    rows = [line for line in table if "more would hold nothing of it" not in line]
    assert rows
    assert all(len(line) <= 80 for line in rows)
    assert all(line.startswith(("Qwen3", "SmolLM2")) for line in rows)


def test_hopeless_options_are_counted(cagchat: Terminal, book: Path) -> None:
    """Options that hold nothing of the book are counted in a line; --all lists them, and those after the first."""
    few = cagchat("plan", book, "--vram", "8GB").out
    every = cagchat("plan", book, "--vram", "8GB", "--all").out
    (counted,) = re.findall(r"(\d+) more would hold nothing of it: --all lists them", few)
    assert int(counted) > 0
    assert len(every.splitlines()) > len(few.splitlines()) + int(counted)
    assert "--all lists them" not in every


def test_nothing_at_all_fits(cagchat: Terminal, book: Path) -> None:
    """On a machine that holds no model the report says so, and which card would do."""
    outcome = cagchat("plan", book, "--vram", "0.1")
    assert outcome.code == 1
    assert "nothing holds any of it here" in outcome.out
    assert "a card of 4 GB would hold the whole book" in outcome.out


@pytest.mark.parametrize("numbers", [[0.004, 0.004, 0.004], [15.038, 4.171, 0.123, 2.279], [], [1.0], [0.0, 0.005]])
def test_rounded_numbers_add_up(numbers: list[float]) -> None:
    """Rounded parts add up to their rounded sum, and none is off by a hundredth or more."""
    found = hundredths(numbers)
    assert sum(found) == round(100 * sum(numbers))
    assert all(abs(part - 100 * number) < 1 for part, number in zip(found, numbers, strict=True))


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(24 * GIB, "24 GiB"), (21.46 * GIB, "21.5 GiB"), (0.04 * GIB, "41 MiB"), (0, "0 MiB")]
)
def test_memory_in_words(n_bytes: float, text: str) -> None:
    """Memory is said as cards are sold by it."""
    assert gib(n_bytes) == text


# -- which machine -----------------------------------------------------------------------------------------------------


def test_machine_without_a_gpu(cagchat: Terminal, book: Path) -> None:
    """--vram 0 --ram 16GB plans for a processor with so much RAM: all of it is used, nothing of a GPU."""
    plan = planned(cagchat, book, "--vram", "0", "--ram", "16GB")
    assert plan["machine"] == {
        "words": "no GPU, 16 GiB of RAM",
        "device_bytes": 0,
        "host_bytes": 16 * GIB,
        "disk_bytes": 0,
    }
    assert plan["chosen"]["device"] == {}
    check_sums(plan["chosen"], plan["machine"])


def test_this_machine(cagchat: Terminal, book: Path) -> None:
    """Without a machine given, this one is planned for, with its disk; --ram changes only its RAM."""
    plan = planned(cagchat, book)
    assert plan["machine"]["words"].startswith("this one: ")
    assert plan["machine"]["disk_bytes"] > 1
    changed = planned(cagchat, book, "--ram", "3")["machine"]
    assert changed["host_bytes"] == 3 * GIB
    assert changed["device_bytes"] == plan["machine"]["device_bytes"]


def test_what_reads_the_book_until_the_best_is_fetched(cagchat: Terminal, book: Path, tmp_path: Path) -> None:
    """On this machine the plan says what is here already; of another machine's disk nothing is known."""
    book.write_text("The lamp was lit again in the evening.\n\n" * 100, encoding="utf-8")
    assert planned(cagchat, book)["until_then"].startswith("SmolLM2")
    assert "  until then: SmolLM2" in cagchat("plan", book).out
    book.write_text("The lamp was lit again in the evening.\n\n" * 4000, encoding="utf-8")
    assert planned(cagchat, book)["until_then"] == "no model on this disk holds the whole book"
    assert planned(cagchat, book, "--ram", "30")["until_then"] == ""


def test_this_machine_without_its_gpu(cagchat: Terminal, book: Path) -> None:
    """--vram 0 alone plans for this machine's RAM, not for one without limits."""
    machine = planned(cagchat, book, "--vram", "0")["machine"]
    assert machine["device_bytes"] == 0
    assert machine["host_bytes"] > 0


@pytest.mark.parametrize("amount", ["24GB", "24", "24gb", "24 GiB", "24.0G"])
def test_amounts_of_memory(cagchat: Terminal, book: Path, amount: str) -> None:
    """Memory may be written in every usual way."""
    assert planned(cagchat, book, "--vram", amount)["machine"]["device_bytes"] == sold_as(24)


@pytest.mark.parametrize("amount", ["", "much", "24MB", "-1", "1e3", "24 GB!", "inf", "100001", "9" * 400])
def test_other_amounts_are_refused(cagchat: Terminal, book: Path, amount: str) -> None:
    """What is no amount of memory is a usage error."""
    outcome = cagchat("plan", book, f"--vram={amount}")
    assert outcome.code == 2
    assert "--vram" in outcome.err


# -- which model -------------------------------------------------------------------------------------------------------


def test_named_model_is_the_only_one(cagchat: Terminal, book: Path) -> None:
    """With --model only that file is planned with, counted by its own tokenizer, and no larger card is named."""
    plan = planned(cagchat, book, "--model", smollm2())
    assert {option["path"] for option in plan["options"]} == {str(smollm2())}
    assert plan["chosen"]["exact"]


def test_fixed_settings_are_obeyed(cagchat: Terminal, book: Path) -> None:
    """KV type, batch, layers and experts given on the command line are those of every option."""
    flags = ("--kv", "q4_0", "--batch", "96", "--gpu-layers", "7", "--experts-in-ram", "2")
    options = planned(cagchat, book, "--vram", "24", "--all", *flags)["options"]
    fixed = {(o["kv_type"], o["batch"], o["gpu_layers"], o["experts_in_ram"]) for o in options}
    assert fixed == {("q4_0", 96, 7, 2)}


def test_option_that_fits_has_no_problem(cagchat: Terminal, book: Path) -> None:
    """In the JSON the last option is the chosen one, the only one that fits; the others say why not."""
    plan = planned(cagchat, book, "--vram", "12")
    *refused, last = plan["options"]
    assert last == plan["chosen"]
    assert [option["fits"] for option in refused] == [False] * len(refused)
    assert all(option["problem"] for option in refused)
    assert (last["fits"], last["problem"], last["missing_bytes"]) == (True, "", 0)
    assert last["holds"] == last["n_tokens"]


def test_missing_model_is_refused(cagchat: Terminal, book: Path) -> None:
    """A model that is named and not there is one clear error."""
    assert "no model" in error_of(cagchat("plan", book, "--model", "/nowhere/x.gguf"))


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_tokenizer_that_is_no_gguf_is_refused(cagchat: Terminal, book: Path, tmp_path: Path) -> None:
    """A file that is missing or no GGUF cannot count."""
    (tmp_path / "x.gguf").write_bytes(b"nothing")
    error_of(cagchat("plan", book, "--vram", "24", "--tokenizer", tmp_path / "x.gguf"))
    error_of(cagchat("plan", book, "--vram", "24", "--tokenizer", tmp_path / "none.gguf"))
    error_of(cagchat("plan", book, "--vram", "24", "--tokenizer", "~no-such-user/none.gguf"))


def test_tokenizer_without_a_vocabulary_is_a_usage_error(cagchat: Terminal, book: Path, tmp_path: Path) -> None:
    """A GGUF that lists no tokens is the wrong thing to give."""
    pair = [struct.pack("<Q", len(text)) + text for text in (b"general.architecture", b"llama")]
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair[0] + struct.pack("<I", 8) + pair[1]
    (tmp_path / "empty.gguf").write_bytes(header.ljust(4096, b"\0"))
    outcome = cagchat("plan", book, "--vram", "24", "--tokenizer", tmp_path / "empty.gguf")
    assert "holds no vocabulary" in error_of(outcome, 2)


def test_given_tokenizer_makes_the_count_exact(cagchat: Terminal, book: Path, models: Path) -> None:
    """With a vocabulary of the family the count is exact; without one it is marked as an estimate."""
    exact = planned(cagchat, book, "--vram", "24", "--tokenizer", model_path("qwen35", models))
    assert exact["chosen"]["exact"]
    assert not planned(cagchat, book, "--vram", "24")["chosen"]["exact"]


# -- which book --------------------------------------------------------------------------------------------------------


def test_book_that_was_read_is_planned_by_title(cagchat: Terminal, tmp_path: Path) -> None:
    """A title stands for the file of a book that was read, and for its text when the file is gone."""
    book = write_book(tmp_path)
    assert cagchat("read", book, "--fake").code == 0
    by_path = planned(cagchat, book, "--vram", "24")
    assert planned(cagchat, "lanterns", "--vram", "24") == by_path
    book.unlink()
    assert planned(cagchat, "lanterns", "--vram", "24")["chosen"]["n_tokens"] == by_path["chosen"]["n_tokens"]


def test_missing_book_is_an_error(cagchat: Terminal) -> None:
    """A book that is neither a file nor a title fails with one sentence."""
    error_of(cagchat("plan", "nowhere.txt", "--vram", "24"))


def test_a_book_is_needed(cagchat: Terminal) -> None:
    """Without a book the command line is wrong."""
    assert cagchat("plan").code == 2
