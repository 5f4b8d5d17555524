"""Choose the model and the settings that give the best answers about one book on one machine.

The order in which ways to read are tried is the order of the answers they give, so the first that fits is chosen:

1. models, the best first (the caller's order)
2. of one model, its recommended quantisations with f16, then q8_0 for the KV cache, then with q4_0
3. its smaller quantisations, with q8_0, then q4_0
4. its experts in RAM: the same answers, several times slower
5. the next model

Within one such way plain attention is preferred to flash attention where it answers sooner (`plan.attention`), and the
batch is as large as fits: both change the speed and no more of the answers than rounding does. The context is as long
as the book and the chat need and no longer, and YaRN is used only when that is more than the model was trained for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil

from cagchat.context import CONTEXT_STEP, LEAST_CHAT_TOKENS, context_for, excess
from cagchat.engine.protocol import KvType
from cagchat.plan.attention import plain_suits
from cagchat.plan.buffers import Backend
from cagchat.plan.card import Card
from cagchat.plan.memory import Memory, Request, memory
from cagchat.plan.run import DEFAULT_BATCH, batch_for
from cagchat.plan.state_size import state_bytes
from cagchat.settings import Settings
from cagchat.units import size

BATCHES = (DEFAULT_BATCH, 256, 128, 64)
FINE: tuple[KvType, ...] = ("f16", "q8_0")
COARSE: tuple[KvType, ...] = ("q4_0",)
SMALLER: tuple[KvType, ...] = ("q8_0", "q4_0")
SEQUENCES = 2  # the book's and a chat's
LONGEST = 1 << 24  # of models that do not say what they were trained for


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan may use: bytes of GPU memory (0 without a GPU), of RAM and of disk; 0 for RAM or disk not known.

    `size_bytes` is what its memory is in all, the GPU's if it has one: it tells the tier. `unified` says that GPU
    memory is taken from the RAM; `unseen_gpu` that there may be a GPU of whose memory nothing is known.
    """

    device_bytes: int
    host_bytes: int
    disk_bytes: int = 0
    backend: Backend = "cpu"
    n_devices: int = 1
    size_bytes: int = 0
    unified: bool = False
    unseen_gpu: bool = False

    @property
    def may_have_gpu(self) -> bool:
        """Whether there is a GPU, or may be one."""
        return self.device_bytes > 0 or self.unseen_gpu


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user fixed; None, 0 and -1 leave it to the plan as the settings of these names do.

    `flash_attention` is fixed by a saved state: it is of an engine with it or without.
    """

    chat_tokens: int
    kv_type: KvType | None = None
    batch: int = 0
    gpu_layers: int = -1
    experts_in_ram: int = -1
    yarn: bool = True
    flash_attention: bool | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A model with settings to read with. `yarn_factor` 1 is the model's own context."""

    card: Card
    kv_type: KvType
    batch: int
    n_context: int
    yarn_factor: float
    gpu_layers: int
    experts_in_ram: int
    flash_attention: bool = True


@dataclass(frozen=True, slots=True)
class Option:
    """A way that was considered: what it takes and whether it holds the whole book here.

    `holds` is how many of the book's `n_tokens` would fit so on this machine beside the chat; `problem` says in words
    what is missing, "" when nothing is, and `missing_bytes` how much, 0 where more memory would not help.
    """

    way: Way
    n_tokens: int
    memory: Memory
    state_bytes: int
    holds: int
    problem: str = ""
    missing_bytes: int = 0

    @property
    def fits(self) -> bool:
        """Whether the whole book can be read so."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class Plan:
    """Every option that was considered, in the order of preference, up to and with the first that fits."""

    machine: Machine
    options: tuple[Option, ...]

    @property
    def chosen(self) -> Option | None:
        """The first option that holds the book."""
        return next((option for option in self.options if option.fits), None)

    @property
    def farthest(self) -> Option | None:
        """The option that takes most of the book, the preferred one among equals."""
        return max(self.options, key=lambda option: option.holds / option.n_tokens, default=None)


Count = Callable[[Card], int]


def wish_of(settings: Settings) -> Wish:
    """Return what the settings fix of a plan."""
    return Wish(
        chat_tokens=settings.chat_tokens,
        kv_type=None if settings.kv_type == "auto" else settings.kv_type,
        batch=settings.batch,
        gpu_layers=settings.gpu_layers,
        experts_in_ram=settings.experts_in_ram,
        yarn=settings.yarn,
    )


def choose(cards: Sequence[Card], count: Count, wish: Wish, machine: Machine, *, everything: bool = False) -> Plan:
    """Plan a book for a machine. `cards` stand best first, those of one model beside each other.

    `count` returns the book's tokens for a card's tokenizer, and is asked only when the card's turn comes. With
    `everything` all options are listed, otherwise none after the first that fits.
    """
    options: list[Option] = []
    for option in weighed_options(cards, count, wish, machine):
        options.append(option if option.fits else replace(option, holds=reach(option, wish, machine)))
        if option.fits and not everything:
            break
    return Plan(machine, tuple(options))


def first_fit(cards: Sequence[Card], count: Count, wish: Wish, machine: Machine) -> Option | None:
    """Return what `choose` would choose, without finding out how far the others go, which takes most of its time."""
    return next((option for option in weighed_options(cards, count, wish, machine) if option.fits), None)


def weighed_options(cards: Sequence[Card], count: Count, wish: Wish, machine: Machine) -> Iterator[Option]:
    """Yield what becomes of each rung, with `holds` 0 for those that do not fit."""
    for card, kv_type, experts in rungs(cards, wish, machine):
        yield weighed(card, kv_type, experts, count(card), wish, machine)


def rungs(cards: Sequence[Card], wish: Wish, machine: Machine) -> Iterator[tuple[Card, KvType, bool]]:
    """Yield (model, KV type, whether experts may go to RAM) in the order of the answers they give."""

    def kinds(types: tuple[KvType, ...]) -> tuple[KvType, ...]:
        if wish.kv_type is None:
            return types
        return (wish.kv_type,) if wish.kv_type in types else ()

    for _, group in groupby(cards, key=lambda card: card.model):
        same = tuple(group)
        reduced = [card for card in same if card.reduced]
        whole = [card for card in same if not card.reduced]
        if not whole:
            whole, reduced = reduced, []
        yield from ((card, kv, False) for card in whole for kv in kinds(FINE))
        yield from ((card, kv, False) for card in whole for kv in kinds(COARSE))
        for card in reduced:
            # A full-precision cache beside coarse weights helps nobody, unless it was asked for.
            types = kinds(SMALLER) or kinds(FINE)
            yield from ((card, kv, False) for kv in types)
        if machine.device_bytes and machine.host_bytes and not machine.unified and wish.experts_in_ram == -1:
            mixtures = [card for card in whole if card.shape.experts]
            yield from ((card, kv, True) for card in mixtures for kv in kinds(SMALLER) or kinds(FINE))


def weighed(card: Card, kv_type: KvType, experts: bool, n_tokens: int, wish: Wish, machine: Machine) -> Option:
    """Return one rung without flash attention if that suits and fits, else with the largest batch that fits.

    The smallest when none does.
    """
    in_ram = 1 if experts else max(0, wish.experts_in_ram)
    *larger, smallest = (wish.batch,) if wish.batch else BATCHES

    def of_batch(batch: int, *, flash: bool = True) -> Option:
        way = Way(card, kv_type, batch, 0, 1.0, wish.gpu_layers, in_ram, flash)
        return sized(way, n_tokens, wish, machine)

    on_gpu = machine.may_have_gpu and wish.gpu_layers != 0
    fixed = wish.flash_attention
    if fixed is False or (fixed is None and plain_suits(card.shape, kv_type, on_gpu=on_gpu)):
        plain = of_batch(batch_for(wish.batch, flash_attention=False), flash=False)
        if plain.fits or fixed is False:
            return plain
    option = of_batch(smallest)
    if not option.fits:  # then larger ones do not either
        return option
    return next((tried for tried in map(of_batch, larger) if tried.fits), option)


def sized(way: Way, n_tokens: int, wish: Wish, machine: Machine) -> Option:
    """Return what a way takes with the context for `n_tokens` of a book and a chat, and what is missing for it.

    A way with experts in RAM that the user did not ask for keeps those of as few layers there as it can.
    """
    longest = limit(way.card, wish)
    n_context = context_for(n_tokens, wish.chat_tokens, longest)
    way = replace(way, n_context=n_context, yarn_factor=yarn_factor(way.card, n_context))
    if way.experts_in_ram and wish.experts_in_ram == -1:
        way = with_experts_in_ram(way, machine)
    taken = needed(way, machine)
    state = state_bytes(way.card.shape, n_tokens, way.kv_type)
    over = excess(n_tokens, wish.chat_tokens, longest)
    if over > 0:
        problem, missing = f"book and chat need {over:,} tokens more than the {longest:,} of its context", 0
    else:
        problem, missing = shortage(taken, state, machine)
    return Option(way, n_tokens, taken, state, 0 if problem else n_tokens, problem, missing)


def shortened(option: Option, wish: Wish, machine: Machine) -> Option:
    """Return an option with only as much of the book as it holds: what reading no more than the beginning takes."""
    return option if option.fits else sized(option.way, option.holds, wish, machine)


def limit(card: Card, wish: Wish) -> int:
    """Return the longest context the model may be given, 0 for unknown."""
    return card.longest if wish.yarn else card.native


def yarn_factor(card: Card, n_context: int) -> float:
    """Return by how much the model's positions must be stretched for a context: a whole number, 1 for not at all."""
    return float(ceil(n_context / card.native)) if card.native and n_context > card.native else 1.0


def shortage(taken: Memory, state: int, machine: Machine) -> tuple[str, int]:
    """Return what is missing in words and bytes; "" and 0 when nothing is."""
    for kind, over in overruns(taken, state, machine):
        if over > 0:
            return f"{size(over)} more {kind} is needed", over
    return "", 0


def spare_bytes(option: Option, machine: Machine) -> int:
    """Return how many bytes are left of what is scarcest; negative when it does not suffice."""
    return min((-over for _, over in overruns(option.memory, option.state_bytes, machine)), default=0)


def overruns(taken: Memory, state: int, machine: Machine) -> Iterator[tuple[str, int]]:
    """Yield (what, by how many bytes more is taken than there is); negative numbers are spare."""
    in_ram = taken.host_bytes
    if machine.device_bytes:
        yield "GPU memory", taken.device_bytes - machine.device_bytes
    if machine.unified or not machine.device_bytes:
        in_ram += taken.device_bytes
    if machine.host_bytes:
        yield "RAM", in_ram - machine.host_bytes
    if machine.disk_bytes:
        yield "disk space for its state", state - machine.disk_bytes


def needed(way: Way, machine: Machine) -> Memory:
    """Return the memory that a way takes."""
    return memory(
        Request(
            shape=way.card.shape,
            tensors=way.card.tensors,
            n_context=way.n_context,
            n_ubatch=way.batch,
            kv_type=way.kv_type,
            flash_attention=way.flash_attention,
            n_sequences=SEQUENCES,
            gpu_layers=way.gpu_layers if machine.device_bytes else 0,
            experts_in_ram=way.experts_in_ram,
            backend=machine.backend,
            n_devices=machine.n_devices,
        )
    )


def with_experts_in_ram(way: Way, machine: Machine) -> Way:
    """Return the way with the experts of as few layers in RAM as make it fit on the GPU; of all when none suffices."""
    low, high = 1, way.card.shape.n_layers
    while low < high:
        middle = (low + high) // 2
        if needed(replace(way, experts_in_ram=middle), machine).device_bytes <= machine.device_bytes:
            high = middle
        else:
            low = middle + 1
    return replace(way, experts_in_ram=high)


def reach(option: Option, wish: Wish, machine: Machine) -> int:
    """Return how many tokens of a book would fit with an option in whose way the whole book does not."""
    longest = limit(option.way.card, wish)
    least_chat = min(LEAST_CHAT_TOKENS, wish.chat_tokens)

    def tokens(steps: int) -> int:
        n_context = steps * CONTEXT_STEP
        if longest and n_context >= longest:  # only where the model's own context ends is the chat's room given up
            return longest - least_chat
        return n_context - wish.chat_tokens

    def spare(steps: int) -> int:
        return spare_bytes(sized(option.way, max(0, tokens(steps)), wish, machine), machine)

    whole_book = -(-option.way.n_context // CONTEXT_STEP)
    return max(0, tokens(last_that_fits(spare, whole_book)))


def last_that_fits(spare: Callable[[int], int], most: int) -> int:
    """Return the largest number from 1 to `most` of which `spare` is not negative, 0 when there is none.

    What is spare shrinks almost in proportion, so that a guess on the line between two known points needs a handful of
    looks where halving needs fifteen.
    """
    fits, fits_by = 1, spare(1)
    over, over_by = most, spare(most)
    if fits_by < 0 or over_by >= 0:
        return 0 if fits_by < 0 else most
    while over - fits > 1:
        guess = fits + round((over - fits) * fits_by / (fits_by - over_by))
        guess = min(max(guess, fits + 1), over - 1)
        if (by := spare(guess)) >= 0:
            fits, fits_by = guess, by
            # Where the line bends, the guesses creep up from one side: look just beyond, and be done.
            if fits + 1 < over and spare(fits + 1) < 0:
                return fits
        else:
            over, over_by = guess, by
    return fits


def remarks(option: Option) -> tuple[str, ...]:
    """Say what is special about an option."""
    way, found = option.way, []
    if way.yarn_factor > 1:
        trained = f"{way.card.native:,}"
        found.append(f"YaRN x{way.yarn_factor:g}: book and chat need more than the {trained} tokens it was trained for")
    if way.flash_attention and way.batch < DEFAULT_BATCH:
        found.append(f"batches of {way.batch}: larger ones would not fit, or were not asked for")
    if way.experts_in_ram:
        found.append(f"the experts of {way.experts_in_ram} layers stay in RAM: the same answers, several times slower")
    return tuple(found)
