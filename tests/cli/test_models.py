"""`cagchat models`: list, add, get, verify, rm and path on real files and a server of our own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cagchat.cli.completion import model_names
from cagchat.cli.fetching import line, receiving_text, show
from cagchat.cli.gauge_line import GaugeLine
from cagchat.cli.models import STORED, entry_keys
from cagchat.locations import locate
from cagchat.models.download.events import Fetched, Receiving, Rehashing, Retrying, Waiting
from tests.cli.commands import Terminal, error_of, terminal_at
from tests.engine_cases import model_path, smollm2

MOVED = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "LLAMA_CACHE", "HF_TOKEN", "HF_ENDPOINT")


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of a user who has no models but the embedded one."""
    for name in MOVED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    return terminal_at(tmp_path / "cagchat", capsys, monkeypatch)


@pytest.fixture(scope="session")
def tiny(models: Path) -> Path:
    """A small model that loads."""
    return model_path("qwen3", models)


@pytest.fixture(scope="session")
def server(tiny: Path) -> Iterator[str]:
    """The address of a server that has one model, under every name but missing ones."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.respond(body=True)

        def do_HEAD(self) -> None:
            self.respond(body=False)

        def respond(self, *, body: bool) -> None:
            content = b"" if "missing" in self.path else tiny.read_bytes()
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"1"')
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep stderr for the command under test."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def own() -> list[str]:
    return sorted(path.name for path in locate().models.glob("*.gguf"))


def listed(terminal: Terminal) -> list[dict[str, Any]]:
    outcome = terminal("models", "--json")
    assert outcome.code == 0
    models: list[dict[str, Any]] = json.loads(outcome.out)["models"]
    return models


# -- list and path -----------------------------------------------------------------------------------------------------


def test_embedded_model_is_listed(terminal: Terminal) -> None:
    """The model that comes in a package is found, recognised and printed as one line of cells."""
    (row,) = [line.split("\t") for line in terminal("models").out.splitlines()]
    assert row[1] == "package"
    assert row[4:] == ["smollm2-135m Q4_1", str(smollm2())]


def test_models_of_other_programs_are_listed(terminal: Terminal, tmp_path: Path, tiny: Path) -> None:
    """What LM Studio keeps in the home folder is listed with whose it is; looking makes no folder."""
    (tmp_path / ".lmstudio" / "models" / "o" / "r").mkdir(parents=True)
    (tmp_path / ".lmstudio" / "models" / "o" / "r" / "Tiny.gguf").symlink_to(tiny)
    assert ("Tiny", "LM Studio", "qwen3") in [(m["name"], m["place"], m["architecture"]) for m in listed(terminal)]
    assert not (tmp_path / "cagchat").exists()


def test_list_on_a_terminal_is_a_table(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the cells stand under headers, sizes as a reader wants them."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = terminal("models", "list").out
    assert "Known as" in out.splitlines()[0]
    assert "98 MB" in out


def test_damaged_model_is_listed_with_its_problem(terminal: Terminal) -> None:
    """A file that is no model is in the list, and stderr says why."""
    locate().models.mkdir(parents=True)
    (locate().models / "half.gguf").write_bytes(b"GGUF")
    outcome = terminal("models")
    assert outcome.code == 0
    assert "half.gguf is cut short" in outcome.err


def test_catalogue_is_listed(terminal: Terminal) -> None:
    """What can be fetched is listed file by file, also as JSON."""
    rows = [row.split("\t") for row in terminal("models", "list", "--available").out.splitlines()]
    assert rows[0][:3] == ["qwen3.5-35b-a3b", "Qwen3.5 35B-A3B", "Q3_K_M"]
    content = json.loads(terminal("models", "list", "--available", "--json").out)
    assert content["models"][0]["files"][0]["published"] is True


def test_users_own_entries_are_listed(terminal: Terminal) -> None:
    """A file models.toml in the folder of the configuration adds to the catalogue, and a bad one is one clear line."""
    locate().config.mkdir(parents=True)
    file = locate().config / "models.toml"
    file.write_text('[models."qwen3.5-9b"]\nname = "My own"\n', encoding="utf-8")
    assert "\tMy own\t" in terminal("models", "list", "--available").out
    file.write_text('[models."qwen3.5-9b"]\nnam = 3\n', encoding="utf-8")
    assert "models.qwen3.5-9b.nam" in error_of(terminal("models"))


def test_path_is_printed(terminal: Terminal) -> None:
    """A key or a part of a name gives the path and nothing else."""
    assert terminal("models", "path", "smollm2-135m").out == f"{smollm2()}\n"
    assert terminal("models", "path", "135M").out == f"{smollm2()}\n"
    assert "qwen3.5-9b" in terminal("models", "path", "qwen3.5-9b").err


# -- add ---------------------------------------------------------------------------------------------------------------


def test_added_model_takes_no_room(terminal: Terminal, tmp_path: Path, tiny: Path) -> None:
    """A file on the same disk gets a second name; adding it again changes nothing."""
    source = tmp_path / "Tiny.gguf"
    source.write_bytes(tiny.read_bytes())
    outcome = terminal("models", "add", source)
    assert outcome.out == f"{locate().models / 'Tiny.gguf'}\n"
    assert "takes no room" in outcome.err
    assert (locate().models / "Tiny.gguf").samefile(source)
    assert "already" in terminal("models", "add", source).err


def test_model_on_another_disk_is_linked(
    terminal: Terminal, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a second name is impossible a link is made, and stderr says that the file must stay."""

    def refuse(*paths: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    source = tmp_path / "Tiny.gguf"
    source.write_bytes(tiny.read_bytes())
    assert "must stay" in terminal("models", "add", source).err
    assert (locate().models / "Tiny.gguf").readlink() == source


def test_name_that_is_taken_is_refused(terminal: Terminal, tmp_path: Path, tiny: Path) -> None:
    """Another file of the same name is not replaced; --name gives a free one."""
    locate().models.mkdir(parents=True)
    (locate().models / "Tiny.gguf").write_bytes(b"mine")
    source = tmp_path / "Tiny.gguf"
    source.write_bytes(tiny.read_bytes())
    assert "another file" in error_of(terminal("models", "add", source))
    assert (locate().models / "Tiny.gguf").read_bytes() == b"mine"
    assert terminal("models", "add", source, "--name", "Other.gguf").code == 0
    assert own() == ["Other.gguf", "Tiny.gguf"]


@pytest.mark.parametrize("name", ["../x.gguf", "x.bin"])
def test_name_that_is_no_file_name_is_refused(terminal: Terminal, tiny: Path, name: str) -> None:
    """A given name lies in the folder and ends in .gguf."""
    error_of(terminal("models", "add", tiny, "--name", name), code=2)
    assert own() == []


def test_file_that_is_no_model_is_not_added(terminal: Terminal, tmp_path: Path) -> None:
    """What cannot be loaded is refused before anything is linked."""
    (tmp_path / "x.gguf").write_bytes(b"<html>")
    assert "not a GGUF file" in error_of(terminal("models", "add", tmp_path / "x.gguf"))
    assert "There is no model at" in error_of(terminal("models", "add", "~no-such-user/x.gguf"))
    assert own() == []


# -- get ---------------------------------------------------------------------------------------------------------------


def test_model_is_fetched_from_an_address(terminal: Terminal, server: str, tiny: Path) -> None:
    """An address is fetched into the own folder, and the path is all of stdout."""
    outcome = terminal("models", "get", f"{server}/Tiny.gguf", "--sha256", sha256(tiny.read_bytes()).hexdigest())
    assert outcome.out == f"{locate().models / 'Tiny.gguf'}\n"
    assert (locate().models / "Tiny.gguf").read_bytes() == tiny.read_bytes()
    assert "the published one" in outcome.err
    assert "there already" in terminal("models", "get", f"{server}/Tiny.gguf").err


def test_model_is_fetched_from_a_repository(terminal: Terminal, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OWNER/REPOSITORY/FILE.gguf is looked for on the hub that the environment names; add takes an address too."""
    monkeypatch.setenv("HF_ENDPOINT", server)
    assert terminal("models", "get", "me/mine/Tiny.gguf").code == 0
    assert terminal("models", "add", f"{server}/Other.gguf").code == 0
    assert own() == ["Other.gguf", "Tiny.gguf"]


def test_entry_is_fetched(terminal: Terminal, server: str, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the catalogue is fetched from its repository, and found by that key afterwards."""
    monkeypatch.setenv("HF_ENDPOINT", server)
    locate().config.mkdir(parents=True)
    (locate().config / "models.toml").write_text(
        '[models.mine]\nname = "Mine"\nrepository = "me/mine"\narchitecture = "qwen3"\ncontext = 64\n'
        "[models.mine.shape]\nblock_count = 4\nembedding_length = 64\nattention.head_count = 4\n"
        f'[models.mine.files.Q4_0]\nfile = "deep/Mine-Q4_0.gguf"\nsha256 = "{sha256(tiny.read_bytes()).hexdigest()}"\n'
        f"size_bytes = {tiny.stat().st_size}\n",
        encoding="utf-8",
    )
    path = locate().models / "Mine-Q4_0.gguf"
    assert terminal("models", "get", "mine", "--quant", "q4_0").out == f"{path}\n"
    assert terminal("models", "path", "mine").out == f"{path}\n"
    assert terminal("models", "verify").out == "ok\tMine-Q4_0\tits checksum is the published one\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["qwen3.5-9c"], 1),
        (["qwen3.5-9b", "--quant", "Q1"], 2),
        (["smollm2-135m"], 1),
        (["owner/repository"], 2),
        (["a/b/c.gguf", "--quant", "Q8_0"], 2),
    ],
)
def test_what_cannot_be_fetched_is_one_line(terminal: Terminal, arguments: list[str], code: int) -> None:
    """An unknown key or quantisation, a model that comes otherwise, and half an address are refused with a hint."""
    error_of(terminal("models", "get", *arguments), code=code)


def test_missing_file_is_one_line(terminal: Terminal, server: str) -> None:
    """A server without the file is one clear line, and no model stays behind."""
    assert "missing.gguf" in error_of(terminal("models", "get", f"{server}/missing.gguf"))
    assert own() == []


# -- verify and rm -----------------------------------------------------------------------------------------------------


def test_verify_compares_with_the_catalogue(terminal: Terminal) -> None:
    """A published file has the published checksum; one changed byte is noticed, with exit code 1."""
    assert terminal("models", "verify", "smollm2-135m").out.startswith("ok\t")
    locate().models.mkdir(parents=True)
    copy = locate().models / smollm2().name
    content = bytearray(smollm2().read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    outcome = terminal("models", "verify", "--json")
    (result,) = json.loads(outcome.out)["models"]
    assert outcome.code == 1
    assert str(copy) in result["problem"]


def test_verify_takes_the_name_of_a_blob_for_its_checksum(terminal: Terminal, tmp_path: Path, tiny: Path) -> None:
    """A store that names blobs by their checksum is believed only after reading."""
    blob = tmp_path / ".cache" / "huggingface" / "hub" / "blobs" / ("0" * 64)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(tiny.read_bytes())
    (blob.parent.parent / "Tiny.gguf").symlink_to(blob)
    outcome = terminal("models", "verify", "Tiny")
    assert outcome.code == 1
    assert outcome.out.startswith("DAMAGED\tTiny\t")
    assert STORED.fullmatch(f"sha256-{'a' * 64}")


def test_verify_says_when_nothing_is_known(terminal: Terminal, tiny: Path) -> None:
    """A sound file that nobody published a checksum of is ok, and the line says so; no model is no error."""
    assert terminal("models", "verify").code == 0
    terminal("models", "add", tiny, "--name", "Tiny.gguf")
    outcome = terminal("models", "verify", "Tiny")
    assert (outcome.code, outcome.out) == (0, "ok\tTiny\tsound, but no checksum is known to compare\n")


def test_rm_deletes_own_models(terminal: Terminal, tmp_path: Path, tiny: Path) -> None:
    """A model of the own folder goes; what it was linked from stays."""
    source = tmp_path / "Tiny.gguf"
    source.write_bytes(tiny.read_bytes())
    terminal("models", "add", source)
    assert terminal("models", "rm", "tiny", "-y").out == "Deleted Tiny: 0 kB freed.\n"
    assert own() == []
    assert source.exists()


def test_rm_deletes_every_part(terminal: Terminal, tiny: Path) -> None:
    """The parts of a split model go together, also when the first is damaged."""
    locate().models.mkdir(parents=True)
    for number in (1, 2):
        (locate().models / f"m-0000{number}-of-00002.gguf").write_bytes(b"GGUF")
    (locate().models / "m-2-00001-of-00001.gguf").write_bytes(tiny.read_bytes())
    assert terminal("models", "rm", "m", "-y").code == 0
    assert own() == ["m-2-00001-of-00001.gguf"]


def test_rm_asks(terminal: Terminal, tiny: Path) -> None:
    """Where nobody can be asked nothing is deleted without -y."""
    terminal("models", "add", tiny, "--name", "Tiny.gguf")
    error_of(terminal("models", "rm", "Tiny"), code=2)
    assert own() == ["Tiny.gguf"]


def test_rm_leaves_others_models_alone(terminal: Terminal) -> None:
    """A model outside the own folder is refused with whose it is, one that is nowhere with what is near."""
    assert "belongs to package" in error_of(terminal("models", "rm", "smollm2-135m", "-y"))
    assert "no model called" in error_of(terminal("models", "rm", "nothing", "-y"))
    assert smollm2().exists()


# -- words and completion ----------------------------------------------------------------------------------------------


def test_progress_has_speed_and_remaining_time() -> None:
    """What is said of a download: bytes done and in all, speed, time left and the part, as far as they are known."""
    path = Path("m.gguf")
    full = Receiving(path, 2, 3, 10**9, 4 * 10**9, 5e7, 60.0)
    assert receiving_text(full) == "1.0 GB / 4.0 GB, 50 MB/s, 1 min 00 s left, part 2 of 3"
    assert receiving_text(Receiving(path, 1, 1, 10**9, None, None, None)) == "1.0 GB"


def test_events_become_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Away from a terminal progress is a line now and then, and every other event is one."""
    path = Path("m.gguf")
    times = iter([0.0, 1.0, 6.0])
    with GaugeLine(clock=lambda: next(times)) as gauge:
        for done in (1, 2, 3):
            show(Rehashing(path, done * 10**6, 10**7), gauge)
        show(Waiting(path), gauge)
    lines = capsys.readouterr().err.splitlines()
    assert [text.split(" /")[0] for text in lines[:-1]] == ["  1 MB", "  3 MB"]
    assert "Another process" in lines[-1]
    assert "2 of 6" in line(Retrying(path, "The connection broke.", 2, 6, 4.0))
    assert "ab12" in line(Fetched(path, 1, 1, "ab12", proved=False))


def test_names_are_completed(terminal: Terminal, tiny: Path) -> None:
    """The shell completes names of found models and keys of models that can be fetched."""
    terminal("models", "add", tiny, "--name", "Tiny.gguf")
    assert "Tiny" in model_names("Ti")
    assert set(entry_keys("qwen3.5-9")) == {"qwen3.5-9b"}
    assert "smollm2-135m" not in entry_keys("")
