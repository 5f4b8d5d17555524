"""The trial of the fast kernels: survived when it crashes, remembered, and said once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.engine.child import Spare
from cagchat.engine.fake import FakeScript
from cagchat.engine.fastpath import (
    NATIVE_FAULTS,
    Verdict,
    Verdicts,
    machine_name,
    model_name,
    open_engine,
    processor_name,
    record_crash,
)
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import CHAT, EngineSettings
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied, ModelError

ONE = Verdict("a machine", "a model 5", works=True)
OTHER = Verdict("a machine", "another model 5", works=False, reason="SIGSEGV")


class Starter:
    """Starts fakes whose fast kernels crash after so many tokens, and counts them."""

    def __init__(self, crash_at: int = 0, script: FakeScript | None = None) -> None:
        self.fast: list[bool] = []
        self._script = script or FakeScript(crash_at=crash_at)

    def __call__(self, settings: EngineSettings, spare: Spare | None) -> EngineProcess:
        self.fast.append(settings.fast_kernels)
        script = self._script if settings.fast_kernels else FakeScript()
        return EngineProcess(Start("fake", (settings, script)))


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    (tmp_path / "model.gguf").write_bytes(b"12345")
    return EngineSettings(model=tmp_path / "model.gguf", n_context=2048)


@pytest.fixture
def verdicts(tmp_path: Path) -> Verdicts:
    return Verdicts(tmp_path / "cache" / "kernels.json")


def opened(settings: EngineSettings, verdicts: Verdicts, starter: Starter) -> tuple[bool, list[str]]:
    """Open an engine and close it; return whether it runs on the fast path, and the notices."""
    notices: list[str] = []
    engine = open_engine(settings, verdicts, notices.append, starter)
    try:
        assert engine.length(CHAT) == 0
        return engine.settings.fast_kernels, notices
    finally:
        engine.close()


@pytest.mark.parametrize("crash_at", [1, 64, 65], ids=["first token", "batch", "single token"])
def test_a_crashing_trial_is_survived(settings: EngineSettings, verdicts: Verdicts, crash_at: int) -> None:
    """Where the fast kernels crash, in a batch or with a single token, an engine on the safe ones is opened."""
    starter = Starter(crash_at)
    fast, notices = opened(settings, verdicts, starter)
    assert not fast
    assert starter.fast == [True, False]
    assert len(notices) == 1
    assert "SIGSEGV" in notices[0]


def test_a_crash_is_remembered(settings: EngineSettings, verdicts: Verdicts) -> None:
    """The second time nothing is tried and nothing is said."""
    opened(settings, verdicts, Starter(crash_at=1))
    starter = Starter(crash_at=1)
    assert opened(settings, verdicts, starter) == (False, [])
    assert starter.fast == [False]


def test_success_is_remembered(settings: EngineSettings, verdicts: Verdicts) -> None:
    """Fast kernels that survived their trial are used without another one."""
    assert opened(settings, verdicts, Starter()) == (True, [])
    starter = Starter(crash_at=1)  # a trial would crash
    engine = open_engine(settings, verdicts, lambda sentence: None, starter)
    engine.close()
    assert starter.fast == [True]


def test_the_trial_leaves_no_trace(settings: EngineSettings, verdicts: Verdicts) -> None:
    """After the trial the engine is empty and has counted nothing."""
    engine = open_engine(settings, verdicts, lambda sentence: None, Starter())
    try:
        assert engine.take_spans() == []
        assert [engine.length(sequence) for sequence in range(settings.n_sequences)] == [0, 0]
    finally:
        engine.close()


def test_another_model_is_tried_again(settings: EngineSettings, verdicts: Verdicts, tmp_path: Path) -> None:
    """A verdict is about one model file: another size or name is another trial."""
    opened(settings, verdicts, Starter(crash_at=1))
    (tmp_path / "model.gguf").write_bytes(b"123456")
    assert opened(settings, verdicts, Starter()) == (True, [])


def test_a_small_batch_is_tried_as_it_is(settings: EngineSettings, verdicts: Verdicts) -> None:
    """A trial never evaluates more than one batch of the settings."""
    assert opened(replace(settings, n_batch=16), verdicts, Starter(crash_at=40)) == (True, [])


def test_other_deaths_are_raised(settings: EngineSettings, verdicts: Verdicts) -> None:
    """A child that ends for another reason than a native fault is an error, and no verdict is made of it."""

    def broken(settings: EngineSettings, spare: Spare | None) -> EngineProcess:
        return EngineProcess(Start("fake", (settings, 5, 5, 5, 5)))

    with pytest.raises(EngineDied, match="exit code"):
        open_engine(settings, verdicts, lambda sentence: None, broken)
    assert verdicts.all() == []


def test_a_model_that_is_gone_is_a_model_error(verdicts: Verdicts, tmp_path: Path) -> None:
    """A model file that vanished is named before anything is started."""
    settings = EngineSettings(model=tmp_path / "gone.gguf", n_context=256)
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        open_engine(settings, verdicts, lambda sentence: None, Starter())


def test_verdicts_come_back(verdicts: Verdicts, tmp_path: Path) -> None:
    """What was added is there in order, in another object too, and found by machine and model."""
    verdicts.add(ONE)
    verdicts.add(OTHER)
    again = Verdicts(tmp_path / "cache" / "kernels.json")
    assert again.all() == [ONE, OTHER]
    assert again.find("a machine", "another model 5") == OTHER
    assert again.find("another machine", "a model 5") is None


def test_a_verdict_replaces_an_earlier_one(verdicts: Verdicts) -> None:
    """The last verdict about a machine and model is the one that counts."""
    verdicts.add(ONE)
    verdicts.add(replace(ONE, works=False, reason="SIGILL"))
    assert verdicts.all() == [replace(ONE, works=False, reason="SIGILL")]


def test_verdicts_are_forgotten(verdicts: Verdicts) -> None:
    """Forgetting makes the next start try again, and is harmless when there is nothing."""
    verdicts.add(ONE)
    verdicts.forget()
    verdicts.forget()
    assert verdicts.all() == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"{}", b"5", b"null", b'"text"', b"[1]", b'[{"machine": "m"}]', b"[" * 100_000]
    + [json.dumps([{"machine": "m", "model": "n", "works": True, "more": 1}]).encode()],
)
def test_a_damaged_file_is_as_if_it_were_not_there(verdicts: Verdicts, tmp_path: Path, content: bytes) -> None:
    """Whatever the file holds, nothing is known, and the next verdict replaces it."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernels.json").write_bytes(content)
    assert verdicts.all() == []
    verdicts.add(ONE)
    assert verdicts.all() == [ONE]


def test_a_cache_that_cannot_be_written_is_done_without(settings: EngineSettings, tmp_path: Path) -> None:
    """Where nothing can be remembered, engines are opened all the same."""
    (tmp_path / "file").touch()
    verdicts = Verdicts(tmp_path / "file" / "kernels.json")
    assert opened(settings, verdicts, Starter()) == (True, [])
    assert opened(settings, verdicts, Starter(crash_at=1))[0] is False


def died(reason: str) -> EngineDied:
    error = EngineDied("It died.")
    error.reason = reason
    return error


@pytest.mark.parametrize("reason", NATIVE_FAULTS)
def test_a_later_crash_changes_the_verdict(settings: EngineSettings, verdicts: Verdicts, reason: str) -> None:
    """A native fault on the fast path, after a trial that went well, takes the safe one from then on."""
    opened(settings, verdicts, Starter())
    assert record_crash(settings, verdicts, died(reason))
    assert verdicts.all() == [Verdict(machine_name(), model_name(settings.model), works=False, reason=reason)]
    assert opened(settings, verdicts, Starter()) == (False, [])


def test_a_crash_on_the_safe_path_changes_nothing(settings: EngineSettings, verdicts: Verdicts) -> None:
    """The safe kernels are not to blame by their own crash: there is nothing safer."""
    assert not record_crash(replace(settings, fast_kernels=False), verdicts, died("SIGSEGV"))
    assert verdicts.all() == []


@pytest.mark.parametrize("reason", ["SIGKILL", "SIGTERM", "exit code 70", ""])
def test_other_ends_change_nothing(settings: EngineSettings, verdicts: Verdicts, reason: str) -> None:
    """An engine that was killed or failed in Python says nothing about the kernels."""
    assert not record_crash(settings, verdicts, died(reason))
    assert verdicts.all() == []


def test_the_machine_has_a_name() -> None:
    """The machine's name holds the processor and the library, and is the same each time."""
    assert processor_name() in machine_name()
    assert "library" in machine_name()
    assert machine_name() == machine_name()
