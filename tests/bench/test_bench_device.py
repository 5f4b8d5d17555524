"""`bench device`: what it measures at each depth, how it reaches one, and that it stops at its limit."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cagchat.bench.device import DEPTHS, NOT_REACHED, measure
from cagchat.bench.long_state import long_bytes, write_long
from cagchat.bench.memory import peak_bytes
from cagchat.bench.synth import Architecture, write_model
from cagchat.bench.tables import Figure, Table, as_object, markdown
from cagchat.cli import bench_device
from cagchat.cli.app import App
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, CHAT, Blob, Engine, EngineSettings, KvType, Part
from cagchat.engine.wire import Start
from cagchat.errors import EngineCancelled, EngineDied, StateError
from cagchat.hardware.meter import Load

KINDS: tuple[Architecture, ...] = ("qwen3", "qwen35moe", "gemma3")
SHORT = "She counted forty-one lanterns along the quay, wrote the number on her cuff, and went home. " * 2


class Opener:
    """Starts engines in a child and lets a test see them."""

    def __init__(self, watch: Callable[[Engine], Engine] = lambda engine: engine) -> None:
        self._watch = watch

    def open_engine(self, settings: EngineSettings, notify: Callable[[str], None]) -> Engine:
        """Start an engine."""
        return self._watch(EngineProcess(Start("llama", (settings,))))


class Gauge:
    """Says that the engine takes a megabyte more at each reading."""

    def __init__(self, kind: str = "RAM") -> None:
        self._kind = kind
        self._megabytes = 100

    def read(self, engine_pid: int | None = None) -> Load:
        """Return the load now."""
        self._megabytes += 1
        taken = self._megabytes * 10**6
        return Load("VRAM", taken, 10**9) if self._kind == "VRAM" else Load("RAM", 5 * taken, 10**9, None, taken)


class Timer:
    """A clock on which a second passes at every look, and everything after `jump` looks takes an hour."""

    def __init__(self, jump: int = 10**9) -> None:
        self._looks = 0
        self._jump = jump

    def __call__(self) -> float:
        self._looks += 1
        return self._looks + 3600.0 * max(0, self._looks - self._jump)


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("device") / "hybrid.gguf", "qwen35moe", layers=4)


def settings(model: Path, n_context: int = 4096, kv_type: KvType = "f16") -> EngineSettings:
    return EngineSettings(
        model=model, n_context=n_context, n_batch=64, n_sequences=2, kv_type=kv_type, threads=1, fast_kernels=False
    )


def measured(
    model: Path,
    folder: Path,
    *,
    minutes: float = 60,
    n_context: int = 4096,
    timer: Timer | None = None,
    gauge: Gauge | None = None,
    watch: Callable[[Engine], Engine] = lambda engine: engine,
) -> tuple[Table, Table]:
    return measure(
        Opener(watch),
        settings(model, n_context),
        gauge or Gauge(),
        folder=folder,
        minutes=minutes,
        depths=(0, 512, 2048),
        predict=lambda settings: {"load": 50 * 10**6, "host": 10**8},
        timer=timer or Timer(),
    )


def test_each_depth_is_measured(hybrid: Path, tmp_path: Path) -> None:
    """At every depth there are speeds, and beyond the first a restored and a saved state; no file stays behind."""
    _, table = measured(hybrid, tmp_path)
    assert [row["depth"] for row in table.rows] == [0, 512, 2048]
    assert [row["how"] for row in table.rows] == ["an empty cache", "a restored state", "a restored state"]
    for row in table.rows:
        assert isinstance(row["prefill"], Figure)
        assert isinstance(row["decode"], Figure)
        assert len(row["prefill"].runs) == 8
    for row in table.rows[1:]:
        assert all(isinstance(row[key], Figure) for key in ("restore_s", "restore", "save_s", "save"))
    assert "restoring a state" in table.notes[0]
    assert list(tmp_path.iterdir()) == []


def test_speed_is_tokens_by_time(hybrid: Path, tmp_path: Path) -> None:
    """On a clock of one second a look, a batch of 64 is 64 tokens a second and a token one."""
    _, table = measured(hybrid, tmp_path)
    row = table.rows[0]
    assert isinstance(row["prefill"], Figure)
    assert isinstance(row["decode"], Figure)
    assert row["prefill"].median == 64
    assert row["decode"].best == 1


def test_memory_is_beside_the_prediction(hybrid: Path, tmp_path: Path) -> None:
    """Every moment has what the process took, and where the plan says something its share."""
    memory, _ = measured(hybrid, tmp_path)
    load, *others = memory.rows
    assert load["measured"] == 103 * 10**6
    assert load["predicted"] == 50 * 10**6
    assert load["ratio"] == Figure(2.06, 2.06)
    assert all(row["measured"] for row in others[:-1])
    assert others[-1]["predicted"] == 10**8
    assert "RAM" in str(load["moment"])


def test_video_memory_counts_what_was_added(hybrid: Path, tmp_path: Path) -> None:
    """Of a GPU's memory only what it holds more than before the engine started is the engine's."""
    memory, _ = measured(hybrid, tmp_path, gauge=Gauge("VRAM"))
    assert memory.rows[0]["measured"] == 2 * 10**6
    assert "VRAM" in str(memory.rows[0]["moment"])


def test_depths_beyond_the_context_are_named(hybrid: Path, tmp_path: Path) -> None:
    """A depth that the context cannot hold is left out and said below the table."""
    _, table = measured(hybrid, tmp_path, n_context=2048)
    assert [row["depth"] for row in table.rows] == [0, 512]
    assert table.notes[-1] == "Beyond the context of 2,048: 2,048."


@pytest.mark.parametrize("looks", [1, 8, 20, 60, 120])
def test_time_limit_keeps_what_there_is(hybrid: Path, tmp_path: Path, looks: int) -> None:
    """Whenever the time is over, every depth has a row, the last say that they were not reached, nothing is left."""
    _, table = measured(hybrid, tmp_path, timer=Timer(jump=looks))
    assert [row["depth"] for row in table.rows] == [0, 512, 2048]
    assert table.rows[-1]["how"] == NOT_REACHED
    assert NOT_REACHED in markdown(table)
    assert list(tmp_path.iterdir()) == []


def test_no_time_at_all(hybrid: Path, tmp_path: Path) -> None:
    """Without any time the model is loaded and weighed, and no depth is reached."""
    memory, table = measured(hybrid, tmp_path, minutes=0)
    assert memory.rows[0]["measured"]
    assert {row["how"] for row in table.rows} == {NOT_REACHED}


def test_full_disk_leaves_the_row_without_numbers(
    hybrid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk has no room for a state, its row says how much was needed, and the others are measured."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10**6})())
    _, table = measured(hybrid, tmp_path)
    assert isinstance(table.rows[0]["prefill"], Figure)
    assert isinstance(table.rows[1]["prefill"], Figure)
    assert f"and {tmp_path} has 1 MB free" in str(table.rows[2]["how"])


class Dying:
    """An engine that dies at the first restore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def restore(self, sequence: int, path: Path, blob: Blob) -> None:
        """Die."""
        raise EngineDied("The engine's process ended (SIGKILL).", "Ask again.")


def test_dead_engine_keeps_what_there_is(hybrid: Path, tmp_path: Path) -> None:
    """An engine that dies ends the run with its reason in the row, and the rows before it stay."""
    _, table = measured(hybrid, tmp_path, watch=lambda engine: Dying(engine))  # type: ignore[arg-type,return-value]  # by name
    assert isinstance(table.rows[0]["decode"], Figure)
    assert "SIGKILL" in str(table.rows[1]["how"])
    assert table.rows[2]["how"] == NOT_REACHED


def test_tables_become_json(hybrid: Path, tmp_path: Path) -> None:
    """Both tables keep their numbers as an object."""
    memory, table = measured(hybrid, tmp_path)
    rows = as_object(table)["rows"]
    assert isinstance(rows, list)
    assert rows[1]["restore_s"]["best"] > 0
    assert as_object(memory)["name"] == "device_memory"


def test_depths_start_batches() -> None:
    """The depths of a full run begin at a batch, whatever its size."""
    assert DEPTHS[0] == 0
    assert all(depth % 2048 == 0 for depth in DEPTHS)


def test_peak_is_read_from_the_system(tmp_path: Path) -> None:
    """The peak is the system's number for the process, and nothing where there is none."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tx\nVmHWM:\t  2048 kB\n", encoding="ascii")
    assert peak_bytes(7, tmp_path) == 2048 * 1024
    assert peak_bytes(8, tmp_path) is None


# -- the command -------------------------------------------------------------------------------------------------------


def run_command(home: Path, *arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    bench_device.configure(parser)
    args = parser.parse_args([*map(str, arguments), "--threads", "1", "--fast-kernels", "off", "--batch", "64"])
    with App.from_arguments(args, {"CAGCHAT_HOME": str(home)}) as app:
        return bench_device.run(app, args)


def test_command_prints_and_writes(hybrid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints what it measured on and both tables, and writes them with every run."""
    report = tmp_path / "report.json"
    assert run_command(tmp_path, hybrid, "--depths", "0,1K", "--kv", "q4_0", "--json", report) == 0
    out = capsys.readouterr().out
    assert "KV q4_0" in out.splitlines()[0]
    assert "**Memory**" in out
    assert "| 1,024 | a restored state |" in out
    memory, speed = json.loads(report.read_bytes())["measurements"]
    assert memory["rows"][0]["predicted"] > hybrid.stat().st_size
    assert [row["depth"] for row in speed["rows"]] == [0, 1024]


def test_depths_are_read_in_thousands() -> None:
    """32K is 32,768 positions; what is no number is refused."""
    assert bench_device.depths("0, 32K,500") == (0, 32768, 500)
    with pytest.raises(argparse.ArgumentTypeError):
        bench_device.depths("far")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "x", "inf"])
def test_minutes_are_a_number(text: str) -> None:
    """A time limit is a positive number."""
    with pytest.raises(argparse.ArgumentTypeError):
        bench_device.minutes(text)


# -- long states -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("long") / "m.gguf"
    write_model(path, request.param, layers=6)
    with closing(EngineProcess(Start("llama", (settings(path, 2048, "q8_0"),)))) as engine:
        yield engine


def short_state(engine: Engine, path: Path) -> Blob:
    (text,) = engine.tokenize([SHORT], special=False)
    for _ in engine.evaluate(BOOK, text[:100]):
        pass
    return engine.save(BOOK, path)[0]


def test_long_state_is_a_state(engine: Engine, tmp_path: Path) -> None:
    """A lengthened state is restored, goes on at its end, and is saved again as large as it was written."""
    blob = short_state(engine, tmp_path / "short")
    long = write_long(tmp_path / "short", blob, 1500, tmp_path / "long", lambda: None)
    assert (tmp_path / "long").stat().st_size == long.size_bytes == long_bytes(blob, 1500)
    engine.restore(BOOK, tmp_path / "long", long)
    assert engine.length(BOOK) == long.n_tokens == 1500
    saved, _ = engine.save(BOOK, tmp_path / "saved")
    assert saved.parts == long.parts
    row = engine.logits(BOOK, [5, 6])
    assert engine.length(BOOK) == 1502
    assert all(value == value and abs(value) < 1e6 for value in row)


def test_same_length_is_the_same_state(engine: Engine, tmp_path: Path) -> None:
    """A state that is lengthened to its own length is the state it was made of, byte for byte."""
    blob = short_state(engine, tmp_path / "short")
    assert write_long(tmp_path / "short", blob, 100, tmp_path / "same", lambda: None) == blob
    assert (tmp_path / "same").read_bytes() == (tmp_path / "short").read_bytes()


def test_long_state_can_be_forked(engine: Engine, tmp_path: Path) -> None:
    """A chat on a lengthened state leaves it as it was."""
    blob = short_state(engine, tmp_path / "short")
    long = write_long(tmp_path / "short", blob, 700, tmp_path / "long", lambda: None)
    engine.restore(BOOK, tmp_path / "long", long)
    engine.fork(BOOK, CHAT)
    engine.logits(CHAT, [5])
    assert (engine.length(BOOK), engine.length(CHAT)) == (700, 701)


def test_writing_can_be_stopped(engine: Engine, tmp_path: Path) -> None:
    """What `check` raises ends the writing."""

    def check() -> None:
        raise EngineCancelled("Enough.")

    blob = short_state(engine, tmp_path / "short")
    with pytest.raises(EngineCancelled):
        write_long(tmp_path / "short", blob, 700, tmp_path / "long", check)


def test_unknown_layout_is_refused() -> None:
    """A state whose size no known layout explains is not lengthened."""
    with pytest.raises(StateError, match="not known"):
        long_bytes(Blob(1, 99, 16, (), (Part("kv", 1, 0, 0, ((1, 8), (1, 8))),)), 7)
