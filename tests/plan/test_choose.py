"""The ladder of ways to read a book: its order, what is fixed, what fits, and how far the others go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.context import LEAST_CHAT_TOKENS
from cagchat.engine.protocol import KvType
from cagchat.models.shape import ModelShape
from cagchat.plan.caches import n_cells
from cagchat.plan.card import Card
from cagchat.plan.choose import (
    BATCHES,
    Machine,
    Option,
    Plan,
    Wish,
    choose,
    first_fit,
    last_that_fits,
    needed,
    remarks,
    rungs,
    shortened,
    sized,
    weighed,
    wish_of,
)
from cagchat.plan.run import PLAIN_BATCH
from cagchat.settings import Settings
from tests.plan.cards import MIXTURE, NATIVE, PLENTY, SMALL, card, cpu, gpu, unified
from tests.plan.reported import GEMMA3

CHAT = 1024
WISH = Wish(chat_tokens=CHAT)
TIGHT = replace(WISH, batch=BATCHES[-1])  # so that no smaller batch makes room
BOOK = 6000


def plan_of(
    cards: list[Card], machine: Machine, n_tokens: int = BOOK, wish: Wish = WISH, *, everything: bool = False
) -> Plan:
    return choose(cards, lambda _: n_tokens, wish, machine, everything=everything)


def option_of(one: Card, machine: Machine, n_tokens: int = BOOK, wish: Wish = WISH, kv: KvType = "q4_0") -> Option:
    """The only rung of a model whose KV type is fixed."""
    (option,) = plan_of([one], machine, n_tokens, replace(wish, kv_type=kv)).options
    return option


# -- the order ---------------------------------------------------------------------------------------------------------


def test_order_of_the_ladder() -> None:
    """Recommended files with f16 and q8_0, then q4_0, then smaller files, then experts in RAM, then the next model."""
    cards = [
        card("Q8_0", MIXTURE, "a"),
        card("Q4_K_M", MIXTURE, "a"),
        card("Q3_K_S", MIXTURE, "a", reduced=True),
        card("Q8_0", model="b"),
    ]
    found = [(one.model, one.quantisation, kv, experts) for one, kv, experts in rungs(cards, WISH, gpu(1, 1))]
    assert found == [
        ("a", "Q8_0", "f16", False),
        ("a", "Q8_0", "q8_0", False),
        ("a", "Q4_K_M", "f16", False),
        ("a", "Q4_K_M", "q8_0", False),
        ("a", "Q8_0", "q4_0", False),
        ("a", "Q4_K_M", "q4_0", False),
        ("a", "Q3_K_S", "q8_0", False),
        ("a", "Q3_K_S", "q4_0", False),
        ("a", "Q8_0", "q8_0", True),
        ("a", "Q8_0", "q4_0", True),
        ("a", "Q4_K_M", "q8_0", True),
        ("a", "Q4_K_M", "q4_0", True),
        ("b", "Q8_0", "f16", False),
        ("b", "Q8_0", "q8_0", False),
        ("b", "Q8_0", "q4_0", False),
    ]


def test_only_smaller_files_are_as_good_as_recommended_ones() -> None:
    """A model of which only reduced files are there is tried with every KV type."""
    found = [kv for _, kv, _ in rungs([card("Q3_K_S", reduced=True)], WISH, cpu())]
    assert found == ["f16", "q8_0", "q4_0"]


@pytest.mark.parametrize("machine", [cpu(), gpu(PLENTY, 0), unified(PLENTY)], ids=["no GPU", "RAM unknown", "unified"])
def test_experts_stay_on_the_gpu(machine: Machine) -> None:
    """Experts go to RAM only where there is a GPU beside a RAM of known size."""
    assert not any(experts for _, _, experts in rungs([card("Q8_0", MIXTURE)], WISH, machine))


def test_first_that_fits_ends_the_plan() -> None:
    """Nothing is considered after the option that is chosen, and the tokenizer of a later model is not asked."""
    asked = []

    def count(one: Card) -> int:
        asked.append(one.model)
        return BOOK

    plan = choose([card(model="a"), card(model="b")], count, WISH, cpu())
    assert plan.options == (plan.chosen,)
    assert asked == ["a"]


def test_everything_goes_on() -> None:
    """Asked for everything, the plan lists every rung and chooses the same."""
    plan = choose([card(model="a"), card(model="b")], lambda _: BOOK, WISH, cpu(), everything=True)
    assert len(plan.options) == 6
    assert plan.chosen is plan.options[0]


@given(size=st.integers(1 << 20, 1 << 31))
def test_first_fit_is_what_is_chosen(size: int) -> None:
    """The short way to the chosen option leads to the same one."""
    cards = [card("Q8_0", model="a"), card("Q3_K_S", model="a", reduced=True)]
    for machine in (cpu(size), gpu(size)):
        assert first_fit(cards, lambda _: 3 * NATIVE, WISH, machine) == plan_of(cards, machine, 3 * NATIVE).chosen


# -- what is fixed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv", ["f16", "q8_0", "q4_0"])
def test_fixed_kv_type_is_obeyed(kv: KvType) -> None:
    """A KV type that the user fixed is the only one that is tried, for small files and experts in RAM as well."""
    cards = [card("Q8_0", MIXTURE), card("Q3_K_S", MIXTURE, reduced=True)]
    found = list(rungs(cards, replace(WISH, kv_type=kv), gpu(1, 1)))
    assert [found_kv for _, found_kv, _ in found] == [kv] * 3
    assert [experts for _, _, experts in found] == [False, False, True]


def test_fixed_batch_layers_and_experts_are_obeyed() -> None:
    """Batch, GPU layers and experts in RAM that the user fixed are those of every option."""
    wish = replace(WISH, batch=96, gpu_layers=3, experts_in_ram=2)
    plan = choose([card("Q8_0", MIXTURE)], lambda _: BOOK, wish, gpu(1, PLENTY), everything=True)
    assert {(o.way.batch, o.way.gpu_layers, o.way.experts_in_ram) for o in plan.options} == {(96, 3, 2)}


def test_wish_is_what_the_settings_fix() -> None:
    """Settings left alone fix nothing; those that are set are in the wish."""
    assert wish_of(Settings()) == Wish(Settings().chat_tokens)
    settings = Settings(kv_type="q8_0", batch=7, gpu_layers=1, experts_in_ram=3, yarn=False, chat_tokens=256)
    assert wish_of(settings) == Wish(256, "q8_0", 7, 1, 3, False)


# -- attention ---------------------------------------------------------------------------------------------------------


def test_processors_attend_plainly() -> None:
    """Without a GPU f16 is read in small batches without flash attention, quantised K and V with it."""
    plan = plan_of([card()], cpu(), wish=replace(WISH, batch=0), everything=True)
    found = {o.way.kv_type: (o.way.flash_attention, o.way.batch) for o in plan.options}
    assert found == {"f16": (False, PLAIN_BATCH), "q8_0": (True, 512), "q4_0": (True, 512)}


@pytest.mark.parametrize("one", [card(), card("Q8_0", MIXTURE)])
def test_gpus_attend_with_flash(one: Card) -> None:
    """Where layers are on a GPU attention is its flash attention; with none of them there it is not."""
    assert option_of(one, gpu(), kv="f16").way.flash_attention
    assert not option_of(one, gpu(), wish=replace(WISH, gpu_layers=0), kv="f16").way.flash_attention


@pytest.mark.parametrize("shape", [GEMMA3, replace(SMALL, exact=False)], ids=["sliding", "unknown"])
def test_others_attend_with_flash(shape: ModelShape) -> None:
    """A ring of cells needs sums that do not depend on where it stands; an unknown architecture may have one."""
    assert option_of(card("Q8_0", shape), cpu(), kv="f16").way.flash_attention


def test_gpus_that_are_not_seen_attend_with_flash() -> None:
    """Where llama.cpp may use a GPU that nobody can look into, it is taken for one."""
    unseen = replace(cpu(), unseen_gpu=True)
    assert option_of(card(), unseen, kv="f16").way.flash_attention
    assert not option_of(card(), unseen, wish=replace(WISH, gpu_layers=0), kv="f16").way.flash_attention


def test_scores_that_do_not_fit_are_not_written_out() -> None:
    """With a byte of RAM less than plain attention needs, flash attention is used, and the same model and types."""
    plain = option_of(card(), cpu(), kv="f16")
    less = option_of(card(), cpu(plain.memory.host_bytes - 1), kv="f16")
    assert (plain.way.flash_attention, less.way.flash_attention, less.fits) == (False, True, True)
    assert less.memory.host_bytes < plain.memory.host_bytes
    fixed = option_of(card(), cpu(plain.memory.host_bytes - 1), wish=replace(WISH, flash_attention=False), kv="f16")
    assert (fixed.way.flash_attention, fixed.fits) == (False, False)


def test_plain_attention_takes_the_scores_of_a_batch() -> None:
    """What it takes more is four bytes and two for each token of a batch, head and cell, beside a wider mask."""
    way = option_of(card(), cpu(), kv="f16").way
    flash = needed(replace(way, flash_attention=True), cpu()).compute.host
    cells, heads = n_cells(way.n_context), way.card.shape.n_heads
    scores = (4 + 2) * heads * cells * way.batch
    mask = 2 * cells * way.batch
    assert needed(way, cpu()).compute.host - flash == pytest.approx(scores + mask, rel=0.1)


# -- batch, context, YaRN ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", BATCHES)
def test_batch_is_the_largest_that_fits(batch: int) -> None:
    """On a card with just the room for a batch, that batch is chosen, and with a byte less no larger one."""
    fixed = option_of(card(), gpu(), 3 * NATIVE, replace(WISH, batch=batch))
    assert option_of(card(), gpu(fixed.memory.device_bytes), 3 * NATIVE).way.batch == batch
    less = option_of(card(), gpu(fixed.memory.device_bytes - 1), 3 * NATIVE)
    assert less.way.batch < batch if batch > min(BATCHES) else not less.fits


@pytest.mark.parametrize("n_tokens", [1, 255, 256, BOOK, NATIVE - CHAT])
def test_context_is_as_long_as_needed(n_tokens: int) -> None:
    """The context holds book and chat, and is less than a step longer."""
    way = option_of(card(), cpu(), n_tokens).way
    assert 0 <= way.n_context - (n_tokens + CHAT) < 256
    assert way.yarn_factor == 1


@pytest.mark.parametrize(
    ("n_tokens", "factor"),
    [(NATIVE - CHAT, 1), (NATIVE - CHAT + 1, 2), (2 * NATIVE - CHAT, 2), (2 * NATIVE, 3), (4 * NATIVE - 512, 4)],
)
def test_yarn_stretches_no_more_than_needed(n_tokens: int, factor: int) -> None:
    """YaRN is used when book and chat need more than the trained context, with the smallest whole factor."""
    option = option_of(card(), cpu(), n_tokens)
    assert option.fits
    assert option.way.yarn_factor == factor


@pytest.mark.parametrize(
    ("one", "wish"),
    [(card(longest=NATIVE), WISH), (card(), replace(WISH, yarn=False))],
    ids=["a model that takes none", "forbidden"],
)
def test_without_yarn_a_long_book_does_not_fit(one: Card, wish: Wish) -> None:
    """A model that takes no YaRN, or must not, is given no longer context, and no memory would help."""
    option = option_of(one, cpu(), NATIVE, wish)
    assert (option.way.n_context, option.way.yarn_factor) == (NATIVE, 1)
    assert option.problem == f"book and chat need {LEAST_CHAT_TOKENS} tokens more than the {NATIVE:,} of its context"
    assert option.missing_bytes == 0


def test_model_that_does_not_say_its_context_is_given_any() -> None:
    """A context length of 0 is not known, and nothing is stretched."""
    unknown = card(longest=0)
    unknown = replace(unknown, shape=replace(unknown.shape, n_context_trained=0))
    option = option_of(unknown, cpu(), 100_000)
    assert option.fits
    assert option.way.yarn_factor == 1


# -- what is short -----------------------------------------------------------------------------------------------------


def test_small_disk_refuses() -> None:
    """A state that the disk does not take is a problem, by the bytes that are missing."""
    state = option_of(card(), cpu()).state_bytes
    assert option_of(card(), cpu(disk_bytes=state)).fits
    option = option_of(card(), cpu(disk_bytes=state - 9_000))
    assert option.problem == "9 kB more disk space for its state is needed"
    assert option.missing_bytes == 9_000


def tight(machine: Machine) -> Option:
    return option_of(card(), machine, wish=TIGHT)


def test_shortage_of_gpu_and_of_ram() -> None:
    """On a GPU its memory is compared first, then RAM; what is not known is not compared."""
    taken = tight(gpu()).memory
    assert tight(gpu(taken.device_bytes, 0)).fits
    assert "GPU memory" in tight(gpu(taken.device_bytes - 1, 1)).problem
    assert "RAM" in tight(gpu(taken.device_bytes, taken.host_bytes - 1)).problem
    assert "RAM" in tight(cpu(1)).problem


def test_unified_memory_holds_both_parts() -> None:
    """What a GPU takes of a memory that both share, programs no longer have."""
    taken = tight(gpu()).memory
    both = taken.device_bytes + taken.host_bytes
    assert tight(unified(both)).fits
    assert "RAM" in tight(unified(both - 1)).problem


def test_several_gpus_take_more_together() -> None:
    """Each GPU has a context and buffers of its own, so that two of half the size hold less than one."""
    needed = tight(gpu()).memory.device_bytes
    assert tight(gpu(needed)).fits
    assert not tight(replace(gpu(needed), n_devices=2)).fits


# -- experts in RAM ----------------------------------------------------------------------------------------------------


def test_experts_in_ram_are_of_the_fewest_layers() -> None:
    """Of a mixture that is too large the experts of so many layers go to RAM that one less would not fit."""
    one = card("Q8_0", MIXTURE)
    whole = option_of(one, gpu()).memory.device_bytes
    machine = gpu(whole - 4_000_000, PLENTY)
    option = weighed(one, "q4_0", True, BOOK, WISH, machine)
    assert option.fits
    assert 1 < option.way.experts_in_ram < MIXTURE.n_layers
    fewer = replace(WISH, experts_in_ram=option.way.experts_in_ram - 1, batch=option.way.batch)
    assert not weighed(one, "q4_0", False, BOOK, fewer, machine).fits


def test_mixture_that_no_ram_helps() -> None:
    """Where not even all experts in RAM suffice, the option says what is missing."""
    option = weighed(card("Q8_0", MIXTURE), "q4_0", True, BOOK, WISH, gpu(1000, PLENTY))
    assert option.way.experts_in_ram == MIXTURE.n_layers
    assert "GPU memory" in option.problem


# -- how far it goes ---------------------------------------------------------------------------------------------------

LONG = 3 * NATIVE + 77


def scarce(one: Card, machine: Machine, share: float) -> Machine:
    """A machine with a share of what a long book takes more than a short one, of every kind that is limited."""
    short, whole = (option_of(one, machine, n_tokens, TIGHT) for n_tokens in (256, LONG))

    def between(low: int, high: int) -> int:
        return int(low + share * (high - low))

    if machine.unified:
        total = between(
            short.memory.device_bytes + short.memory.host_bytes, whole.memory.device_bytes + whole.memory.host_bytes
        )
        return replace(machine, device_bytes=total, host_bytes=total)
    device = between(short.memory.device_bytes, whole.memory.device_bytes) if machine.device_bytes else 0
    host = between(short.memory.host_bytes, whole.memory.host_bytes) if machine.host_bytes else 0
    disk = between(short.state_bytes, whole.state_bytes) if machine.disk_bytes else 0
    return replace(machine, device_bytes=device, host_bytes=host, disk_bytes=disk)


MACHINES = {
    "VRAM": gpu(),
    "RAM": cpu(),
    "both": gpu(PLENTY, PLENTY),
    "disk": Machine(0, 0, PLENTY),
    "unified": unified(PLENTY),
}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.77, 0.99])
@pytest.mark.parametrize("name", MACHINES)
def test_holds_is_the_boundary_of_memory(name: str, share: float) -> None:
    """A book of as many tokens as an option holds fits so, and one of a step more does not."""
    machine = scarce(card(), MACHINES[name], share)
    option = option_of(card(), machine, LONG, TIGHT)
    assert not option.fits
    assert 0 < option.holds < LONG
    assert option_of(card(), machine, option.holds, TIGHT).fits
    more = sized(option.way, option.holds + 256, TIGHT, machine)
    assert not more.fits


@pytest.mark.parametrize("chat", [1, 256, 511, 512, 513, 4096, NATIVE])
def test_holds_is_the_boundary_of_the_context(chat: int) -> None:
    """Where the context ends, the chat's room is given up but for the least, and one token more does not fit."""
    wish = replace(WISH, chat_tokens=chat)
    option = option_of(card(), cpu(), 5 * NATIVE, wish)
    assert option.holds == 4 * NATIVE - min(chat, LEAST_CHAT_TOKENS)
    assert option_of(card(), cpu(), option.holds, wish).fits
    assert not option_of(card(), cpu(), option.holds + 1, wish).fits


def test_what_experts_free_is_counted() -> None:
    """With experts in RAM, a shorter book leaves more of them on the GPU, and `holds` knows."""
    one, wish = card("Q8_0", MIXTURE), replace(TIGHT, kv_type="q4_0")
    whole = sized(option_of(one, gpu(), LONG, TIGHT).way, LONG, TIGHT, gpu())
    machine = gpu(whole.memory.device_bytes - 3_000_000, PLENTY)
    taken = weighed(one, "q4_0", True, LONG, TIGHT, machine)
    assert taken.way.experts_in_ram > 1
    machine = replace(machine, host_bytes=taken.memory.host_bytes - 1_000_000)
    option = choose([one], lambda _: LONG, wish, machine, everything=True).options[-1]
    held = sized(option.way, option.holds, wish, machine)
    assert not option.fits
    assert held.fits
    assert held.way.experts_in_ram < option.way.experts_in_ram
    assert not sized(option.way, option.holds + 256, wish, machine).fits


def test_nothing_fits_where_not_even_the_weights_do() -> None:
    """A machine that is too small for the model holds nothing of the book."""
    assert option_of(card(), gpu(1000)).holds == 0


def test_farthest_takes_most_of_the_book() -> None:
    """Of options that do not hold the book, the one that holds most of it is the farthest, the first among equals."""
    machine = scarce(card(), gpu(), 0.6)
    plan = plan_of([card(), replace(card(), model="again")], machine, LONG, TIGHT)
    assert plan.chosen is None
    assert plan.farthest is plan.options[2]
    assert plan.farthest.holds == max(option.holds for option in plan.options)


@pytest.mark.parametrize("name", MACHINES)
def test_shortened_option_fits(name: str) -> None:
    """Reading only the beginning takes no more than there is, with no more YaRN than that needs."""
    machine = scarce(card(), MACHINES[name], 0.2)
    option = option_of(card(), machine, LONG, TIGHT)
    part = shortened(option, TIGHT, machine)
    assert part.fits
    assert part.n_tokens == option.holds
    assert part.way.n_context < option.way.n_context
    assert part.way.yarn_factor < option.way.yarn_factor


def test_an_option_that_fits_is_not_shortened() -> None:
    """What holds the book stays as it is."""
    option = option_of(card(), cpu())
    assert shortened(option, WISH, cpu()) is option


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200), st.integers(-2000, 5000))
def test_last_that_fits_is_found(falls: list[int], start: int) -> None:
    """The search finds the same number as looking at each, whatever the slope."""
    left = [start - sum(falls[: i + 1]) for i in range(len(falls))]
    expected = sum(1 for value in left if value >= 0)
    assert last_that_fits(lambda number: left[number - 1], len(left)) == expected


def test_search_looks_a_handful_of_times() -> None:
    """What shrinks in proportion is found in a few looks, not in one for each halving."""
    looks = []

    def spare(number: int) -> int:
        looks.append(number)
        return 22_000_000_000 - 5_760_003 * number

    assert last_that_fits(spare, 1 << 16) == 22_000_000_000 // 5_760_003
    assert len(looks) < 8


# -- words -------------------------------------------------------------------------------------------------------------


def test_plain_option_has_no_remarks() -> None:
    """Nothing is said of an option that is nothing special."""
    assert remarks(option_of(card(), cpu())) == ()


def test_remarks_name_what_is_special() -> None:
    """YaRN, a small batch and experts in RAM are each said."""
    way = replace(option_of(card(), cpu()).way, yarn_factor=3.0, batch=64, experts_in_ram=5)
    yarn, batch, experts = remarks(replace(option_of(card(), cpu()), way=way))
    assert "YaRN x3" in yarn
    assert f"{NATIVE:,}" in yarn
    assert "batches of 64" in batch
    assert "5 layers" in experts
