"""`cagchat bench` counts what it claims, shows it as a table and as JSON, and leaves nothing behind."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cagchat.bench.reopen import read_proof
from cagchat.bench.synth import write_model
from cagchat.bench.tables import (
    Cell,
    Column,
    Figure,
    Table,
    as_object,
    drawn,
    least,
    markdown,
    most,
    of_how_many,
    ratio,
    shown,
)
from cagchat.bench.workbench import Workbench, count_tokens, cut_book, environment
from cagchat.cli.main import main
from cagchat.engine.child import Child
from cagchat.engine.protocol import EngineSettings
from cagchat.engine.wire import Start
from cagchat.errors import EngineError
from cagchat.proof import Proof
from cagchat.settings import Settings

SENTENCE = "Forty-one lanterns hung along the quay, and Ines Varga wrote the number on her cuff. "

TABLE = Table(
    "restore",
    "Restoring",
    (Column("way", "way"), Column("s", "seconds", "seconds"), Column("speed", "speed", "tokens_per_s")),
    (
        {"way": "ours", "s": least([0.3, 0.2, 0.4]), "speed": most([180.0, 185.0])},
        {"way": "theirs", "s": "It ended with SIGSEGV: a | b\nc"},
    ),
    ("Of three runs.",),
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("bench") / "tiny.gguf", "qwen3", layers=2)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "lanterns.txt"
    path.write_text(SENTENCE * 8, encoding="utf-8")
    return path


@pytest.fixture
def bench(tiny: Path, book: Path, tmp_path: Path) -> Workbench:
    settings = Settings(model=str(tiny), threads=1, batch=128, chat_tokens=512, fast_kernels="off")
    return Workbench(tmp_path / "home", settings, book, repeat=1, lengths=(), say=lambda text: None)


def run_bench(tiny: Path, book: Path, report: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Run the command on the tiny model; return its exit code and the rows by measurement."""
    engine = ["--model", str(tiny), "--threads", "1", "--fast-kernels", "off", "--chat-tokens", "512"]
    code = main(["bench", "--book", str(book), "--repeat", "1", "--json", str(report), *engine, *more])
    content = json.loads(report.read_bytes())
    return code, {measurement["name"]: measurement["rows"] for measurement in content["measurements"]}


def proof(evaluated: int, *, reading: bool) -> Proof:
    return Proof(3412, evaluated, 20, 0, 5, 1, 10**8, 0.02, 0.1, 0.5, 25, 8192, reading, 0)


def test_markdown_shows_the_best() -> None:
    """A Markdown table has the best of each figure, a dash for what is missing, and a reason on one line."""
    assert markdown(TABLE).splitlines() == [
        "**Restoring**",
        "",
        "| way | seconds | speed |",
        "| :-- | --: | --: |",
        "| ours | 0.20 s | 185 tok/s |",
        "| theirs | It ended with SIGSEGV: a \\| b c | – |",
        "",
        "Of three runs.",
    ]


def test_terminal_shows_every_cell() -> None:
    """On a terminal the same cells are drawn, brackets in them taken as text."""
    screen = StringIO()
    console = Console(width=120, file=screen)
    console.print(drawn(Table("x", "Title", TABLE.columns, ({"way": "[bold]us", "s": least([2.5])},))))
    text = screen.getvalue()
    assert all(part in text for part in ("Title", "seconds", "[bold]us", "2.50 s", "–"))


def test_json_keeps_every_run() -> None:
    """JSON has best, median and all runs of a figure, and what each column's numbers are."""
    content = json.loads(json.dumps(as_object(TABLE)))
    assert content["rows"][0]["s"] == {"best": 0.2, "median": 0.3, "runs": [0.3, 0.2, 0.4]}
    assert content["rows"][1] == {"way": "theirs", "s": "It ended with SIGSEGV: a | b\nc"}
    assert content["columns"]["speed"] == {"title": "speed", "kind": "tokens_per_s"}


def test_ratio_compares_like_with_like() -> None:
    """A ratio divides the best by the best and the median by the median."""
    assert ratio(least([8.0, 12.0, 10.0]), least([2.0, 4.0, 5.0])) == Figure(4.0, 2.5)


def test_a_table_says_of_how_many_runs_it_shows_the_best() -> None:
    """The runs are those that the figures had: of each row where rows differ, once where all are alike."""
    columns = (Column("cold", "cold", "seconds"), Column("warm", "warm", "seconds"), Column("ratio", "ratio", "times"))

    def row(cold: int, warm: int) -> dict[str, Cell]:
        long, short = least([9.0] * cold), least([3.0] * warm)
        return {"cold": long, "warm": short, "ratio": ratio(long, short)}

    assert of_how_many(columns, [row(2, 2), row(1, 2)]) == (
        "Shown is the best, row by row: “cold” of 2, 1 runs; “warm” of 2 runs.",
    )
    assert of_how_many(columns, [row(5, 5)]) == ("Shown is the best of 5 runs.",)
    assert of_how_many(columns, [row(1, 3)]) == ("Shown is the best: “cold” of 1 run; “warm” of 3 runs.",)
    assert of_how_many(columns, [{"cold": "It failed."}]) == ()


def test_units_are_a_readers() -> None:
    """Counts have commas, bytes a unit, and small ratios two decimals."""
    assert shown(3412, "count") == "3,412"
    assert shown(78_000_000, "bytes") == "78 MB"
    assert shown(most([3.5e9]), "bytes_per_s") == "3.50 GB/s"
    assert shown(Figure(0.987, 1.0), "times") == "0.99 ×"
    assert shown(Figure(52.34, 1.0), "times") == "52.3 ×"


@pytest.mark.parametrize(("evaluated", "reading"), [(0, False), (3412, True), (3412, False), (900, True)])
def test_proof_is_read_from_its_line(evaluated: int, reading: bool) -> None:
    """Book tokens and those evaluated come out of a proof line as they went in."""
    said = f"Reading Lanterns: 3,412 tokens.\n{proof(evaluated, reading=reading).line()}\n"
    assert read_proof(said) == (3412, evaluated)


def test_no_proof_is_no_zero() -> None:
    """An answer without a proof line is an error, not a count of nothing."""
    with pytest.raises(EngineError):
        read_proof("Reading Lanterns: 3,412 tokens.\n")


def test_restore_through_the_command(
    tiny: Path, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bench --only restore` prints a Markdown table on stdout and writes the same measurement as JSON."""
    code, rows = run_bench(tiny, book, tmp_path / "report.json", "--only", "restore")
    assert code == 0
    assert list(rows) == ["restore"]
    (row,) = rows["restore"]
    assert len(row["restore"]["runs"]) == len(row["copy"]["runs"])
    assert min(row["size"], row["tokens"], row["restore"]["best"], row["ratio"]["best"]) > 0
    shown = capsys.readouterr().out
    assert "| tokens | state |" in shown
    assert len(row["restore"]["runs"]) == 5  # more than --repeat, which is 1
    assert shown.count("best of") == shown.count("Shown is the best of 5 runs.") == 1


def test_report_names_the_machine(tiny: Path, book: Path, tmp_path: Path) -> None:
    """JSON says on what, with what and how often was measured."""
    run_bench(tiny, book, tmp_path / "report.json", "--only", "restore")
    machine = json.loads((tmp_path / "report.json").read_bytes())["machine"]
    assert {"processor", "cores", "llama_cpp_python", "model", "kv_type", "tokens", "repeat", "shown"} <= set(machine)
    assert (machine["threads"], machine["kv_type"], machine["repeat"]) == (1, "f16", 1)


def test_users_folder_is_not_touched(tiny: Path, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens in a temporary folder, and that is gone afterwards."""
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path / "mine"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert run_bench(tiny, book, tmp_path / "report.json", "--only", "reopen,restore", "--lengths", "")[0] == 0
    assert not (tmp_path / "mine").exists()
    assert list(temporary.iterdir()) == []


def test_reopening_counts_book_tokens(tiny: Path, book: Path, tmp_path: Path) -> None:
    """Cold, every book token is evaluated; restored, none; also for the book cut short, which has fewer."""
    code, rows = run_bench(tiny, book, tmp_path / "report.json", "--only", "reopen", "--lengths", "200,99999")
    assert code == 0
    short, whole = rows["reopen"]
    assert short["tokens"] < whole["tokens"]
    for row in (short, whole):
        assert (row["cold_book"], row["restored_book"]) == (row["tokens"], 0)


def test_speed_has_both_sides(tiny: Path, book: Path, tmp_path: Path) -> None:
    """Prefill is measured in the program and in the bare loop as often as asked."""
    code, rows = run_bench(tiny, book, tmp_path / "report.json", "--only", "speed", "--repeat", "2")
    prefill, decode = rows["speed"]
    assert code == 0
    assert (prefill["what"], decode["what"]) == ("prefill", "decode")
    assert len(prefill["cagchat"]["runs"]) == len(prefill["bare"]["runs"]) == 2


def test_bare_loop_reports_a_full_cache(tiny: Path) -> None:
    """The bare loop fails when llama_decode does, instead of timing nothing."""
    settings = EngineSettings(model=tiny, n_context=256, n_batch=128, threads=1, fast_kernels=False)
    with closing(Child(Start("bare", (settings,)))) as bare:
        with pytest.raises(EngineError):
            bare.call("read", [65] * 400)
        assert bare.call("read", [65] * 100) > 0


def test_book_is_cut_at_tokens(bench: Workbench) -> None:
    """A cut book has about the tokens asked for, and is the book's beginning."""
    path = cut_book(bench, 200)
    assert path.read_text(encoding="utf-8") != SENTENCE * 8
    assert (SENTENCE * 8).startswith(path.read_text(encoding="utf-8"))
    bench_of_cut = Workbench(bench.home, bench.settings, path, 1, (), bench.say)
    assert 190 <= count_tokens(bench_of_cut) <= 210  # tokens may join otherwise once the loader has cleaned its end


def test_programs_of_the_bench_start_as_installed_ones(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have a home of their own, none of the user's settings, and keep their bytecode."""
    monkeypatch.setenv("CAGCHAT_THREADS", "7")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("OTHER", "stays")
    environ = environment(bench)
    assert {name for name in environ if name.startswith("CAGCHAT_")} == {"CAGCHAT_HOME"}
    assert environ["CAGCHAT_HOME"] == str(bench.home)
    assert "PYTHONDONTWRITEBYTECODE" not in environ
    assert environ["OTHER"] == "stays"


def test_failure_is_shown_and_told(tiny: Path, book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A measurement that cannot run is a row with its reason, and the command ends with 1."""
    book.write_text(SENTENCE * 200, encoding="utf-8")
    code, rows = run_bench(tiny, book, tmp_path / "report.json", "--only", "restore", "--no-yarn")
    assert code == 1
    assert "too many" in rows["restore"][0]["reason"]
    assert "hint:" in capsys.readouterr().err


@pytest.mark.parametrize("book", ["none.txt", "~no-such-user/none.txt"])
def test_missing_book_ends_it(
    book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A book that is not there is refused before anything is measured."""
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--book", book]) == 1
    assert capsys.readouterr().out == ""


def test_report_needs_its_folder(tmp_path: Path) -> None:
    """A report that could not be written is refused at the start."""
    assert main(["bench", "--json", str(tmp_path / "none" / "report.json")]) == 2


@pytest.mark.parametrize("wrong", [["--only", "lunch"], ["--repeat", "0"], ["--lengths", "12,x"]])
def test_wrong_arguments_are_usage_errors(wrong: list[str]) -> None:
    """Unknown measurements and numbers that are none are refused with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", *wrong])
    assert caught.value.code == 2
