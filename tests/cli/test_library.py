"""`cagchat library`: list, info, verify, rm and prune on real folders."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cagchat.cli.main import main
from cagchat.engine.backend import FakeBackend
from cagchat.engine.pieces import digests
from cagchat.errors import Stopped
from cagchat.events import Reading
from cagchat.library import Library
from cagchat.locations import locate
from cagchat.models.facts import Entry, ModelFacts, remember, stamps
from cagchat.remembered import Place, Remembered, places_in
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from cagchat.states.in_use import Hold
from cagchat.states.manifest import Manifest, StateFile
from cagchat.states.store import StateFolder, States
from tests.engine_cases import model_path

DEAD = 99_999_999  # above the largest process number that Linux gives
TEXT = """# The {name}

## One

The keeper lit the lamp at dusk. Nobody saw the ship that passed.

## Two

In the morning the sea was calm. The keeper slept until noon.
"""


class Terminal(io.StringIO):
    """A stdin at which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LLAMA_ATTN_ROT_DISABLE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return tmp_path


def states() -> States:
    return States(locate().states)


def book(home: Path, name: str) -> Path:
    path = home / f"{name}.md"
    path.write_text(TEXT.format(name=name), encoding="utf-8")
    return path


def read(home: Path, capsys: pytest.CaptureFixture[str], name: str = "Lamp", *, age_s: float = 0) -> StateFolder:
    """Read a book with the fake engine; its state was last used `age_s` seconds ago."""
    assert main(["read", str(book(home, name)), "--fake"]) == 0
    capsys.readouterr()
    folder = states().find(f"The {name}")
    used = folder.path / "used"
    os.utime(used, (used.stat().st_mtime - age_s,) * 2)
    return folder


def read_first_batch(path: Path) -> None:
    """Begin to read a book and stop at once."""
    library = Library(locate(), Settings(batch=64), FakeBackend())
    for event in library.prepare(path):
        if isinstance(event, Reading):
            library.stop()


def leave_off(digest: str, place: Place) -> None:
    """Remember a reader's place as the app does."""
    remembered = Remembered.under(locate())
    remembered.remember(digest, place)
    assert remembered.save()


def placed() -> dict[str, Place]:
    """Return the places that are remembered."""
    return places_in(Remembered.under(locate()).read())


def tree(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["library", "--json"]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def change(folder: StateFolder, **changes: Any) -> Manifest:
    manifest = replace(folder.manifest(), **changes)
    folder.write_manifest(manifest)
    return manifest


# -- list --------------------------------------------------------------------------------------------------------------


def test_empty_library_has_no_lines(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without states stdout stays empty and stderr says how to begin."""
    assert main(["library"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "cagchat read" in err


def test_list_has_a_line_of_cells_a_state(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Away from a terminal each state is one line of cells between tabs, the last used first."""
    lamp, rope = read(home, capsys, "Lamp", age_s=100), read(home, capsys, "Rope")
    assert main(["library", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["The Rope", "The Lamp"]
    assert [row[-1] for row in rows] == [rope.name, lamp.name]
    assert [(row[1], row[3], row[4], row[5]) for row in rows[1:]] == [
        (str(lamp.manifest().n_tokens), "f16", str(lamp.size_bytes()), "ready")
    ]


def test_list_on_a_terminal_is_a_table(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the cells stand under headers."""
    read(home, capsys)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["library"]) == 0
    out, err = capsys.readouterr()
    assert "Last used" in out.splitlines()[0]
    assert "The Lamp" in out
    assert "of 50.0 GB" in err


def test_json_sums_up_states_and_what_stands_aside(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is set aside is listed with its reason and counts as used room."""
    lamp, rope = read(home, capsys, "Lamp"), read(home, capsys, "Rope")
    lamp.set_aside("It was not what was written.")
    content = listed(capsys)
    assert [state["name"] for state in content["states"]] == [rope.name]
    assert [aside["reason"] for aside in content["aside"]] == ["It was not what was written."]
    assert content["used_bytes"] == rope.size_bytes() + content["aside"][0]["size_bytes"]
    assert content["budget_bytes"] == 50 * 10**9


def test_interrupted_reading_shows_its_share(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A book that was stopped in the middle is partly read, in percent of its tokens."""
    with pytest.raises(Stopped):
        read_first_batch(book(home, "Lamp"))
    (state,) = listed(capsys)["states"]
    share = 100 * state["position"] / state["n_tokens"]
    assert (state["status"], state["status_text"]) == ("partial", f"partly read, {share:.0f} %")
    assert 0 < state["position"] < state["n_tokens"]


@pytest.mark.parametrize(
    ("written", "text"), [("4711", "being read by process 4711"), ("", "being read by another process")]
)
def test_book_being_read_names_the_process(
    home: Path, capsys: pytest.CaptureFixture[str], written: str, text: str
) -> None:
    """A state whose lock is held is being read, by the process that left its number."""
    folder = read(home, capsys)
    with FileLock(folder.lock_path):
        folder.holder_path.write_text(written)
        (state,) = listed(capsys)["states"]
    assert (state["status"], state["status_text"]) == ("reading", text)


def test_stale_number_of_a_process_is_not_believed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A number that a dead process left says nothing when the lock is free."""
    folder = read(home, capsys)
    folder.holder_path.write_text(str(os.getpid()))
    assert listed(capsys)["states"][0]["status"] == "ready"


def test_damaged_manifest_needs_reading_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state whose manifest cannot be trusted is listed by its folder's name."""
    folder = read(home, capsys)
    folder.manifest_path.write_text("{}")
    (state,) = listed(capsys)["states"]
    assert (state["name"], state["title"]) == (folder.name, None)
    assert state["status_text"] == "needs reading again (its manifest is damaged)"


def remembered_model(home: Path, folder: StateFolder) -> Path:
    """Make a state the work of a model file, and remember that file's facts; return its path."""
    model = home / "model.gguf"
    model.write_bytes(b"weights")
    key = replace(folder.manifest().key, model_weights="w" * 32, model_metadata="m" * 32)
    change(folder, model_path=str(model), key=key)
    template = FakeBackend().script.chat_template
    facts = ModelFacts(model, "model", "llama", "w" * 32, "m" * 32, template, 4096, 7)
    remember(locate().cache / "models.json", Entry(stamps([model]), facts))
    return model


def test_state_of_an_unchanged_model_is_ready(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model whose remembered facts are those of the key needs nothing."""
    remembered_model(home, read(home, capsys))
    assert listed(capsys)["states"][0]["status_text"] == "ready"


def test_state_of_a_missing_model_is_outdated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is gone is named."""
    model = remembered_model(home, read(home, capsys))
    model.unlink()
    assert listed(capsys)["states"][0]["status_text"] == f"needs reading again (its model {model} is gone)"


def test_state_of_a_rewritten_model_is_outdated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model file that is not the one whose facts are remembered is named; it is not read."""
    model = remembered_model(home, read(home, capsys))
    model.write_bytes(b"other weights")
    assert listed(capsys)["states"][0]["status_text"] == f"needs reading again (its model {model} has changed)"


def test_state_of_other_weights_is_outdated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Remembered facts that differ from the key say in what."""
    folder = read(home, capsys)
    remembered_model(home, folder)
    change(folder, key=replace(folder.manifest().key, model_weights="v" * 32))
    assert listed(capsys)["states"][0]["status_text"] == "needs reading again (changed since: model weights)"


def test_other_instructions_make_a_state_outdated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that is part of the key is compared with the present one."""
    read(home, capsys)
    assert main(["config", "set", "instructions", "Answer in verse."]) == 0
    capsys.readouterr()
    assert listed(capsys)["states"][0]["status_text"] == "needs reading again (changed since: instructions)"


# -- info --------------------------------------------------------------------------------------------------------------


def test_info_tells_what_the_manifest_says(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The digest, the build, the probe and the folder are shown."""
    folder = read(home, capsys)
    manifest = folder.manifest()
    assert main(["library", "info", "the lamp"]) == 0
    out = capsys.readouterr().out
    for text in (manifest.book.digest, manifest.build, str(folder.path), f"{manifest.n_tokens:,}", "logits after"):
        assert text in out


def test_info_as_json_holds_the_manifest(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the manifest is given as it is."""
    folder = read(home, capsys)
    assert main(["library", "info", folder.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["key"]["token_ids"] == folder.manifest().key.token_ids


def test_info_of_an_aside_says_why(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was set aside is found by its name and gives its reason."""
    aside = read(home, capsys).set_aside("Its probe differs.")
    assert main(["library", "info", aside.name]) == 0
    assert "set aside: Its probe differs." in capsys.readouterr().out


def test_unknown_name_is_bad_input(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that fits nothing ends with 1 and one line."""
    assert main(["library", "info", "nothing"]) == 1
    assert "No saved book is called nothing." in capsys.readouterr().err


# -- verify ------------------------------------------------------------------------------------------------------------


def test_sound_states_are_ok_and_stay_as_they_are(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verifying sound states ends with 0 and changes no byte."""
    folders = [read(home, capsys, "Lamp", age_s=5), read(home, capsys, "Rope")]
    before = tree(states().root)
    assert main(["library", "verify"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"ok\t{folder.name}" for folder in reversed(folders)]
    assert tree(states().root) == before


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["manifest.json", "tokens.bin", "book.txt", "state"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_to_any_file_is_found(home: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str) -> None:
    """A flipped byte, a cut end or a missing file is reported by name with exit code 1, and nothing is changed."""
    folder = read(home, capsys)
    state = folder.manifest().state
    assert state is not None
    path = folder.path / (state.name if name == "state" else name)
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif name == "manifest.json":
        path.write_text(path.read_text().replace("The Lamp", "The Lump"))
    else:
        flip_last_byte(path)
    before = tree(states().root)
    assert main(["library", "verify", folder.name]) == 1
    verdict, reason = capsys.readouterr().out.splitlines()
    assert verdict == f"DAMAGED\t{folder.name}"
    assert path.name in reason
    assert tree(states().root) == before


def test_verify_as_json_lists_the_problems(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each state has its problems, and the exit code is the same."""
    folder = read(home, capsys)
    folder.book_path.unlink()
    folder.tokens_path.unlink()
    assert main(["library", "verify", "--json"]) == 1
    (state,) = json.loads(capsys.readouterr().out)["states"]
    assert (state["ok"], len(state["problems"])) == (False, 2)


def test_book_being_read_is_not_verified(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What another process is writing cannot be judged, and is left out."""
    folder = read(home, capsys)
    with FileLock(folder.lock_path):
        assert main(["library", "verify"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "is being read" in err


def read_for_real(home: Path, models: Path) -> StateFolder:
    """Read a book with a tiny hybrid model, which keeps boundaries too."""
    flags = ["--chat-tokens", "256", "--threads", "1", "--fast-kernels", "off", "--batch", "64"]
    assert main(["read", str(book(home, "Lamp")), "--model", str(model_path("qwen35", models)), *flags]) == 0
    return states().find("The Lamp")


def test_headers_of_real_states_are_checked(home: Path, capsys: pytest.CaptureFixture[str], models: Path) -> None:
    """The state and boundaries that llama.cpp wrote are sound; one with a wrong header and right checksums is not."""
    folder = read_for_real(home, models)
    manifest = folder.manifest()
    assert manifest.state is not None
    assert manifest.boundaries
    assert main(["library", "verify"]) == 0
    for file in (manifest.state, manifest.boundaries[0]):
        path = folder.path / file.name
        whole = path.read_bytes()
        content = b"\0\0\0\0" + whole[4:]
        path.write_bytes(content)
        wrong = StateFile(file.name, replace(file.blob, pieces=digests(memoryview(content), file.blob.piece_bytes)))
        boundaries = tuple(wrong if b.name == file.name else b for b in manifest.boundaries)
        folder.write_manifest(
            replace(manifest, state=wrong if file is manifest.state else manifest.state, boundaries=boundaries)
        )
        capsys.readouterr()
        assert main(["library", "verify"]) == 1
        assert f"{file.name}: The saved state is not valid: its magic number" in capsys.readouterr().out
        path.write_bytes(whole)


# -- rm ----------------------------------------------------------------------------------------------------------------


def test_rm_deletes_only_what_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With -y the named state is gone with its lock, and another one stays."""
    lamp, rope = read(home, capsys, "Lamp"), read(home, capsys, "Rope")
    assert main(["library", "rm", "the lamp", "-y"]) == 0
    assert lamp.name in capsys.readouterr().out
    assert sorted(path.name for path in states().root.iterdir() if lamp.name in path.name) == []
    assert rope.exists()


def titles() -> list[str]:
    """Return the titles that the cache remembers."""
    return sorted(json.loads(path.read_bytes())["title"] for path in (locate().cache / "documents").iterdir())


def test_rm_forgets_the_title_and_the_draft(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a book's state its title leaves the cache, and where its reader was is forgotten; other books stay."""
    lamp, tower = read(home, capsys, "Lamp").manifest().book, read(home, capsys, "Tower").manifest().book
    leave_off(lamp.digest, Place(7, (1, 2), "Who is"))
    leave_off(tower.digest, Place(9))
    assert main(["library", "rm", "the lamp", "-y"]) == 0
    assert titles() == ["The Tower"]
    assert placed() == {tower.digest: Place(9)}
    written = b"".join(tree(home / "home").values())
    assert lamp.digest.encode() not in written
    assert b"Lamp" not in written


def test_rm_leaves_the_place_while_there_are_chats(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Chats about a deleted book stay, and its bookmarks with them, until the last chat goes too."""
    lamp = read(home, capsys, "Lamp").manifest().book
    leave_off(lamp.digest, Place(7, (1, 2), "Who is"))
    with Sessions(locate().sessions_db) as sessions:
        chats = [
            sessions.create(book_digest=lamp.digest, book_title=lamp.title, book_path=lamp.path, model="fake").id
            for _ in range(2)
        ]
    assert main(["library", "rm", "the lamp", "-y"]) == 0
    assert placed() == {lamp.digest: Place(7, (1, 2), "Who is")}
    assert main(["sessions", "rm", chats[0], "-y"]) == 0
    assert placed() == {lamp.digest: Place(7, (1, 2), "Who is")}
    assert main(["sessions", "rm", chats[1], "-y"]) == 0
    assert placed() == {}
    assert titles() == []


def test_sessions_rm_leaves_the_place_in_a_saved_book(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A book that is saved keeps its bookmarks when the last chat about it goes."""
    lamp = read(home, capsys, "Lamp").manifest().book
    leave_off(lamp.digest, Place(7, (1, 2)))
    with Sessions(locate().sessions_db) as sessions:
        chat = sessions.create(book_digest=lamp.digest, book_title=lamp.title, book_path=lamp.path, model="fake").id
    assert main(["sessions", "rm", chat, "-y"]) == 0
    assert placed() == {lamp.digest: Place(7, (1, 2))}
    assert titles() == ["The Lamp"]


def test_rm_of_one_of_two_states_forgets_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A book that another state still holds keeps its title and place."""
    lamp = read(home, capsys, "Lamp")
    digest = lamp.manifest().book.digest
    leave_off(digest, Place(7))
    assert main(["read", str(book(home, "Lamp")), "--fake", "--kv", "q8_0"]) == 0
    assert len(states().all()) == 2
    assert main(["library", "rm", lamp.name, "-y"]) == 0
    assert titles() == ["The Lamp"]
    assert placed() == {digest: Place(7)}


def test_rm_with_damaged_chats_keeps_the_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where chats were lost, nobody can say that none was about the book: its place stays."""
    digest = read(home, capsys, "Lamp").manifest().book.digest
    leave_off(digest, Place(7))
    locate().sessions_db.write_bytes(b"no database at all, but longer than nothing")
    assert main(["library", "rm", "the lamp", "-y"]) == 0
    assert states().all() == []
    assert titles() == []
    assert placed() == {digest: Place(7)}


def test_rm_says_what_went_with_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader who deletes the last trace of a book is told what of his own was in it."""
    leave_off(read(home, capsys, "Lamp").manifest().book.digest, Place(7, (1, 2), "Who is"))
    assert main(["library", "rm", "the lamp", "-y"]) == 0
    assert "With it went where you were in it, 2 bookmarks and a question that was not sent." in capsys.readouterr().err


def test_rm_forgets_what_says_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An entry at the beginning of the book, or one that cannot be read, holds the book's digest all the same."""
    for number, entry in enumerate(({"position": 0, "bookmarks": []}, {"position": -1, "draft": "Who is"}, 5)):
        digest = read(home, capsys, f"Lamp {number}").manifest().book.digest
        Remembered.under(locate()).keep("books", {digest: entry, "other": {"position": 3, "bookmarks": []}})
        assert main(["library", "rm", f"the lamp {number}", "-y"]) == 0
        assert Remembered.under(locate()).read()["books"] == {"other": {"position": 3, "bookmarks": []}}


def test_rm_forgets_the_place_of_each_book_at_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the second of two books cannot be deleted, the first is forgotten and the second is not."""
    lamp, tower = read(home, capsys, "Lamp").manifest().book, read(home, capsys, "Tower").manifest().book
    leave_off(lamp.digest, Place(7))
    leave_off(tower.digest, Place(9))
    with FileLock(states().find("The Tower").lock_path):
        assert main(["library", "rm", "the lamp", "the tower", "-y"]) == 2
    assert placed() == {tower.digest: Place(9)}


def test_rm_of_a_damaged_state_forgets_its_title(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A manifest that cannot be read does not say which title to forget: all those that no state holds go."""
    read(home, capsys, "Lamp").manifest_path.write_bytes(b"{")
    read(home, capsys, "Tower")
    (damaged,) = (folder for folder in states().all() if "lamp" in folder.name)
    assert main(["library", "rm", damaged.name, "-y"]) == 0
    assert titles() == ["The Tower"]


def test_a_place_that_cannot_be_forgotten_is_said(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk does not take the change, the reader is told that the place is still there."""
    leave_off(read(home, capsys, "Lamp").manifest().book.digest, Place(7))
    monkeypatch.setattr(Remembered, "_write", lambda self, *content: False)
    assert main(["library", "rm", "the lamp", "-y"]) == 0
    assert "Remembered all the same" in capsys.readouterr().err


def test_prune_forgets_titles_and_keeps_places(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Titles of books that are not saved leave the cache; bookmarks stay when a state only makes room for others."""
    lamp = read(home, capsys, "Lamp", age_s=10 * 86400).manifest().book
    read(home, capsys, "Tower")
    leave_off(lamp.digest, Place(7))
    states().delete(states().find("The Tower"))
    assert titles() == ["The Lamp", "The Tower"]
    assert main(["library", "prune", "-y"]) == 0
    assert titles() == ["The Lamp"]
    assert main(["library", "prune", "--days", "5", "-y"]) == 0
    assert titles() == []
    assert placed() == {lamp.digest: Place(7)}


def test_rm_without_a_terminal_needs_yes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, nothing is deleted and the usage is wrong."""
    folder = read(home, capsys)
    assert main(["library", "rm", folder.name]) == 2
    assert "-y" in capsys.readouterr().err
    assert folder.exists()


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_rm_on_a_terminal_asks(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    """Only a yes deletes; no answer is a no."""
    folder = read(home, capsys)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert main(["library", "rm", folder.name]) == code
    assert folder.exists() == bool(code)


def test_rm_deletes_what_stands_aside(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was set aside is deleted by its name."""
    aside = read(home, capsys).set_aside("why")
    assert main(["library", "rm", aside.name, "-y"]) == 0
    assert not aside.exists()


def test_rm_deletes_what_was_set_aside_of_the_book(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a book's state every folder that was set aside of it goes, readable or not, and is named; others' stay."""
    other = read(home, capsys, "Rope").set_aside("why")
    read(home, capsys).set_aside("why")
    damaged = StateFolder(read(home, capsys).set_aside("why"))
    damaged.manifest_path.write_bytes(b"damaged")
    elsewhere = StateFolder(read(home, capsys).set_aside("why"))
    elsewhere.path.rename(elsewhere.path.with_name("a-book-of-another-name.aside-1"))
    folder = read(home, capsys)
    assert main(["library", "rm", folder.name, "-y"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 4
    assert "a-book-of-another-name.aside-1" in out
    assert [path for path in states().root.iterdir() if path.is_dir()] == [other]


def test_rm_of_what_stands_aside_leaves_the_rest(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was set aside is deleted alone when it is the one that was named."""
    first = read(home, capsys).set_aside("why")
    second = read(home, capsys).set_aside("why")
    folder = read(home, capsys)
    assert main(["library", "rm", first.name, "-y"]) == 0
    assert (first.exists(), second.exists(), folder.exists()) == (False, True, True)


def test_rm_refuses_a_book_being_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state that another process reads into stays."""
    folder = read(home, capsys)
    with FileLock(folder.lock_path):
        assert main(["library", "rm", folder.name, "-y"]) == 2
    assert folder.exists()


def hinted(err: str) -> list[str]:
    """Return the sentences of the errors that were told."""
    return [line.removeprefix("cagchat: ") for line in err.splitlines() if line.startswith("cagchat: ")]


def test_rm_of_an_open_book_leaves_all_of_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A book that is open in a chat keeps what was set aside of it, its title and its place."""
    aside = read(home, capsys).set_aside("why")
    folder = read(home, capsys)
    digest = folder.manifest().book.digest
    leave_off(digest, Place(7, (1, 2)))
    hold = Hold(folder.path)
    before = tree(folder.path) | tree(aside)
    assert main(["library", "rm", folder.name, "-y"]) == 2
    hold.release()
    out, err = capsys.readouterr()
    assert out == ""
    assert hinted(err) == [f"{folder.name} is open in a chat."]
    assert tree(folder.path) | tree(aside) == before
    assert titles() == ["The Lamp"]
    assert placed() == {digest: Place(7, (1, 2))}


def test_rm_goes_on_with_the_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several books those that are refused are told at the end, and the others go with all that is theirs."""
    kept = [StateFolder(read(home, capsys, "Lamp").set_aside("why")), read(home, capsys, "Lamp")]
    gone = [StateFolder(read(home, capsys, "Rope").set_aside("why")), read(home, capsys, "Rope")]
    busy = read(home, capsys, "Tower")
    hold = Hold(kept[1].path)
    with FileLock(busy.lock_path):
        assert main(["library", "rm", "the lamp", "the tower", "the rope", "-y"]) == 2
    hold.release()
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == [f"Deleted {folder.name}" for folder in reversed(gone)]
    assert hinted(err) == [f"{kept[1].name} is open in a chat.", f"{busy.name} is being read by another process."]
    left = sorted(path.name for path in states().root.iterdir() if path.is_dir())
    assert left == sorted(folder.name for folder in (*kept, busy))
    assert titles() == ["The Lamp", "The Tower"]


def test_rm_of_an_open_book_and_of_what_stands_aside(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was set aside goes when it is named itself, whatever becomes of the state."""
    named, other = (StateFolder(read(home, capsys).set_aside("why")) for _ in range(2))
    folder = read(home, capsys)
    hold = Hold(folder.path)
    assert main(["library", "rm", folder.name, named.name, "-y"]) == 2
    hold.release()
    assert (named.path.exists(), other.path.exists(), folder.path.exists()) == (False, True, True)


def test_rm_deletes_what_stands_aside_after_the_state(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops it in between has deleted the state, with the book's title, and can still delete what stands aside."""
    aside = read(home, capsys).set_aside("why")
    folder = read(home, capsys)
    delete = States.delete

    def interrupted(states: States, each: StateFolder, *others: Any, **options: Any) -> int:
        delete(states, each, *others, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(States, "delete", interrupted)
        assert main(["library", "rm", folder.name, "-y"]) == 130
    assert (folder.path.exists(), aside.exists(), titles()) == (False, True, [])
    assert main(["library", "rm", aside.name, "-y"]) == 0
    assert not aside.exists()


# -- prune -------------------------------------------------------------------------------------------------------------


def test_prune_clears_up_after_the_dead(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unfinished files, half deleted folders, free locks and unnamed states go; sound states and the living's stay."""
    folder = read(home, capsys)
    kept = tree(folder.path)
    root = states().root
    (folder.path / f"state-9.bin.{DEAD}.partial").write_bytes(b"x" * 1000)
    (folder.path / "checkpoint-9.bin").write_bytes(b"x" * 500)
    living = folder.path / f"state-9.bin.{os.getpid()}.partial"
    living.write_bytes(b"x")
    (root / ".deleting-old-1").mkdir()
    (root / ".deleting-old-1" / "state-1.bin").write_bytes(b"x" * 2000)
    (root / "old-2.pid").write_text("1")
    assert main(["library", "prune"]) == 0
    assert "Freed 4 kB." in capsys.readouterr().out
    assert tree(root) == {**kept, str(living): b"x"}


def test_prune_leaves_what_is_being_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While its lock is held, neither a state nor anything beside or in it goes."""
    folder = read(home, capsys, age_s=1e6)
    (folder.path / f"state-9.bin.{DEAD}.partial").write_bytes(b"x")
    folder.holder_path.write_text("1")
    with FileLock(folder.lock_path):
        before = tree(states().root)
        assert main(["library", "prune", "--budget", "0", "--days", "1", "-y"]) == 0
        assert tree(states().root) == before


def test_prune_takes_the_longest_unused_until_the_budget_holds(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three states the oldest go, no more than the budget asks for."""
    old, middle, new = (read(home, capsys, n, age_s=a) for n, a in (("Old", 300), ("Mid", 200), ("New", 100)))
    budget = (middle.size_bytes() + new.size_bytes()) / 1e9
    assert main(["library", "prune", "--budget", str(budget), "-y", "--json"]) == 0
    removed = json.loads(capsys.readouterr().out)["removed"]
    assert [Path(r["path"]).name for r in removed if r["kind"] == "state"] == [old.name]
    assert (old.exists(), middle.exists(), new.exists()) == (False, True, True)


def test_prune_takes_states_not_used_for_days(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --days only the age counts."""
    old, new = read(home, capsys, "Old", age_s=3 * 86400), read(home, capsys, "New", age_s=86400)
    assert main(["library", "prune", "--days", "2", "-y"]) == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_prune_goes_by_the_setting_when_not_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without flags the setting disk_budget_gb is the budget."""
    folder = read(home, capsys)
    assert main(["library", "prune", "-y"]) == 0
    assert folder.exists()
    assert main(["config", "set", "disk_budget_gb", "0"]) == 0
    assert main(["library", "prune", "-y"]) == 0
    assert not folder.exists()


def test_dry_run_changes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run says what would go without asking, and leaves all of it."""
    folder = read(home, capsys, "Lamp")
    aside = read(home, capsys, "Rope").set_aside("why")
    before = tree(states().root)
    assert main(["library", "prune", "--budget", "0", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"{aside.name}, " in out
    assert f"{folder.name}, " in out
    assert "Would free" in out
    assert tree(states().root) == before


def test_prune_asks_before_more_than_leftovers_go(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was set aside is named with its reason and goes only after a yes."""
    aside = read(home, capsys).set_aside("Its probe differs.")
    assert main(["library", "prune"]) == 2
    assert aside.exists()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    capsys.readouterr()
    assert main(["library", "prune"]) == 0
    assert f"{aside.name}, " in (err := capsys.readouterr().err)
    assert "Its probe differs." in err
    assert not aside.exists()


def set_chats_aside() -> list[Path]:
    """Leave what setting a damaged database of chats aside leaves."""
    path = locate().sessions_db
    files = [path.with_name(f"{path.name}.damaged-{end}") for end in ("1", "1-wal", "2")]
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        file.write_bytes(b"x" * 1000)
    return files


def test_prune_takes_damaged_chats_after_asking(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged databases of chats and their journals are listed, counted and deleted as what was set aside is."""
    files = set_chats_aside()
    Sessions(locate().sessions_db).close()
    assert [Path(each["path"]) for each in listed(capsys)["aside"]] == files
    assert main(["library", "prune"]) == 2
    assert all(file.exists() for file in files)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    capsys.readouterr()
    assert main(["library", "prune", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(Path(each["path"]), each["kind"]) for each in found["removed"]] == [(file, "aside") for file in files]
    assert found["freed_bytes"] == 3000
    assert not any(file.exists() for file in files)
    assert locate().sessions_db.exists()


def test_prune_of_nothing_is_no_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is nothing to delete, that is said and the exit code is 0."""
    assert main(["library", "prune"]) == 0
    assert "nothing to delete" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "many"])
def test_senseless_numbers_are_wrong_usage(home: Path, value: str) -> None:
    """Days and budgets are numbers from 0 on."""
    with pytest.raises(SystemExit) as caught:
        main(["library", "prune", f"--days={value}"])
    assert caught.value.code == 2


@pytest.mark.parametrize("value", ["-1", "nan", "1000001", "1e300"])
def test_a_senseless_budget_is_wrong_usage(home: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    """A budget on the command line is bounded as the setting is."""
    with pytest.raises(SystemExit) as caught:
        main(["library", "prune", f"--budget={value}"])
    assert caught.value.code == 2
    assert value in capsys.readouterr().err
    assert main(["library", "prune", "--budget=1e6"]) == 0
