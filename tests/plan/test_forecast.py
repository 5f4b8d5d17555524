"""Plans for machines that somebody else has: tokens without the model, and the card that would do."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.engine.protocol import VocabularyReader
from cagchat.errors import ModelError
from cagchat.models.catalogue import GIB, load_catalogue
from cagchat.models.gguf import read_any_header
from cagchat.plan.card import Card
from cagchat.plan.choose import Machine, Way, Wish, choose, first_fit, needed
from cagchat.plan.estimate import estimated_tokens
from cagchat.plan.forecast import CARD_SIZES_GIB, Counter, imagined, serves, smallest_card
from cagchat.plan.planner import Planner, cards_of, sold_as
from tests.engine_cases import model_path, smollm2
from tests.plan.cards import MIXTURE, SMALL, card, cpu
from tests.reading_cases import fake, locations

TEXT = "The ferry left at nine. " * 40
LLAMA = replace(SMALL, architecture="llama")
WAR_AND_PEACE = 769_584  # with its frame, by the tokenizer of Qwen3.5
VOCABULARY = Path(__file__).resolve().parents[3] / "shared" / "models" / "ggml-vocab-qwen35.gguf"


class Openings:
    """Opens a tokenizer for any path and remembers which."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def __call__(self, path: Path) -> VocabularyReader:
        self.paths.append(path)
        return fake().open_tokenizer(path)


def count(words: VocabularyReader, template: str) -> int:
    tokens: Sequence[array[int]] = words.tokenize([TEXT], special=False)
    return len(tokens[0]) + len(template)


def counter(openings: Openings, tokenizer: Path | None = None, here: Sequence[Card] = ()) -> Counter:
    return Counter(TEXT, openings, count, tokenizer, here)


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_own_tokenizer_is_exact() -> None:
    """A model that is here counts with its own vocabulary and its own chat template."""
    openings = Openings()
    tally = counter(openings).tally(card(path=Path("a.gguf"), chat_template="123"))
    assert (tally.n_tokens, tally.exact, tally.words) == (len(TEXT) + 3, True, "by a.gguf")
    assert openings.paths == [Path("a.gguf")]


def test_family_here_counts_for_the_others() -> None:
    """A model that is not here is counted by one of the same family that is."""
    one = card("Q8_0", MIXTURE, "a", path=Path("a.gguf"))
    other = card("Q8_0", replace(MIXTURE, architecture="qwen35"), "b")
    assert counter(Openings(), here=[one]).tally(other).words == "by a.gguf"


def test_other_file_of_the_same_model_counts() -> None:
    """A quantisation that is not here is counted by one that is, whatever the architecture."""
    one = card("Q8_0", LLAMA, path=Path("a.gguf"))
    assert counter(Openings(), here=[one]).tally(card("Q4_0", LLAMA)).exact


def test_same_architecture_is_not_the_same_vocabulary() -> None:
    """Two models built alike may have been taught other words: a count by the other would not be exact."""
    one = card("Q8_0", LLAMA, "a", path=Path("a.gguf"))
    assert not counter(Openings(), here=[one]).tally(card("Q8_0", LLAMA, "b")).exact


def test_several_files_of_a_family_are_counted_once() -> None:
    """A book is tokenised once for files that share vocabulary and template, again for another template."""
    openings = Openings()
    cards = [card("Q8_0", MIXTURE, name, path=Path(f"{name}.gguf"), chat_template="t") for name in "abc"]
    cards.append(replace(cards[0], model="d", chat_template="other"))
    counting = counter(openings, here=cards)
    assert len({counting.tally(one).n_tokens for one in (*cards, *cards)}) == 2
    assert len(openings.paths) == 2


def test_given_tokenizer_counts_for_its_family(models: Path) -> None:
    """A GGUF that is given counts for models of its family that are not here, and for no others."""
    given = model_path("qwen35", models)
    counting = counter(Openings(), given)
    assert counting.tally(card("Q8_0", MIXTURE, "a")).words == "by qwen35.gguf"
    assert counting.tally(card("Q8_0", MIXTURE, "b", path=Path("b.gguf"))).words == "by b.gguf"
    assert not counting.tally(card("Q8_0", LLAMA, "c")).exact


def test_vocabulary_without_weights_is_known_by_its_pre_tokenizer() -> None:
    """The vocabulary file beside the checkout serves its family; without it the same header does."""
    if VOCABULARY.exists():
        header = read_any_header(VOCABULARY)
    else:
        found = read_any_header(smollm2())
        words = {**found.metadata, "general.architecture": "qwen2", "tokenizer.ggml.pre": "qwen35"}
        header = replace(found, metadata=words, tensors=())
    assert serves(header, card("Q8_0", MIXTURE))
    assert not serves(header, card("Q8_0", SMALL))


def test_other_models_are_served_by_equal_sizes() -> None:
    """Outside the known families a given vocabulary serves models of its architecture with as many tokens."""
    header = read_any_header(smollm2())
    assert serves(header, card("Q8_0", replace(LLAMA, n_vocab=header.vocabulary_size)))
    assert not serves(header, card("Q8_0", LLAMA))


def test_unreadable_tokenizer_is_refused(tmp_path: Path) -> None:
    """A file that is no GGUF is refused before anything is counted."""
    (tmp_path / "x.gguf").write_bytes(b"nothing")
    with pytest.raises(ModelError):
        counter(Openings(), tmp_path / "x.gguf")


def test_estimate_is_marked_as_one() -> None:
    """Without any vocabulary the count is an estimate, made once, that says so with its error."""
    counting = counter(Openings())
    tally = counting.tally(card())
    assert tally.n_tokens == estimated_tokens(TEXT)
    assert not tally.exact
    assert tally.words == "estimated, within 4.5% on English novels"
    assert counting.tally(card(model="other")) is tally


# -- machines ----------------------------------------------------------------------------------------------------------


def test_imagined_machines() -> None:
    """A card lets programs use 95 % of what it is sold with; RAM that is not given is not known."""
    machine = imagined(24, 0)
    assert (machine.device_bytes, machine.host_bytes, machine.backend) == (sold_as(24), 0, "cuda")
    assert machine.device_bytes == int(24 * GIB * 0.95)
    assert imagined(0, 16) == Machine(0, 16 * GIB, size_bytes=16 * GIB)


def test_smallest_card_is_the_first_that_holds_the_book() -> None:
    """The card that is named holds the book, and the next smaller one does not."""
    wish, cards = Wish(8192, "q4_0"), [catalogued("qwen3.5-9b", "Q4_K_M")]
    found = smallest_card(lambda _: cards, lambda _: 500_000, wish, imagined(8, 0))
    assert found is not None
    size, option = found
    assert option.fits
    assert option.memory.device_bytes <= sold_as(size)
    smaller = [other for other in CARD_SIZES_GIB if 8 < other < size]
    assert not any(first_fit(cards, lambda _: 500_000, wish, imagined(other, 0)) for other in smaller)


def test_no_smaller_card_than_ones_own_is_named() -> None:
    """A machine whose GPU is busy is not told to buy a card like its own; one without a GPU is told of any."""
    asked = []

    def cards_for(machine: Machine) -> list[Card]:
        asked.append(machine.size_bytes // GIB)
        return []

    assert smallest_card(cards_for, lambda _: 1, Wish(8192), imagined(24, 0)) is None
    assert min(asked) == 32
    asked.clear()
    assert smallest_card(cards_for, lambda _: 1, Wish(8192), cpu(64 * GIB)) is None
    assert tuple(asked) == CARD_SIZES_GIB


def catalogued(key: str, quantisation: str) -> Card:
    (found,) = [one for one in cards_of(load_catalogue().entry(key)) if one.quantisation == quantisation]
    return found


def test_flagship_takes_what_was_foretold() -> None:
    """786,432 positions of the flagship's published file in q4_0 with batches of 128 take 21.1 GiB by llama.cpp's sum.

    The 21.5 GiB that were foretold are those of a file as llama-quantize makes it; the published one is smaller.
    """
    way = Way(catalogued("qwen3.5-35b-a3b", "Q3_K_M"), "q4_0", 128, 786_432, 3.0, -1, 0)
    taken = needed(way, imagined(24, 0))
    own = taken.device_bytes - taken.overhead.device - taken.margin.device
    assert own / GIB == pytest.approx(21.1, abs=0.05)


@pytest.mark.parametrize(
    ("vram", "ram", "label", "kv"),
    [
        (24, 0, "Qwen3.5 35B-A3B Q3_K_M", "q4_0"),
        (16, 0, "Qwen3.5 9B Q3_K_M", "q4_0"),
        (12, 0, "Qwen3.5 2B Q8_0", "q8_0"),
        (8, 0, "Qwen3.5 2B Q8_0", "q4_0"),
        (6, 0, "Qwen3.5 0.8B Q8_0", "q4_0"),
        (0, 32, "Qwen3.5 35B-A3B Q4_K_M", "q8_0"),
        (0, 16, "Qwen3.5 4B Q8_0", "q4_0"),
    ],
)
def test_war_and_peace_on_every_machine(tmp_path: Path, vram: int, ram: int, label: str, kv: str) -> None:
    """The best way to read all of War and Peace with 8K of chat, on cards as they are sold and on processors."""
    planner, machine = Planner(locations(tmp_path)), imagined(vram, ram)
    cards = planner.everything((), planner.tier(machine))
    option = first_fit(cards, lambda _: WAR_AND_PEACE, Wish(8192), machine)
    assert option is not None
    assert (option.way.card.label, option.way.kv_type, option.way.yarn_factor) == (label, kv, 3)
    assert 0 <= option.way.n_context - WAR_AND_PEACE - 8192 < 256


def test_4_gb_hold_a_part_of_war_and_peace(tmp_path: Path) -> None:
    """On a card of 4 GB the smallest model goes furthest, into the book's second half; 6 GB would hold it."""
    planner, machine = Planner(locations(tmp_path)), imagined(4, 0)
    cards = [
        one for one in planner.everything((), planner.tier(machine)) if one.model in ("qwen3.5-2b", "qwen3.5-0.8b")
    ]
    plan = choose(cards, lambda _: WAR_AND_PEACE, Wish(8192), machine)
    assert plan.chosen is None
    assert plan.farthest is not None
    assert plan.farthest.way.card.label == "Qwen3.5 0.8B Q4_K_M"
    assert plan.farthest.holds == 486_400
    larger = smallest_card(lambda _: cards, lambda _: WAR_AND_PEACE, Wish(8192), machine)
    assert larger is not None
    assert larger[0] == 6
