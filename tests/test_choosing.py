"""With which model and settings a book is opened: its saved state's, or what the plan chooses."""

from __future__ import annotations

from array import array
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cagchat import documents
from cagchat.choosing import beginning_of, cut_for, planned, reasons, run_from, too_long
from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import RopeSettings
from cagchat.errors import ModelError
from cagchat.library import Options
from cagchat.models.facts import ModelFacts
from cagchat.plan.card import Card
from cagchat.plan.choose import Machine, choose, wish_of
from cagchat.plan.run import PLAIN_BATCH, Run
from cagchat.prompt import Prefix
from cagchat.saved import Saved, saved
from cagchat.settings import Settings
from cagchat.states.manifest import Manifest
from cagchat.states.store import StateFolder, States
from tests.plan.cards import MIXTURE, NATIVE, PLENTY, card, cpu, gpu
from tests.reading_cases import SETTINGS, chapters, library_of, locations, opening, write_book


class Scripted(FakeBackend):
    """A fake backend with models and a machine of the test's own; models that are `gone` cannot be read."""

    def __init__(
        self, cards: tuple[Card, ...] = (), machine: Machine | None = None, gone: tuple[str, ...] = ()
    ) -> None:
        super().__init__(FakeScript(memory="attention"))
        self._cards, self._machine, self._gone = cards, machine or cpu(0), gone
        self.plans = 0

    def cards(self, settings: Settings, model: Path | None = None) -> tuple[Card, ...]:
        self.plans += 1
        return self._cards or super().cards(settings, model)

    def offloads(self, settings: Settings) -> bool:
        return self._machine.device_bytes > 0

    def machine(self, settings: Settings) -> Machine:
        return self._machine

    def facts(self, model: Path) -> ModelFacts:
        if model.name in self._gone:
            raise ModelError(f"There is no model at {model}.", "Fetch it again.")
        return super().facts(model)


def read(home: Path, book: Path, settings: Settings = SETTINGS, options: Options | None = None) -> StateFolder:
    """Read a book with these settings and keep its state."""
    with opening(library_of(home, FakeBackend(FakeScript(memory="attention")), settings), book, options) as opened:
        return opened.folder


def keep_attention(folder: StateFolder, *, flash_attention: bool) -> None:
    """Let a state be one that was read with flash attention, or without."""
    manifest = folder.manifest()
    folder.write_manifest(replace(manifest, key=replace(manifest.key, flash_attention=flash_attention)))


def found_state(
    home: Path, book: Path, settings: Settings = SETTINGS, backend: FakeBackend | None = None
) -> Saved | None:
    document = documents.load(book)
    states = States(locations(home).states)
    return saved(states, document.title, document.digest, settings, backend or Scripted())


def reopened(home: Path, book: Path, settings: Settings = SETTINGS, backend: FakeBackend | None = None) -> Run:
    found = found_state(home, book, settings, backend)
    assert found is not None
    return found.run


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A short book."""
    return write_book(tmp_path)


# -- what was read before ----------------------------------------------------------------------------------------------


def test_a_book_that_was_not_read_has_no_state(tmp_path: Path, book: Path) -> None:
    """Before the first reading there is nothing to choose, and no plan is made for that."""
    backend = Scripted()
    assert found_state(tmp_path, book, backend=backend) is None
    assert backend.plans == 0


def test_state_of_another_model_than_todays_best_is_reopened(tmp_path: Path, book: Path) -> None:
    """What was read stays open-able when the plan would choose another model and KV type today."""
    read(tmp_path, book, replace(SETTINGS, model="old.gguf", kv_type="q8_0"))
    best = Scripted((card(path=Path("best.gguf")),))
    run = reopened(tmp_path, book, backend=best)
    assert (run.model.path.name, run.kv_type) == ("old.gguf", "q8_0")


def test_named_model_picks_its_state(tmp_path: Path, book: Path) -> None:
    """Of states of two models the one that is named is opened, and none when it is of neither."""
    for name in ("a.gguf", "b.gguf"):
        read(tmp_path, book, replace(SETTINGS, model=name))
    for name in ("a.gguf", "b.gguf"):
        assert reopened(tmp_path, book, replace(SETTINGS, model=name)).model.path.name == name
    assert found_state(tmp_path, book, replace(SETTINGS, model="c.gguf")) is None


def test_last_used_state_is_opened(tmp_path: Path, book: Path) -> None:
    """Of several states that suit, the one that was used last is opened."""
    for name in ("a.gguf", "b.gguf", "a.gguf"):
        read(tmp_path, book, replace(SETTINGS, model=name))
    assert reopened(tmp_path, book).model.path.name == "a.gguf"


def test_fixed_kv_type_picks_its_state(tmp_path: Path, book: Path) -> None:
    """A KV type that is fixed opens only a state of it; left open, any will do."""
    read(tmp_path, book, replace(SETTINGS, kv_type="q8_0"))
    assert reopened(tmp_path, book).kv_type == "q8_0"
    assert reopened(tmp_path, book, replace(SETTINGS, kv_type="q8_0")).kv_type == "q8_0"
    assert found_state(tmp_path, book, replace(SETTINGS, kv_type="f16")) is None


def test_without_yarn_no_stretched_state_is_opened(tmp_path: Path, book: Path) -> None:
    """A state that was read with YaRN is opened with its factor, and refused when YaRN is."""
    read(tmp_path, book)
    stretch(tmp_path)
    assert reopened(tmp_path, book).rope == RopeSettings(2.0, NATIVE)
    assert found_state(tmp_path, book, replace(SETTINGS, yarn=False)) is None


def stretch(home: Path) -> Manifest:
    """Make the only state one that was read with YaRN."""
    (folder,) = States(locations(home).states).all()
    manifest = folder.manifest()
    key = replace(manifest.key, yarn_factor=2.0, yarn_original_context=NATIVE)
    folder.write_manifest(replace(manifest, key=key))
    return manifest


def test_state_whose_model_is_gone_is_passed_over(tmp_path: Path, book: Path) -> None:
    """A state without its model file is of no use now: another is opened, or the book is read again."""
    for name in ("a.gguf", "b.gguf"):
        read(tmp_path, book, replace(SETTINGS, model=name))
    assert reopened(tmp_path, book, backend=Scripted(gone=("b.gguf",))).model.path.name == "a.gguf"
    assert found_state(tmp_path, book, backend=Scripted(gone=("a.gguf", "b.gguf"))) is None


def test_whole_reading_comes_before_a_beginning(tmp_path: Path) -> None:
    """A state of only the beginning is opened when there is no other, however lately it was used."""
    book = write_book(tmp_path, chapters(30))
    small = FakeBackend(FakeScript(memory="attention", context_trained=2048))
    settings = replace(SETTINGS, model="small.gguf")
    with opening(library_of(tmp_path, small, settings), book, Options(truncate=True)) as opened:
        assert opened.manifest.book.truncated
    assert reopened(tmp_path, book).model.path.name == "small.gguf"
    read(tmp_path, book, replace(SETTINGS, model="large.gguf"))
    with opening(library_of(tmp_path, small, settings), book, Options(truncate=True)):
        pass
    assert reopened(tmp_path, book).model.path.name == "large.gguf"


def test_copy_under_another_title_finds_its_state(tmp_path: Path, book: Path) -> None:
    """The same text under another file name, and so another title, is the same book."""
    read(tmp_path, book)
    copy = write_book(tmp_path, name="harbour.txt")
    assert documents.load(copy).title != documents.load(book).title
    assert reopened(tmp_path, copy).model == reopened(tmp_path, book).model


def test_another_book_of_the_same_title_is_another(tmp_path: Path, book: Path) -> None:
    """A title alone does not make a state this book's."""
    read(tmp_path, book)
    (tmp_path / "other").mkdir()
    other = write_book(tmp_path / "other", chapters(3))
    assert documents.load(other).title == documents.load(book).title
    assert found_state(tmp_path, other) is None


def test_damaged_manifest_is_passed_over(tmp_path: Path, book: Path) -> None:
    """A folder whose manifest cannot be read is no state to choose."""
    read(tmp_path, book)
    (folder,) = States(locations(tmp_path).states).all()
    folder.manifest_path.write_bytes(b"{}")
    assert found_state(tmp_path, book) is None


# -- where it is placed ------------------------------------------------------------------------------------------------


def test_without_a_gpu_nothing_is_planned(tmp_path: Path, book: Path) -> None:
    """Reopening where only the processor computes takes the settings as they are, and makes no plan."""
    folder = read(tmp_path, book)
    backend = Scripted(machine=cpu(1))
    run = reopened(tmp_path, book, replace(SETTINGS, batch=0, experts_in_ram=-1), backend)
    assert (run.batch, run.gpu_layers, run.experts_in_ram) == (512, -1, 0)
    assert reopened(tmp_path, book, replace(SETTINGS, batch=96), backend).batch == 96
    keep_attention(folder, flash_attention=False)
    batches = [reopened(tmp_path, book, replace(SETTINGS, batch=batch), backend).batch for batch in (0, 48, 512)]
    assert batches == [PLAIN_BATCH, 48, PLAIN_BATCH]
    assert backend.plans == 0


def test_on_a_gpu_the_weights_are_placed_anew(tmp_path: Path, book: Path) -> None:
    """A state is opened with what fits the GPU's memory now: experts in RAM, a smaller batch; its disk is paid for."""
    read(tmp_path, book)
    one = card("Q8_0", MIXTURE, path=Path("fake.gguf"))
    settings = replace(SETTINGS, batch=0)
    smallest = replace(wish_of(settings), kv_type="f16", batch=64)
    whole = choose([one], lambda _: 600, smallest, gpu()).chosen
    assert whole is not None
    full = gpu(whole.memory.device_bytes - 4_000_000, PLENTY, disk_bytes=1)
    assert reopened(tmp_path, book, settings, Scripted((one,), full)).experts_in_ram > 0
    assert reopened(tmp_path, book, settings, Scripted((one,), gpu(PLENTY, PLENTY))).experts_in_ram == 0


def test_placing_keeps_what_the_bytes_mean(tmp_path: Path, book: Path) -> None:
    """Whatever the plan would choose, KV type, attention and YaRN are the state's, even where nothing fits any more."""
    read(tmp_path, book, replace(SETTINGS, kv_type="q8_0"))
    for machine in (gpu(PLENTY), gpu(1000)):
        run = reopened(tmp_path, book, backend=Scripted((card(path=Path("fake.gguf")),), machine))
        assert (run.kv_type, run.flash_attention, run.rope) == ("q8_0", True, RopeSettings())


@pytest.mark.parametrize("flash_attention", [False, True])
def test_placing_keeps_the_attention_that_a_state_is_of(tmp_path: Path, book: Path, flash_attention: bool) -> None:
    """A state without flash attention is opened without it on a GPU too, one with it on a processor that has room."""
    keep_attention(read(tmp_path, book), flash_attention=flash_attention)
    for machine in (gpu(PLENTY), gpu(1000), cpu(PLENTY)):
        run = reopened(tmp_path, book, backend=Scripted((card(path=Path("fake.gguf")),), machine))
        assert run.flash_attention is flash_attention


# -- what is read now --------------------------------------------------------------------------------------------------


def test_run_is_what_was_chosen() -> None:
    """A chosen option becomes a run with its model, types, batch and places; YaRN counts from the trained context."""
    backend = Scripted((card(path=Path("a.gguf")),), cpu())
    settings = Settings(chat_tokens=1024, kv_type="q8_0", batch=128, gpu_layers=2)
    plan = planned(lambda _: 2 * NATIVE, settings, backend)
    assert plan.chosen is not None
    run = run_from(plan.chosen, backend)
    assert (run.model.path.name, run.kv_type, run.batch, run.gpu_layers) == ("a.gguf", "q8_0", 128, 2)
    assert run.rope == RopeSettings(3.0, NATIVE)
    short = planned(lambda _: 100, settings, backend).chosen
    assert short is not None
    assert run_from(short, backend).rope == RopeSettings()


def test_refusal_by_context_says_what_would_hold_it() -> None:
    """A book that is longer than every context is refused with the numbers and the way out."""
    settings = Settings(chat_tokens=4096)
    plan = planned(lambda _: 50_000, settings, Scripted((card(path=Path("a.gguf")),), cpu()))
    error = too_long("The Keeper", plan, settings, "")
    assert "50,000 tokens" in error.message
    assert f"holds {4 * NATIVE:,}" in error.message
    assert f"{50_512 - 4 * NATIVE:,} too many" in error.message
    assert "50,512 or more" in error.hint
    assert "--truncate" in error.hint


def test_refusal_by_memory_says_how_far_it_goes() -> None:
    """A book that the memory does not hold is refused with how much of it would fit and what is missing."""
    settings = Settings(chat_tokens=1024)
    one = card(path=Path("a.gguf"))
    whole = planned(lambda _: 20_000, settings, Scripted((one,), cpu())).options[0]
    machine = cpu(int(whole.memory.host_bytes * 0.6))
    plan = planned(lambda _: 20_000, replace(settings, kv_type="f16", batch=64), Scripted((one,), machine))
    assert plan.farthest is not None
    error = too_long("The Keeper", plan, settings, "Get a better one")
    assert f"{plan.farthest.holds:,} of them fit here" in error.message
    assert "more RAM is needed" in error.message
    assert error.hint.startswith("Get a better one, or read only the beginning")


def test_refusal_without_yarn_counts_the_trained_context() -> None:
    """Where YaRN is forbidden the trained context is what the book is too long for."""
    settings = Settings(yarn=False)
    plan = planned(lambda _: NATIVE, settings, Scripted((card(path=Path("a.gguf")),), cpu()))
    assert f"holds {NATIVE:,}" in too_long("The Keeper", plan, settings, "").message


def length(n_tokens: int, _: Card) -> int:
    return n_tokens


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_beginning_is_what_fits(share: float) -> None:
    """Of a book that the memory does not hold, so much is read that it fits beside the chat, with YaRN as for that."""
    settings = Settings(chat_tokens=1024, kv_type="f16", batch=64)
    one = card(path=Path("a.gguf"))
    backend = Scripted((one,), cpu())
    sizes = [planned(partial(length, n), settings, backend).options[0].memory.host_bytes for n in (1000, 20_000)]
    machine = cpu(int(sizes[0] + share * (sizes[1] - sizes[0])))
    plan = planned(lambda _: 20_000, settings, Scripted((one,), machine))
    option = beginning_of(plan, settings)
    assert option is not None
    assert option.fits
    prefix = cut_for(Prefix(array("i", range(20_000)), 10, 5, (19_995,)), option, settings)
    assert len(prefix.tokens) == option.n_tokens
    assert prefix.left_out == 20_000 - option.n_tokens
    assert option.way.yarn_factor == -(-option.way.n_context // NATIVE)


def test_beginning_leaves_the_chat_its_room() -> None:
    """Where the model's context is what ends, the beginning is as long as leaves the whole chat's room."""
    settings = Settings(chat_tokens=1024)
    plan = planned(lambda _: 50_000, settings, Scripted((card(path=Path("a.gguf")),), cpu()))
    option = beginning_of(plan, settings)
    assert option is not None
    prefix = cut_for(Prefix(array("i", range(50_000)), 10, 5, (49_995,)), option, settings)
    assert len(prefix.tokens) == 4 * NATIVE - 1024


def test_there_is_no_beginning_where_nothing_fits() -> None:
    """A machine that does not even hold the model reads no beginning."""
    plan = planned(lambda _: 50_000, SETTINGS, Scripted((card(path=Path("a.gguf")),), cpu(1)))
    assert beginning_of(plan, SETTINGS) is None


def test_reasons_are_the_refusals_and_the_remarks() -> None:
    """Why something was chosen is what was refused before it, and what is special about it."""
    settings = Settings(chat_tokens=1024)
    one = card(path=Path("a.gguf"))
    whole = planned(lambda _: 20_000, replace(settings, kv_type="q8_0", batch=64), Scripted((one,), cpu())).options[0]
    plan = planned(lambda _: 20_000, settings, Scripted((one,), cpu(whole.memory.host_bytes)))
    refused, *special = reasons(plan)
    assert refused.startswith("not small Q8_0 with KV f16: ")
    assert refused.endswith("more RAM is needed")
    assert any("YaRN x3" in line for line in special)
    assert reasons(planned(lambda _: 20_000, settings, Scripted((one,), cpu(1)))) == ()
