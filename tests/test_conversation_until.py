"""Chats that know the book only up to a limit: nothing beyond it is in the context, and its cost is what was said."""

from __future__ import annotations

import os
import signal
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import BOOK, CHAT, Engine, Sampling
from cagchat.errors import ContextFull, EngineDied, Stopped, UsageError
from cagchat.events import Answer, Answered, AskEvent, HistoryRead, Limited, Notice, Reading, Restored
from cagchat.library import Options
from cagchat.limits.ground import Ground
from cagchat.limits.limit import Limit, last_limit
from cagchat.limits.until import parse_until
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from tests.reading_cases import (
    SETTINGS,
    Kind,
    Watched,
    chapters,
    fake,
    library_for,
    library_of,
    of_type,
    opened,
    opening,
    write_book,
)

OPTIONS = AskOptions(Sampling(temperature=0.0), max_tokens=6)
QUESTION, OTHER = "Who kept the ledger?", "And the dog?"
HYBRID = Kind("fake", "hybrid")
KINDS = (
    Kind("fake", "attention"),
    HYBRID,
    Kind("smollm2", "attention"),
    Kind("qwen35", "hybrid"),
    Kind("qwen35moe", "hybrid"),
    Kind("gemma3", "sliding"),
)
PLACES = ("0%", "chapter one", "45%", "chapter 2", "97%")
WIDE = replace(SETTINGS, batch=512)  # what a window's ring of cells needs to hold the whole test book


@dataclass(frozen=True, slots=True)
class Shelf:
    """A book that this kind of model has read."""

    kind: Kind
    home: Path
    book: Path

    def open(self, models: Path) -> OpenBook:
        library, _ = library_for(self.kind, self.home, models, settings_for(self.kind))
        return opened(library, self.book)[0]


def settings_for(kind: Kind) -> Settings:
    if kind.model == "qwen35moe":  # one hybrid with flash attention, which quantised K and V need
        return replace(SETTINGS, kv_type="q8_0")
    return WIDE if kind.memory == "sliding" else SETTINGS


@pytest.fixture(scope="module")
def shelves(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Shelf]:
    """Let every kind of model read the book once."""
    found = {}
    for kind in KINDS:
        home = tmp_path_factory.mktemp(str(kind))
        found[kind] = Shelf(kind, home, write_book(home, chapters(3, 2)))
        found[kind].open(models).close()
    return found


@pytest.fixture(params=KINDS, ids=str)
def shelf(request: pytest.FixtureRequest, shelves: dict[Kind, Shelf]) -> Shelf:
    return shelves[request.param]


@pytest.fixture
def book(shelf: Shelf, models: Path) -> Iterator[OpenBook]:
    book = shelf.open(models)
    yield book
    book.close()


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with Sessions(tmp_path / "sessions.sqlite") as sessions:
        yield sessions


def fake_book(folder: Path, text: str = "", boundaries: int = 64, chat_tokens: int = 512) -> OpenBook:
    """Open a book that a fake hybrid model reads now."""
    settings = replace(SETTINGS, boundaries=boundaries, chat_tokens=chat_tokens)
    library = library_of(folder / "home", fake(FakeScript(memory="hybrid")), settings)
    return opened(library, write_book(folder, text or chapters(3, 2)))[0]


def told(events: list[AskEvent]) -> Answered:
    """Return the last event, which must be the only `Answered`."""
    (answered,) = of_type(events, Answered)
    assert events[-1] is answered
    return answered


def asked(conversation: Conversation, question: str = QUESTION) -> tuple[Answered, list[AskEvent]]:
    events = list(conversation.ask(question, OPTIONS))
    return told(events), events


def limit_at(book: OpenBook, words: str) -> Limit:
    return parse_until(book.document, words)


def frame_opening(book: OpenBook) -> array[int]:
    (ids,) = book.engine.tokenize([book.manifest.frame.opening], special=True)
    return ids


def body(book: OpenBook, question: str = QUESTION) -> array[int]:
    (ids,) = book.engine.tokenize([question], special=False)
    return book.pieces.body(ids, thinking=False)


def boundary_below(book: OpenBook, position: int) -> int:
    return max((b.blob.n_tokens for b in book.manifest.boundaries if b.blob.n_tokens <= position), default=0)


class Recorded:
    """Remembers every token that an engine was given for the chat's sequence."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._tokens = array("i")
        for name in ("evaluate", "generate"):
            monkeypatch.setattr(engine, name, self._noting(getattr(engine, name)))

    def taken(self) -> array[int]:
        """Return the tokens since the last call."""
        taken, self._tokens = self._tokens, array("i")
        return taken

    def _noting(self, real: Callable[..., object]) -> Callable[..., object]:
        def noting(sequence: int, tokens: array[int], *rest: object, **named: object) -> object:
            assert sequence == CHAT
            self._tokens.extend(tokens)
            return real(sequence, tokens, *rest, **named)

        return noting


# -- what is in the context --------------------------------------------------------------------------------------------


def test_nothing_beyond_the_limit(book: OpenBook, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context is head, the book's whole tokens up to the limit, opening, question and answer, counted twice."""
    recorded = Recorded(book.engine, monkeypatch)
    tokens, text = book.folder.tokens(), book.document.text
    for place in PLACES:
        limit = limit_at(book, place)
        conversation = Conversation(book, sessions, limit=limit)
        answered, events = asked(conversation)
        (said,) = of_type(events, Limited)
        cut = said.n_tokens
        known = book.engine.text_of(tokens[book.manifest.n_head : cut])
        assert text[: limit.offset].startswith(known.decode())
        following = known + book.engine.text_of(tokens[cut : cut + 1])
        assert len(following) > len(text[: limit.offset].encode())
        assert recorded.taken() == tokens[cut - said.to_read : cut] + frame_opening(book) + body(book)
        (turn,) = conversation.turns()
        assert book.engine.length(CHAT) == cut + len(frame_opening(book)) + len(turn.tokens)
        assert conversation.until == limit.offset
        assert answered.proof.book_tokens == cut


@pytest.mark.parametrize("place", [*PLACES, "the end of a batch"])
def test_goes_on_as_a_context_that_was_given_only_that(place: str, book: OpenBook) -> None:
    """Logits after the limit are those of a context that was given the same tokens and no more.

    Where a batch of the reading ended and nothing is read again, they are the same to the bit with flash attention, and
    without it within rounding: question and answer lie in cells beside the book's, so that sums are made in another
    order, as they are in a window whose cells a probe has moved. Elsewhere cells come from a longer batch as well, and
    the likeliest tokens are the same.
    """
    tokens, n_head, n_batch = book.folder.tokens(), book.manifest.n_head, book.settings.n_batch
    ends = {file.blob.n_tokens for file in book.manifest.boundaries}
    if place in PLACES:
        ground = Ground(book, limit_at(book, place))
    else:
        end = book.manifest.book.section_tokens[-1] // n_batch * n_batch
        ground = Ground(book, Limit(len(book.engine.text_of(tokens[n_head:end]).decode()), place))
        assert ground.n_book == end
    nothing_read = not ground.to_read
    list(ground.place(lambda: None))
    rows = greedy(book.engine, body(book))
    book.engine.clear(CHAT)
    book.engine.clear(BOOK)
    start, cut = 0, ground.n_book
    for end in (*sorted(end for end in ends if end < cut), cut):
        list(book.engine.evaluate(CHAT, tokens[start:end]))
        start = end
    list(book.engine.evaluate(CHAT, frame_opening(book)))
    fresh = greedy(book.engine, body(book))
    if nothing_read and (cut in ends or cut % n_batch == 0):
        assert max(farthest(one, other) for one, other in zip(fresh, rows, strict=True)) < ROUNDING
        if book.settings.flash_attention and book.engine.info.memory != "sliding":
            assert fresh == rows
    assert [likeliest(row) for row in fresh] == [likeliest(row) for row in rows]


def greedy(engine: Engine, prompt: array[int], steps: int = 4) -> list[array[float]]:
    rows = [engine.logits(CHAT, prompt)]
    for _ in range(steps - 1):
        rows.append(engine.logits(CHAT, [likeliest(rows[-1])]))
    return rows


# Of logits of SmolLM2, up to 25: its activations are quantised, and four tokens carry a rounding on. 0.66 was seen.
ROUNDING = 1.0


def farthest(one: array[float], other: array[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def likeliest(row: array[float]) -> int:
    return max(range(len(row)), key=row.__getitem__)


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_cost_is_what_was_said(book: OpenBook, sessions: Sessions) -> None:
    """A cache that can be cut reads nothing of the book, another one what is missing from its nearest snapshot."""
    cuttable = book.engine.info.memory == "attention"
    for place in PLACES:
        book.snapshots.clear()
        conversation = Conversation(book, sessions, limit=limit_at(book, place))
        expected = conversation.to_read
        answered, events = asked(conversation)
        (said,) = of_type(events, Limited)
        assert said.to_read == expected == (0 if cuttable else said.n_tokens - boundary_below(book, said.n_tokens))
        assert answered.proof.book_evaluated == said.to_read
        assert answered.proof.book_reused == said.n_tokens - said.to_read
        assert answered.proof.evaluated == len(frame_opening(book)) + len(body(book))
        assert "AGAIN" not in answered.proof.line()
        assert [event.position for event in of_type(events, Reading)][-1:] == [said.n_tokens] * bool(said.to_read)


def test_read_once(book: OpenBook, sessions: Sessions) -> None:
    """Later questions, regenerating, editing and new chats with the same limit read nothing of the book."""
    limit = limit_at(book, "45%")
    conversation = Conversation(book, sessions, limit=limit)
    first, _ = asked(conversation)
    second, _ = asked(conversation, OTHER)
    again = told(list(conversation.regenerate(OPTIONS, 2)))
    edited = told(list(conversation.edit(1, QUESTION, OPTIONS)))
    new, _ = asked(Conversation(book, sessions, limit=limit))
    later = (second, again, edited, new)
    assert [answered.proof.book_evaluated for answered in later] == [0, 0, 0, 0]
    assert [answered.proof.history_evaluated for answered in later] == [0, 0, 0, 0]
    assert (again.answer, edited.answer, new.answer) == (second.answer, first.answer, first.answer)


def test_forward_reads_the_difference(book: OpenBook, sessions: Sessions) -> None:
    """Moved forward, the chat reads what is new, or less from a snapshot, and has its turns read back."""
    conversation = Conversation(book, sessions, limit=limit_at(book, "45%"))
    before, _ = asked(conversation)
    for place in ("55%", "97%"):
        known = conversation._context.ground.n_book
        turns = [turn.tokens for turn in conversation.turns()]
        conversation.limit_to(limit_at(book, place))
        answered, events = asked(conversation, OTHER)
        (said,) = of_type(events, Limited)
        nearest = max(known, boundary_below(book, said.n_tokens))
        cuttable = book.engine.info.memory == "attention"
        assert said.to_read == answered.proof.book_evaluated == (0 if cuttable else said.n_tokens - nearest)
        between = (len(turns) - 1) * len(book.pieces.next_opening)
        assert answered.proof.history_evaluated == sum(map(len, turns)) + between
        assert of_type(events, HistoryRead)
    assert conversation.turns()[0].answer == before.answer


def test_limit_at_the_end_is_none(book: OpenBook, sessions: Sessions) -> None:
    """A limit at the book's end costs nothing, says nothing, and gives the answer of a chat without one."""
    whole, _ = asked(Conversation(book, sessions))
    conversation = Conversation(book, sessions, limit=limit_at(book, "end"))
    answered, events = asked(conversation)
    assert conversation.until is None
    assert not of_type(events, Limited)
    assert answered.answer == whole.answer
    assert answered.proof.book_reused == book.n_tokens


def test_without_boundaries_it_reads_from_the_start(tmp_path: Path, sessions: Sessions) -> None:
    """With no snapshots at all the book is read up to the limit, in steps that fit beside it, and then kept."""
    book = fake_book(tmp_path, chapters(8), boundaries=0, chat_tokens=256)
    asked(Conversation(book, sessions))  # its proof tells of the first reading
    limit = limit_at(book, "70%")
    answered, events = asked(Conversation(book, sessions, limit=limit))
    (said,) = of_type(events, Limited)
    assert said.to_read == said.n_tokens == answered.proof.book_evaluated
    assert said.to_read > 2 * (book.settings.n_context - book.n_tokens)
    assert asked(Conversation(book, sessions, limit=limit))[0].proof.book_evaluated == 0


def test_limited_chat_has_as_much_room(tmp_path: Path, sessions: Sessions) -> None:
    """Old turns leave a limited chat as they do a whole one; nothing of the book is read for it."""
    book = fake_book(tmp_path)
    asked(Conversation(book, sessions))
    conversation = Conversation(book, sessions, limit=limit_at(book, "45%"))
    long = replace(OPTIONS, max_tokens=200)
    notices, evaluated = [], []
    for index in range(12):
        events = list(conversation.ask(f"{QUESTION} ({index})", long))
        notices += of_type(events, Notice)
        evaluated.append(told(events).proof.book_evaluated)
        assert book.engine.length(CHAT) <= conversation._context.ground.capacity
        assert told(events).proof.chat_tokens + told(events).proof.book_tokens == book.engine.length(CHAT)
    assert evaluated[0] > 0
    assert not any(evaluated[1:])
    assert any("left the context" in notice.text for notice in notices)
    with pytest.raises(ContextFull, match="room for"):
        asked(conversation, "Why? " * 600)


# -- what a chat may know ----------------------------------------------------------------------------------------------


def test_never_backward(tmp_path: Path, sessions: Sessions) -> None:
    """A chat that knows more cannot go on with less, moved or continued; it stays as it is, and a new chat may."""
    book = fake_book(tmp_path)
    conversation = Conversation(book, sessions, limit=limit_at(book, "chapter 2"))
    asked(conversation)
    with pytest.raises(UsageError, match="already knows the book up to CHAPTER 2"):
        conversation.limit_to(limit_at(book, "chapter 1"))
    assert conversation.until == limit_at(book, "chapter 2").offset
    with pytest.raises(UsageError, match="already knows"):
        Conversation(book, sessions, conversation.session, limit=limit_at(book, "10%"))
    whole = Conversation(book, sessions)
    asked(whole)
    with pytest.raises(UsageError, match="the end"):
        whole.limit_to(limit_at(book, "97%"))
    answered, _ = asked(Conversation(book, sessions, limit=limit_at(book, "chapter 1")))
    assert answered.proof.book_tokens == book.manifest.book.section_tokens[0]


def test_new_chats_have_the_books_limit(tmp_path: Path, sessions: Sessions) -> None:
    """A chat that was given no limit takes the one that the book was opened with, unless it has its own."""
    book = fake_book(tmp_path)
    own = Conversation(book, sessions, limit=limit_at(book, "chapter 1"))
    asked(own)
    book.limit = limit_at(book, "chapter 2")
    assert Conversation(book, sessions).limit == book.limit
    assert Conversation(book, sessions, own.session).limit == own.limit


def test_restart(shelf: Shelf, sessions: Sessions, models: Path) -> None:
    """Continued after a restart, a chat keeps its limit without being told, and answers as it would have."""
    with_limit = shelf.open(models)
    limit = limit_at(with_limit, "45%")
    first = Conversation(with_limit, sessions, limit=limit)
    asked(first)
    straight = Conversation(with_limit, sessions, limit=limit)
    asked(straight)
    wanted, _ = asked(straight, OTHER)
    with_limit.close()
    assert not [path for path in with_limit.folder.path.iterdir() if path.name.startswith("limit-")]
    again = shelf.open(models)
    continued = Conversation(again, sessions, first.session)
    answered, events = asked(continued, OTHER)
    again.close()
    assert continued.limit == limit
    assert len(of_type(events, Limited)) == len(of_type(events, HistoryRead)) == 1
    assert answered.answer == wanted.answer


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_stop_keeps_what_was_read(tmp_path: Path, sessions: Sessions) -> None:
    """Stopped on the way to the limit, the next question goes on from there; nothing is answered meanwhile."""
    book = fake_book(tmp_path, chapters(4), boundaries=0, chat_tokens=2048)
    asked(Conversation(book, sessions))
    conversation = Conversation(book, sessions, limit=limit_at(book, "80%"))
    events: list[AskEvent] = []
    with pytest.raises(Stopped):
        for event in conversation.ask(QUESTION, OPTIONS):
            events.append(event)
            if len(of_type(events, Reading)) == 3:
                conversation.stop()
    reached = of_type(events, Reading)[-1].position
    answered, after = asked(conversation)
    (said,) = of_type(after, Limited)
    assert 0 < reached < said.n_tokens
    assert said.to_read == said.n_tokens - reached
    assert answered.proof.book_evaluated == said.n_tokens
    assert [turn.status for turn in conversation.turns()] == ["stopped", "done"]


def test_abandoned_question_leaves_no_spoiler(tmp_path: Path, sessions: Sessions) -> None:
    """Who stops listening on the way to the limit leaves nothing that the next question would use by mistake."""
    book = fake_book(tmp_path)
    conversation = Conversation(book, sessions, limit=limit_at(book, "45%"))
    events = conversation.ask(QUESTION, OPTIONS)
    for event in events:
        if isinstance(event, Reading):
            break
    events.close()
    answered, after = asked(conversation)
    assert answered.proof.book_tokens == of_type(after, Limited)[0].n_tokens
    assert book.engine.length(CHAT) < book.n_tokens


@pytest.mark.parametrize("kind", [Kind("fake", "attention"), HYBRID], ids=str)
def test_engine_that_died_comes_back_limited(kind: Kind, tmp_path: Path, sessions: Sessions) -> None:
    """After the engine's death the restored book is limited again, from the snapshot that was kept."""
    backend = Watched(fake(FakeScript(memory=kind.memory), own_process=True))
    with opening(library_of(tmp_path / "home", backend), write_book(tmp_path, chapters(3, 2))) as book:
        conversation = Conversation(book, sessions, limit=limit_at(book, "45%"))
        first, _ = asked(conversation)
        os.kill(backend.pid(), signal.SIGKILL)
        with pytest.raises(EngineDied):
            asked(conversation, OTHER)
        answered, events = asked(conversation, OTHER)
        assert of_type(events, Restored)
        assert answered.proof.book_tokens == first.proof.book_tokens
        assert answered.proof.book_evaluated == 0
        assert book.engine.length(CHAT) < book.n_tokens


def test_killed_in_its_first_answer(tmp_path: Path, sessions: Sessions) -> None:
    """While its first answer is made, the record knows the chat's limit already: a kill leaves no chat without it."""
    book = fake_book(tmp_path)
    limit = limit_at(book, "chapter 2")
    events = Conversation(book, sessions, limit=limit).ask(QUESTION, OPTIONS)
    for event in events:
        if isinstance(event, Answer):
            break
    (turn,) = sessions.turns(sessions.list()[0].id)
    assert turn.status == "running"
    assert last_limit([turn]) == limit
    events.close()


def test_damaged_snapshot_costs_a_longer_way(tmp_path: Path, sessions: Sessions) -> None:
    """A snapshot that is damaged or gone is named in a notice, and the next one below is used."""
    book = fake_book(tmp_path)
    asked(Conversation(book, sessions))
    first, second = book.manifest.boundaries
    path = book.folder.path / second.name
    path.write_bytes(bytes(len(path.read_bytes())))
    answered, events = asked(Conversation(book, sessions, limit=limit_at(book, "97%")))
    (said,) = of_type(events, Limited)
    assert any(str(path) in notice.text for notice in of_type(events, Notice))
    assert said.to_read == answered.proof.book_evaluated == said.n_tokens - first.blob.n_tokens
    (book.folder.path / first.name).unlink()
    path.unlink()
    for file in book.snapshots.files:
        (book.folder.path / file.name).unlink()
    answered, events = asked(Conversation(book, sessions, limit=limit_at(book, "98%")))
    assert answered.proof.book_evaluated == answered.proof.book_tokens


def test_boundary_with_other_logits_costs_a_longer_way(tmp_path: Path, sessions: Sessions) -> None:
    """A boundary whose bytes are sound and whose logits are not those recorded is named, and not used."""
    book = fake_book(tmp_path)
    asked(Conversation(book, sessions))
    first, second = book.manifest.boundaries
    assert second.probe is not None
    other = replace(second, probe=replace(second.probe, top=tuple((i, x + 1) for i, x in second.probe.top)))
    book.manifest = replace(book.manifest, boundaries=(first, other))
    answered, events = asked(Conversation(book, sessions, limit=limit_at(book, "97%")))
    (said,) = of_type(events, Limited)
    assert any("other logits" in notice.text for notice in of_type(events, Notice))
    assert said.to_read == answered.proof.book_evaluated == said.n_tokens - first.blob.n_tokens


def test_few_snapshots_are_kept(tmp_path: Path, sessions: Sessions) -> None:
    """However often the limit moves, the files of a few limits are on disk, and none after closing."""
    book = fake_book(tmp_path)
    conversation = Conversation(book, sessions)
    for percent in range(40, 95, 5):
        conversation = Conversation(book, sessions, limit=limit_at(book, f"{percent}%"))
        asked(conversation)
    names = {path.name for path in book.folder.path.iterdir() if path.name.startswith("limit-")}
    assert names == {file.name for file in book.snapshots.files}
    assert len(names) == 4
    book.close()
    assert not [path for path in book.folder.path.iterdir() if path.name.startswith("limit-")]


def test_truncated_book(tmp_path: Path, sessions: Sessions) -> None:
    """Of a book of which only the beginning was read, a limit beyond that is all that was read."""
    script = FakeScript(memory="hybrid", context_trained=1024)
    library = library_of(tmp_path / "home", fake(script), replace(SETTINGS, chat_tokens=256))
    with opening(library, write_book(tmp_path, chapters(6)), Options(truncate=True)) as book:
        end = book.manifest.book.section_tokens[-1]
        assert book.manifest.book.truncated
        answered, _ = asked(Conversation(book, sessions, limit=limit_at(book, "90%")))
        assert answered.proof.book_tokens == end
        answered, _ = asked(Conversation(book, sessions, limit=limit_at(book, "10%")))
        assert answered.proof.book_tokens < end


def test_book_without_chapters(tmp_path: Path, sessions: Sessions) -> None:
    """A book of one section has no boundaries: up to the limit it is read from its start."""
    book = fake_book(tmp_path, "The ferry left at nine. Nobody had told the baker. " * 12)
    asked(Conversation(book, sessions))
    assert book.manifest.boundaries == ()
    answered, events = asked(Conversation(book, sessions, limit=limit_at(book, "50%")))
    assert of_type(events, Limited)[0].to_read == answered.proof.book_evaluated == answered.proof.book_tokens


def test_quotes_obey_the_limit(tmp_path: Path, sessions: Sessions) -> None:
    """A sentence from beyond the limit counts as not in the book; the fake knows it all the same."""
    book = fake_book(tmp_path)
    long = replace(OPTIONS, max_tokens=400)
    question = "Why had nobody told the baker that the bridge would be closed?"
    place = book.document.text.index("Nobody had told the baker")
    verified = []
    for limit in (Limit(place + 100, "after it"), Limit(place, "before it")):
        answered = told(list(Conversation(book, sessions, limit=limit).ask(question, long)))
        assert "baker" in answered.answer
        assert answered.quotes is not None
        verified.append(str(answered.quotes))
    assert verified[0] != verified[1]
