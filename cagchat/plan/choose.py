"""Choose the model and the settings that give the best answers about one book on one machine.

The order in which ways to read are tried is the order of the answers they give, so the first that fits is chosen:

1. models, the best first (the caller's order)
2. of one model, its recommended quantisations with f16, then q8_0 for the KV cache, then with q4_0
3. its smaller quantisations, with q8_0, then q4_0
4. its experts in RAM: the same answers, several times slower
5. the next model

Within one such way the batch is as large as fits: it changes the speed, not the answers. The context is as long as the
book and the chat need and no longer, and YaRN is used only when that is more than the model was trained for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil

from cagchat.context import CONTEXT_STEP, LEAST_CHAT_TOKENS, context_for, excess
from cagchat.engine.protocol import KvType
from cagchat.plan.buffers import Backend
from cagchat.plan.card import Card
from cagchat.plan.memory import Memory, Request, memory
from cagchat.plan.run import DEFAULT_BATCH
from cagchat.plan.state_size import state_bytes
from cagchat.settings import Settings

BATCHES = (DEFAULT_BATCH, 256, 128, 64)
FINE: tuple[KvType, ...] = ("f16", "q8_0")
COARSE: tuple[KvType, ...] = ("q4_0",)
SMALLER: tuple[KvType, ...] = ("q8_0", "q4_0")
SEQUENCES = 2  # the book's and a chat's
LONGEST = 1 << 24  # of models that do not say what they were trained for


@dataclass(frozen=True, slots=True)
class Machine:
    """What a plan may use: bytes of GPU memory (0 without a GPU), of RAM and of disk; 0 for RAM or disk not known.

    `size_bytes` is what its memory is in all, the GPU's if it has one: it tells the tier.
    """

    device_bytes: int
    host_bytes: int
    disk_bytes: int = 0
    backend: Backend = "cpu"
    n_devices: int = 1
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user fixed; None, 0 and -1 leave it to the plan as the settings of these names do."""

    chat_tokens: int = 4096
    kv_type: KvType | None = None
    batch: int = 0
    gpu_layers: int = -1
    experts_in_ram: int = -1
    yarn: bool = True


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


@dataclass(frozen=True, slots=True)
class Option:
    """A way that was considered: what it takes and whether it holds the whole book here.

    `holds` is how many of the book's `n_tokens` it takes on this machine beside the chat; `problem` says in words what
    is missing, "" when nothing is.
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
    for card, kv_type, experts in rungs(cards, wish, machine):
        options.append(considered(card, kv_type, experts, count(card), wish, machine))
        if options[-1].fits and not everything:
            break
    return Plan(machine, tuple(options))


def rungs(cards: Sequence[Card], wish: Wish, machine: Machine) -> Iterator[tuple[Card, KvType, bool]]:
    """Yield (model, KV type, whether experts may go to RAM) in the order of the answers they give."""

    def kinds(types: tuple[KvType, ...]) -> tuple[KvType, ...]:
        if wish.kv_type is None:
            return types
        return (wish.kv_type,) if wish.kv_type in types else ()

    for _, group in groupby(cards, key=lambda card: card.model):
        same = tuple(group)
        whole = [card for card in same if not card.reduced] or list(same)
        reduced = [card for card in same if card.reduced and card not in whole]
        yield from ((card, kv, False) for card in whole for kv in kinds(FINE))
        yield from ((card, kv, False) for card in whole for kv in kinds(COARSE))
        for card in reduced:
            # A full-precision cache beside coarse weights helps nobody, unless it was asked for.
            types = kinds(SMALLER) or kinds(FINE)
            yield from ((card, kv, False) for kv in types)
        if machine.device_bytes and machine.host_bytes and wish.experts_in_ram == -1:
            mixtures = [card for card in whole if card.shape.experts]
            yield from ((card, kv, True) for card in mixtures for kv in kinds(SMALLER) or kinds(FINE))


def considered(card: Card, kv_type: KvType, experts: bool, n_tokens: int, wish: Wish, machine: Machine) -> Option:
    """Return what becomes of one rung: the largest batch that fits, and of experts in RAM the fewest layers."""
    place = positions(card, n_tokens, wish)
    over = excess(n_tokens, wish.chat_tokens, limit(card, wish))
    n_context, factor = place or (limit(card, wish), yarn_factor(card, limit(card, wish)))
    batches = (wish.batch,) if wish.batch else BATCHES
    tried: list[Option] = []
    for batch in batches:
        way = Way(card, kv_type, batch, n_context, factor, wish.gpu_layers, max(0, wish.experts_in_ram))
        if experts:
            way = with_experts_in_ram(way, machine)
        tried.append(weighed(way, n_tokens, machine))
        if tried[-1].fits:
            break
    best = tried[-1]
    problem = f"its context ends {over:,} tokens before the book does" if over > 0 else best.problem
    holds = min(farthest(best.way, wish, machine), n_tokens) if problem else n_tokens
    return replace(best, holds=holds, problem=problem, missing_bytes=0 if over > 0 else best.missing_bytes)


def limit(card: Card, wish: Wish) -> int:
    """Return the longest context the model may be given, 0 for unknown."""
    return card.longest if wish.yarn else card.native


def positions(card: Card, n_tokens: int, wish: Wish) -> tuple[int, float] | None:
    """Return the context that a book and its chat need, and the YaRN factor for it; None when it is too long."""
    if excess(n_tokens, wish.chat_tokens, limit(card, wish)) > 0:
        return None
    n_context = context_for(n_tokens, wish.chat_tokens, limit(card, wish))
    return n_context, yarn_factor(card, n_context)


def yarn_factor(card: Card, n_context: int) -> float:
    """Return by how much the model's positions must be stretched for a context: a whole number, 1 for not at all."""
    return float(ceil(n_context / card.native)) if card.native and n_context > card.native else 1.0


def weighed(way: Way, n_tokens: int, machine: Machine) -> Option:
    """Return what a way takes, and what is missing for it."""
    taken = needed(way, machine)
    state = state_bytes(way.card.shape, n_tokens, way.kv_type)
    problem, missing = shortage(taken, state, machine)
    return Option(way, n_tokens, taken, state, 0, problem, missing)


def shortage(taken: Memory, state: int, machine: Machine) -> tuple[str, int]:
    """Return what is missing in words and bytes; "" and 0 when nothing is."""
    from cagchat.proof import size

    for kind, over in overruns(taken, state, machine):
        if over > 0:
            return f"{size(over)} more {kind} is needed", over
    return "", 0


def spare_bytes(taken: Memory, state: int, machine: Machine) -> int:
    """Return how many bytes are left of what is scarcest; negative when it does not suffice."""
    return -max((over for _, over in overruns(taken, state, machine)), default=-LONGEST)


def overruns(taken: Memory, state: int, machine: Machine) -> Iterator[tuple[str, int]]:
    """Yield (what, by how many bytes more is taken than there is); negative numbers are spare."""
    if machine.device_bytes:
        yield "GPU memory", taken.device_bytes - machine.device_bytes
        if machine.host_bytes:
            yield "RAM", taken.host_bytes - machine.host_bytes
    elif machine.host_bytes:
        yield "RAM", taken.device_bytes + taken.host_bytes - machine.host_bytes
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


def farthest(way: Way, wish: Wish, machine: Machine) -> int:
    """Return how many tokens of a book fit beside the least chat when everything else stays as it is."""
    room = min(LEAST_CHAT_TOKENS, wish.chat_tokens)

    def spare(steps: int) -> int:
        n_context = steps * CONTEXT_STEP
        tried = replace(way, n_context=n_context, yarn_factor=yarn_factor(way.card, n_context))
        state = state_bytes(way.card.shape, max(0, n_context - room), way.kv_type)
        return spare_bytes(needed(tried, machine), state, machine)

    most = (limit(way.card, wish) or LONGEST) // CONTEXT_STEP
    return max(0, last_that_fits(spare, most) * CONTEXT_STEP - room)


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
    if way.batch < DEFAULT_BATCH:
        found.append(f"batches of {way.batch}: larger ones would not fit, or were not asked for")
    if way.experts_in_ram:
        found.append(f"the experts of {way.experts_in_ram} layers stay in RAM: the same answers, several times slower")
    return tuple(found)
