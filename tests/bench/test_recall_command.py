"""`bench recall` as a command: it measures, writes its reports, goes on after a stop, and restores what it has read."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cagchat import demo, documents
from cagchat.bench.asking import Stop
from cagchat.bench.facts import facts_of_seeds
from cagchat.bench.quote_test import questions_of
from cagchat.cli import bench_recall
from cagchat.cli.app import App
from cagchat.cli.bench_recall import kv_types, modes, numbers, out_of_time
from cagchat.cli.main import main
from cagchat.conversation import Asking, AskOptions, Conversation
from cagchat.engine.fake import FakeScript
from cagchat.errors import StorageError, UsageError
from cagchat.events import Answer
from cagchat.sessions.store import Sessions
from tests.engine_cases import smollm2
from tests.reading_cases import chapters

SMALL = ("--lengths", "1500,2500", "--depths", "2", "--facts", "2", "--seeds", "2", "--kv", "f16,q8_0")

Run = Callable[..., int]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "lanterns.txt"
    path.write_text(chapters(12).replace("\n", "\n\n"), encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command with the engine without a model, which quotes what fits the question best."""

    def run(*arguments: str | Path) -> int:
        parser = argparse.ArgumentParser()
        bench_recall.configure(parser)
        out = ["--out", str(tmp_path / "out"), "--model", "fake.gguf", "--chat-tokens", "4096"]
        args = parser.parse_args([*map(str, arguments), *out])
        args.fake = True
        with App.from_arguments(args, {"CAGCHAT_HOME": str(tmp_path / "home")}) as app:
            return bench_recall.run(app, args)

    return run


def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def test_measures_and_writes(run: Run, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints both tables and writes counts, answers and the picture; the texts stay to be looked at."""
    report, picture = tmp_path / "recall.json", tmp_path / "recall.svg"
    assert run(book, *SMALL, "--json", report, "--svg", picture) == 0
    out = capsys.readouterr().out
    assert "| 2,500 | q8_0 | on |" in out
    found = content(report)
    assert len(found["rows"]) == 2 * 2 * 2
    assert all((row["all"]["asked"], row["without_facts"]["asked"]) == (4, 4) for row in found["rows"])
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    assert len(list((tmp_path / "out" / "texts").iterdir())) == 6


def test_guessing_is_seen(run: Run, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that knows answers without reading is right about texts without facts too, and the report says so."""
    known = facts_of_seeds((1, 2), 2, documents.load(book).text)[1]
    script = FakeScript(answers={fact.question: f"It was {fact.answer.upper()}." for fact in known})
    monkeypatch.setattr(demo, "fake_script", lambda: script)
    run(book, *SMALL, "--json", tmp_path / "recall.json")
    for row in content(tmp_path / "recall.json")["rows"]:
        assert (row["all"]["right"], row["all"]["asked"]) == (2, 4)
        assert (row["without_facts"]["right"], row["without_facts"]["asked"]) == (2, 4)


def test_stop_during_an_answer_keeps_what_is_whole(
    run: Run, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of an answer ends the run with 130; that answer is asked again, the others are not."""
    asked: list[str] = []
    ask = Conversation.ask

    def watched(conversation: Conversation, question: str, options: AskOptions) -> Asking:
        asked.append(question)
        for event in ask(conversation, question, options):
            if len(asked) == 3 and isinstance(event, Answer):
                signal.raise_signal(signal.SIGINT)
            yield event

    monkeypatch.setattr(Conversation, "ask", watched)
    assert run(book, *SMALL) == 130
    assert len(asked) == 3
    assert len((tmp_path / "out" / "answers.jsonl").read_bytes().splitlines()) == 2
    assert run(book, *SMALL) == 0
    assert asked[3] == asked[2]
    assert len(asked) == 1 + 2 * 2 * (2 * 2 * 2 + 4)  # each text's by both ways, and all without facts


def test_second_run_reads_and_asks_nothing(
    run: Run, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Started again, the command opens no text and reports the same."""
    for name in ("first", "second"):
        capsys.readouterr()
        run(book, *SMALL, "--json", tmp_path / f"{name}.json")
    assert ", KV " not in capsys.readouterr().err
    assert content(tmp_path / "first.json") == content(tmp_path / "second.json")


def test_states_are_kept(run: Run, book: Path, tmp_path: Path) -> None:
    """Answers that are lost are asked again about restored states: no text is read twice."""
    run(book, *SMALL)
    states = tmp_path / "out" / "data" / "states"
    before = {path: path.stat().st_mtime_ns for path in states.rglob("state-*.bin")}
    assert len(before) == 2 * 2 * 3
    (tmp_path / "out" / "answers.jsonl").unlink()
    run(book, *SMALL)
    assert {path: path.stat().st_mtime_ns for path in states.rglob("state-*.bin")} == before


def test_nothing_is_left_in_the_users_chats(run: Run, book: Path, tmp_path: Path) -> None:
    """Neither states nor chats of a measurement are among the user's, and its own chats are deleted one by one."""
    run(book, *SMALL)
    assert not (tmp_path / "home" / "data").exists()
    with Sessions(tmp_path / "out" / "data" / "sessions.sqlite") as sessions:
        assert sessions.list() == []


def test_quotes_are_counted(run: Run, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --quotes the questions of a file are asked about the whole book and their quotes looked up."""
    questions = tmp_path / "questions.txt"
    questions.write_text("# about the quay\nWho kept the ledger of the harbour?\n\n", encoding="utf-8")
    assert run(book, "--quotes", questions, "--json", tmp_path / "quotes.json") == 0
    assert "| Who kept the ledger of the harbour? | off |" in capsys.readouterr().out
    found = content(tmp_path / "quotes.json")
    assert [answer["evidence"] for answer in found["answers"]] == ["off", "on"]
    assert {"verified", "near", "absent"} <= found["answers"][0]["checks"].keys()


def test_short_book_leaves_lengths_out(run: Run, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lengths that the book does not have are said; when it has none, the command is refused."""
    small = ("--depths", "1", "--facts", "1", "--seeds", "1", "--kv", "f16", "--evidence", "off")
    assert run(book, *small, "--lengths", "1500,99K") == 0
    assert "101,376 is left out" in capsys.readouterr().err
    with pytest.raises(UsageError, match="less than 101,376"):
        run(book, *small, "--lengths", "99K")


def test_folder_is_for_one_run(run: Run, book: Path, tmp_path: Path) -> None:
    """Two runs do not work in one folder at a time."""
    (tmp_path / "out").mkdir(mode=0o700)
    with FileLock(tmp_path / "out" / "run.lock"), pytest.raises(StorageError, match="Another run"):
        run(book, *SMALL)


def test_report_needs_its_folder(run: Run, book: Path, tmp_path: Path) -> None:
    """A report that could not be written is refused before anything is read."""
    with pytest.raises(UsageError, match="no folder"):
        run(book, *SMALL, "--svg", tmp_path / "none" / "recall.svg")
    assert not (tmp_path / "out").exists()


def test_time_is_over_after_its_minutes() -> None:
    """Two minutes are over after 120 seconds, and no minutes never."""
    now = [0.0]
    over, never = out_of_time(2, lambda: now[0]), out_of_time(0, lambda: now[0])
    assert not over()
    now[0] = 120.0
    assert over()
    assert not never()


def test_stop_reaches_what_runs() -> None:
    """A request to stop is passed on to what runs at that moment, and not to what ran before."""
    stopped: list[str] = []
    stop = Stop()
    with stop.reaches(lambda: stopped.append("reading")):
        pass
    assert not stop.wanted
    with stop.reaches(lambda: stopped.append("answer")):
        stop()
    assert stopped == ["answer"]
    assert stop.wanted


def test_lists_are_read() -> None:
    """Lengths are sorted and may be thousands, KV types keep their order, evidence is off before on."""
    assert numbers("4K,1024") == (1024, 4096)
    assert kv_types("q4_0, f16") == ("q4_0", "f16")
    assert modes("on,off") == ("off", "on")


@pytest.mark.parametrize("wrong", [["--kv", "f12"], ["--evidence", "maybe"], ["--depths", "0"], ["--lengths", "0"]])
def test_wrong_lists_are_usage_errors(wrong: list[str]) -> None:
    """What is none of the choices is refused with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", "recall", *wrong])
    assert caught.value.code == 2


def test_questions_are_read_from_both_kinds_of_file() -> None:
    """Questions are lines, or the texts of a TOML file like the demonstration's; none at all is refused."""
    assert questions_of("# mine\nWho?\n\n Where? \n", toml=False) == ["Who?", "Where?"]
    assert questions_of('[[question]]\ntext = "Who?"\n', toml=True) == ["Who?"]
    for text, toml in (("\n", False), ("question = 1", True), ("[[question]]\nwho = 1", True), ("x", True)):
        with pytest.raises(UsageError):
            questions_of(text, toml=toml)


def test_real_model_finds_a_fact(tmp_path: Path, book: Path) -> None:
    """SmolLM2 reads a few hundred tokens with a fact in them and is asked with and without passages, and without it."""
    parser = argparse.ArgumentParser()
    bench_recall.configure(parser)
    report = tmp_path / "recall.json"
    small = ["--lengths", "384", "--depths", "1", "--facts", "1", "--seeds", "1", "--kv", "f16", "--json", str(report)]
    engine = ["--model", str(smollm2()), "--threads", "1", "--fast-kernels", "off", "--chat-tokens", "1024"]
    args = parser.parse_args([str(book), *small, *engine, "--out", str(tmp_path / "out")])
    with App.from_arguments(args, {"CAGCHAT_HOME": str(tmp_path / "home")}) as app:
        assert bench_recall.run(app, args) == 0
    off, on = content(report)["rows"]
    assert (off["all"]["asked"], on["all"]["asked"], off["without_facts"]["asked"]) == (1, 1, 1)
    assert off["without_facts"]["right"] == 0
    assert on["evaluated"] > off["evaluated"]
