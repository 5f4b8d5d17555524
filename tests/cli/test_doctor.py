"""`cagchat doctor`: what it finds, and what it says about each thing that is wrong."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cagchat.cli.doctor.finding import Finding
from cagchat.cli.doctor.machine import check_kernels, check_library, load_library
from cagchat.cli.doctor.model import TRIAL_CONTEXT, check_engine
from cagchat.cli.main import main
from cagchat.engine.backend import FakeBackend, Notify
from cagchat.engine.bindings import System
from cagchat.engine.fake import FakeScript
from cagchat.engine.fastpath import Verdict, Verdicts, machine_name
from cagchat.engine.protocol import Engine, EngineSettings
from cagchat.errors import EngineDied, EngineError
from cagchat.files import private_folder
from cagchat.hardware.detect import Hardware
from cagchat.hardware.gpu import Gpu
from cagchat.locations import locate
from cagchat.plan.choose import Machine
from cagchat.plan.run import PLAIN_BATCH
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from tests.engine_cases import model_path

if TYPE_CHECKING:
    from cagchat.settings import KvChoice

SYSTEM = System("1.2.3", "CPU : AVX = 1", gpu_offload=True)
HARDWARE = Hardware((Gpu("Test GPU", 8 << 30, 7 << 30),), None, None, "test", 8)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLAMA_ATTN_ROT_DISABLE", raising=False)
    monkeypatch.setattr("cagchat.cli.doctor.machine.check_library", lambda hardware: iter(()))
    return tmp_path


def report(capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> list[dict[str, Any]]:
    """Run the command and return its findings; its exit code must be `code`."""
    assert main(["doctor", "--fake", "--json", *flags]) == code
    content = json.loads(capsys.readouterr().out)
    findings: list[dict[str, Any]] = content["findings"]
    assert content["problems"] == sum(finding["mark"] == "problem" for finding in findings)
    return findings


def problems(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(f["about"], f["mend"]) for f in findings if f["mark"] == "problem"]


def test_new_machine_has_no_problem(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was done yet nothing is wrong, and looking makes no folder."""
    assert problems(report(capsys)) == []
    assert not (home / "home").exists()


def test_a_bad_configuration_is_a_problem_among_the_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong with it is said, and the rest is examined all the same."""
    healthy = {finding["about"] for finding in report(capsys)}
    file = locate(os.environ).config_file
    private_folder(file.parent)
    file.write_text('temperature = "x"\n', encoding="utf-8")
    findings = report(capsys, code=1)
    (problem,) = [finding for finding in findings if finding["mark"] == "problem"]
    assert problem["about"] == "settings"
    assert "temperature" in problem["text"]
    assert problem["mend"]
    assert {finding["about"] for finding in findings} == healthy


def test_a_disk_without_locks_is_a_problem(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system of the saved states grants every lock, the doctor says so; else that they are kept."""
    private_folder(locate().states)
    assert any(f["about"] == "locks" and f["mark"] == "ok" for f in report(capsys))
    monkeypatch.setattr("fcntl.flock", lambda fd, operation: None)
    ((about, mend),) = problems(report(capsys, code=1))
    assert about == "locks"
    assert "CAGCHAT_HOME" in mend


def test_each_line_has_a_mark(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json stdout has a mark and a name on each line, stderr the sum."""
    assert main(["doctor", "--fake"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split(maxsplit=2) for line in out.splitlines() if not line.startswith(" ")]
    assert {line[0] for line in lines} <= {"ok", "note"}
    assert {"cagchat", "processor", "memory", "kernels", "model", "data", "library", "chats"} <= {x[1] for x in lines}
    assert err == "No problem was found.\n"


def test_what_was_read_is_no_problem(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folders that cagchat makes itself satisfy it."""
    (home / "lamp.txt").write_text("The keeper lit the lamp at dusk. Nobody saw the ship that passed.\n")
    assert main(["ask", str(home / "lamp.txt"), "Who lit it?", "--fake"]) == 0
    capsys.readouterr()
    findings = report(capsys)
    assert problems(findings) == []
    assert any(f["about"] == "library" and f["text"].startswith("1 saved") for f in findings)
    assert any(f["about"] == "chats" and f["text"].startswith("1 in") for f in findings)


# -- llama.cpp ---------------------------------------------------------------------------------------------------------


def test_installed_library_is_described_by_a_child() -> None:
    """The real library names its version and features; this process never loads it."""
    system = load_library()
    assert system.version
    assert "CPU" in system.features


def marks(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.mark, finding.about) for finding in findings]


def test_library_of_the_wanted_version_is_ok() -> None:
    """A library that loads in the version asked for has nothing to mend."""
    findings = list(check_library(HARDWARE, lambda: SYSTEM, "1.2.3"))
    assert marks(findings) == [("ok", "llama.cpp"), ("ok", "offload")]


def test_other_version_is_noted() -> None:
    """Another version than the one asked for is a note with the command that installs it."""
    findings = list(check_library(HARDWARE, lambda: SYSTEM, "1.2.4"))
    assert [f.mend for f in findings if f.mark == "note"] == ["pip install --force-reinstall llama-cpp-python==1.2.4"]


def died() -> System:
    error = EngineDied("The engine's process ended (SIGILL).", "")
    error.reason, error.log_lines = "SIGILL", ("the last line",)
    raise error


def missing() -> System:
    raise EngineError("llama-cpp-python is not installed.", "")


@pytest.mark.parametrize(("load", "text"), [(died, "SIGILL"), (died, "the last line"), (missing, "not installed")])
def test_library_that_cannot_be_loaded_is_a_problem(load: Any, text: str) -> None:
    """A library that is missing or kills its process is a problem with its reason and a command."""
    (finding,) = check_library(HARDWARE, load, "1.2.3")
    assert finding.mark == "problem"
    assert text in finding.text
    assert finding.mend == "pip install --force-reinstall llama-cpp-python==1.2.3"


def test_crash_of_the_fast_kernels_is_remembered_aloud() -> None:
    """A remembered crash on this machine is noted with its signal; verdicts about another one are not."""
    verdicts = [Verdict("here", "a.gguf 1", works=False, reason="SIGSEGV"), Verdict("there", "a.gguf 1", works=True)]
    (finding,) = check_kernels("auto", verdicts, "here")
    assert (finding.mark, finding.mend) == ("note", "cagchat doctor --retry-kernels")
    assert "SIGSEGV" in finding.text


def test_retry_forgets_the_crash(capsys: pytest.CaptureFixture[str]) -> None:
    """After --retry-kernels nothing is known about the fast kernels."""
    verdicts = Verdicts(locate().cache / "kernels.json")
    verdicts.add(Verdict(machine_name(), "a.gguf 1", works=False, reason="SIGSEGV"))
    assert any("SIGSEGV" in f["text"] for f in report(capsys))
    assert not any("SIGSEGV" in f["text"] for f in report(capsys, "--retry-kernels"))
    assert verdicts.all() == []


# -- model and engine --------------------------------------------------------------------------------------------------


def test_missing_model_is_a_problem(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is not there is named, with what to do."""
    assert main(["doctor", "--json", "--model", str(home / "no.gguf")]) == 1
    (problem,) = (f for f in json.loads(capsys.readouterr().out)["findings"] if f["mark"] == "problem")
    assert str(home / "no.gguf") in problem["text"]
    assert "cagchat models" in problem["mend"]


def test_model_is_described_by_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    """The model in use is named with its size, context and template; nothing is remembered about it."""
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    text = next(f["text"] for f in findings if f["about"] == "model")
    assert "MB, context 8,192, has a chat template" in text
    assert not (locate().cache / "models.json").exists()


def test_trial_decodes_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    """With --try the engine answers, and says how fast."""
    (trial,) = (f for f in report(capsys, "--try") if f["about"] == "trial")
    assert trial["mark"] == "ok"
    assert "16 decoded" in trial["text"]
    assert "tok/s answering" in trial["text"]


class Asked(FakeBackend):
    """Notes what engines are asked for, on a machine that is made up."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.settings: list[EngineSettings] = []
        self._machine = machine

    def machine(self, settings: Settings) -> Machine:
        return self._machine

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        self.settings.append(settings)
        return super().open_engine(settings, notify)


@pytest.mark.parametrize(
    ("model", "kv_type", "machine", "flash", "batch"),
    [
        ("smollm2", "auto", Machine(0, 0), False, PLAIN_BATCH),
        ("smollm2", "q8_0", Machine(0, 0), True, TRIAL_CONTEXT),
        ("smollm2", "f16", Machine(1 << 34, 0), True, TRIAL_CONTEXT),
        ("smollm2", "f16", Machine(0, 0, unseen_gpu=True), True, TRIAL_CONTEXT),
        ("gemma3", "f16", Machine(0, 0), True, TRIAL_CONTEXT),
    ],
)
def test_trial_attends_as_a_book_would(
    model: str, kv_type: KvChoice, machine: Machine, flash: bool, batch: int, models: Path
) -> None:
    """The trial goes without flash attention where a plan would, in batches as short, and says so."""
    backend = Asked(machine)
    settings = Settings(model=str(model_path(model, models)), kv_type=kv_type)
    (finding,) = check_engine(backend, settings, locate())
    (wanted,) = backend.settings
    assert (wanted.flash_attention, wanted.n_batch) == (flash, batch)
    assert ("without flash attention" in finding.text) is not flash


def test_engine_that_dies_is_a_problem() -> None:
    """An engine whose process ends in the trial is reported with the signal."""
    backend = FakeBackend(FakeScript(crash_at=10), own_process=True)
    (finding,) = check_engine(backend, Settings(), locate(), fake=True)
    assert finding.mark == "problem"
    assert "SIGSEGV" in finding.text


# -- what is kept ------------------------------------------------------------------------------------------------------


def test_folder_that_others_can_look_into_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """A data folder with rights for others is mended by chmod."""
    data = private_folder(locate().data)
    data.chmod(0o755)
    assert problems(report(capsys, code=1)) == [("data", f"chmod 700 {data}")]


def test_file_in_the_way_is_a_problem(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where a folder should be is a problem of every folder below it."""
    (home / "home").mkdir()
    locate().data.write_text("")
    assert {about for about, _ in problems(report(capsys, code=1))} == {"data", "states"}


def test_chats_that_others_can_read_are_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """A database with rights for others is mended by chmod."""
    private_folder(locate().data)
    Sessions(locate().sessions_db).close()
    locate().sessions_db.chmod(0o644)
    assert problems(report(capsys, code=1)) == [("chats", f"chmod 600 {locate().sessions_db}")]


def test_damaged_chats_are_a_problem_and_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """A database that is none is reported and not touched."""
    path = private_folder(locate().data) / locate().sessions_db.name
    path.write_bytes(b"no database" * 1000)
    path.chmod(0o600)
    assert [about for about, _ in problems(report(capsys, code=1))] == ["chats"]
    assert path.read_bytes() == b"no database" * 1000


def test_chats_that_were_set_aside_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    """Damaged databases that stand aside are counted, with the command that deletes them."""
    path = private_folder(locate().data) / locate().sessions_db.name
    path.with_name(f"{path.name}.damaged-1").write_bytes(b"x" * 1000)
    notes = [finding for finding in report(capsys) if finding["about"] == "chats" and finding["mark"] == "note"]
    assert [(note["text"], note["mend"]) for note in notes] == [
        ("damaged and set aside: 1 file, 1 kB", "cagchat library prune")
    ]


def test_chats_of_a_newer_version_are_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """A database of a format that is not known yet asks for an update."""
    private_folder(locate().data)
    Sessions(locate().sessions_db).close()
    with closing(sqlite3.connect(locate().sessions_db)) as db:
        db.execute("PRAGMA user_version = 99")
    assert problems(report(capsys, code=1)) == [("chats", "pip install --upgrade cagchat")]


def test_budget_that_is_exceeded_is_noted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More than the budget is a note with the command that makes room."""
    (home / "lamp.txt").write_text("The keeper lit the lamp at dusk. Nobody saw the ship that passed.\n")
    assert main(["read", str(home / "lamp.txt"), "--fake"]) == 0
    assert main(["config", "set", "disk_budget_gb", "0"]) == 0
    capsys.readouterr()
    (note,) = (f for f in report(capsys) if f["about"] == "library")
    assert (note["mark"], note["mend"]) == ("note", "cagchat library prune")


def test_variables_that_matter_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch of the rotation and settings from the environment are shown."""
    monkeypatch.setenv("LLAMA_ATTN_ROT_DISABLE", "1")
    monkeypatch.setenv("CAGCHAT_BATCH", "64")
    findings = [f for f in report(capsys) if f["about"] == "variable"]
    assert any(f["mend"] == "unset LLAMA_ATTN_ROT_DISABLE" for f in findings)
    assert any("CAGCHAT_BATCH decides batch: 64" in f["text"] for f in findings)
    assert any("CAGCHAT_HOME" in f["text"] for f in findings)
