"""Gather what a plan needs: the models that are here or could be fetched, in order, and what this machine has free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, cached_property
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.engine.library import can_offload
from cagchat.engine.protocol import RopeSettings
from cagchat.errors import CagchatError, ModelError
from cagchat.files import free_bytes
from cagchat.hardware.memory import Ram, read_ram
from cagchat.locations import Locations
from cagchat.models.catalogue import GIB, REPORTED_SHARE, Catalogue, Entry, QuantFile, Tier, load_catalogue
from cagchat.models.facts import read_entries, stamps
from cagchat.models.find import every_place, resolve_model
from cagchat.models.gguf import TensorInfo
from cagchat.models.places import Place, find_models
from cagchat.models.tensors import QUANTISATIONS, tensors
from cagchat.plan.card import Card, card_of
from cagchat.plan.choose import Machine, Option, Plan, Way, first_fit, wish_of
from cagchat.plan.rates import Estimate, Measured, Rate, measured, published, rates_key, seconds_to_read
from cagchat.plan.run import Run
from cagchat.plan.weights import ALL_LAYERS
from cagchat.settings import Settings
from cagchat.units import size

if TYPE_CHECKING:
    from cagchat.hardware.detect import Hardware

FREE_SHARE = 0.95  # of the RAM that is free now, what a plan counts on: other programs go on living


def detected() -> Hardware:
    """Return this machine's hardware; a reading without a GPU, or a reopening, needs none of what this imports."""
    from cagchat.hardware.detect import detect

    return detect()


class Planner:
    """The models and the machine, each looked at when first asked for."""

    def __init__(
        self,
        locations: Locations,
        *,
        hardware: Callable[[], Hardware] = detected,
        can_offload: Callable[[], bool] = can_offload,
        read_ram: Callable[[], Ram | None] = read_ram,
        disk_free: Callable[[Path], int] | None = None,
        places: Callable[[], Iterable[Place]] | None = None,
    ) -> None:
        """Look in these folders; `can_offload` tells whether the installed llama.cpp can use a GPU at all."""
        self._locations = locations
        self._hardware = cache(hardware)
        self._can_offload = cache(can_offload)
        self._read_ram = read_ram
        self._places = places or (lambda: every_place(locations.models))
        self._disk_free = disk_free or known_free_bytes
        self._measured = Measured(locations.cache / "rates.json")

    @property
    def hardware(self) -> Hardware:
        """What this machine computes with."""
        return self._hardware()

    @cached_property
    def catalogue(self) -> Catalogue:
        """The models that cagchat and the user list. Raises `ConfigError`."""
        return load_catalogue(self._locations.catalogue_file)

    @cached_property
    def _listed(self) -> tuple[Card, ...]:
        return tuple(card for entry in self.catalogue.entries.values() for card in cards_of(entry))

    # -- the machine ---------------------------------------------------------------------------------------------------

    def machine(self, settings: Settings) -> Machine:
        """Return what a plan may use here: what is free, or what the settings allow of it."""
        disk = self._disk_free(self._locations.states)
        offload = self._can_offload() and settings.gpu_layers != 0
        ram = whole = int(settings.ram_gb * GIB)
        if not ram and (found := self._hardware().ram if offload else self._read_ram()):
            ram, whole = int(found.available_bytes * FREE_SHARE), found.total_bytes
        gpus = self._hardware().gpus if offload else ()
        if not gpus:
            return Machine(0, ram, disk, size_bytes=whole, unseen_gpu=offload)
        free, total = sum(gpu.free_bytes for gpu in gpus), sum(gpu.total_bytes for gpu in gpus)
        allowed = int(settings.vram_gb * GIB) or total
        return Machine(
            device_bytes=min(free, allowed),
            host_bytes=ram,
            disk_bytes=disk,
            backend="cuda",
            n_devices=len(gpus),
            size_bytes=min(total, allowed),
            unified=self._hardware().unified,
        )

    def device(self, *, gpu: bool = True) -> str:
        """Return the name of what computes; with `gpu` off, what does without a GPU."""
        hardware = self._hardware()
        return hardware.gpus[0].name if gpu and hardware.gpus and self._can_offload() else hardware.processor

    def tier(self, machine: Machine) -> Tier | None:
        """Return the tier of a machine."""
        return self.catalogue.tier(machine.size_bytes, gpu=machine.device_bytes > 0)

    # -- the models ----------------------------------------------------------------------------------------------------

    def here(self, settings: Settings, path: Path | None = None) -> tuple[Card, ...]:
        """Return the models to plan with, best first: the one at `path` or that the settings name, else all here.

        Raises `ModelError` when the one that is named cannot be used, or none can.
        """
        if path is None and settings.model:
            path = resolve_model(settings.model, self._locations.models, catalogue=self.catalogue)
        if path is not None:
            return (card_in(path, self.catalogue),)
        cards = []
        for model in find_models(self._places(), self.catalogue):
            with suppress(ModelError):  # one damaged file does not stand in the way of the others
                card = card_of(model.path.absolute(), model.name)
                cards.append(catalogued(card, model.entry, model.quantisation, self.catalogue))
        if not cards:  # this says what to do, or what is wrong with the one there is
            return (card_in(resolve_model("", self._locations.models), self.catalogue),)
        return ordered(cards, self.catalogue, self.tier(self.machine(settings)))

    def everything(self, here: Sequence[Card], tier: Tier | None) -> tuple[Card, ...]:
        """Return the models that are here and every other of the catalogue, best first for a tier."""
        present = {(card.model, card.quantisation) for card in here}
        others = [card for card in self._listed if (card.model, card.quantisation) not in present]
        return ordered([*here, *others], self.catalogue, tier)

    def better(self, plan: Plan, settings: Settings) -> str:
        """Return a sentence about a model that is not here but would answer better about this book, or ""."""
        now = plan.chosen or plan.farthest
        tier = self.tier(plan.machine)
        if settings.model or now is None:
            return ""
        chosen = plan.chosen.way.card.model if plan.chosen else ""
        cards = ordered([now.way.card, *suited(self._listed, tier)], self.catalogue, tier)
        better = list(takewhile(lambda card: card.model != chosen, cards))
        absent = [card for card in better if card.path is None]
        best = first_fit(absent, lambda _: now.n_tokens, wish_of(settings), plan.machine)
        if best is None:
            return ""
        card = best.way.card
        return (
            f"{card.label} would {'answer better' if plan.chosen else 'hold this book'} on this machine: "
            f"`cagchat models get {card.model} --quant {card.quantisation}` ({size(card.size_bytes)})"
        )

    # -- minutes -------------------------------------------------------------------------------------------------------

    def estimate(self, run: Run, start: int, end: int) -> Estimate | None:
        """Return how long reading tokens `start` to `end` should take, None when nothing is known about it."""
        if known := measured(self._measured.rates(self._key(run)), start, end):
            return known
        if run.gpu_layers != ALL_LAYERS or run.experts_in_ram:
            return None
        return next(estimates(published(self.device(), run.model.name), start, end), None)

    def minutes(self, option: Option, machine: Machine, *, here: bool) -> tuple[Estimate, ...]:
        """Return what is known about how long an option takes to read its book on a machine.

        `here` says that it is this one: then what was measured on it counts, otherwise what was published for any GPU.
        """
        way = option.way
        if here and (known := self._measured_for(way, option.n_tokens)):
            return (known,)
        if not machine.device_bytes or way.gpu_layers != ALL_LAYERS or way.experts_in_ram:
            return ()
        return tuple(estimates(published("", way.card.label), 0, option.n_tokens))

    def observe(self, run: Run, rates: Iterable[Rate]) -> None:
        """Remember how fast a reading went. Raises `StorageError`."""
        self._measured.observe(self._key(run), rates)

    def _measured_for(self, way: Way, n_tokens: int) -> Estimate | None:
        """Return an estimate for a model whose digest is remembered; nobody waits for one while planning."""
        path = way.card.path
        known = read_entries(self._locations.cache / "models.json").get(str(path))
        if known is None or known.files != stamps(Path(file.path) for file in known.files):
            return None
        placed = (way.batch, way.gpu_layers, way.experts_in_ram, way.flash_attention)
        run = Run(known.facts, way.kv_type, RopeSettings(), *placed)
        return measured(self._measured.rates(self._key(run)), 0, n_tokens)

    def _key(self, run: Run) -> str:
        device = self.device(gpu=run.gpu_layers != 0)
        placed = (run.kv_type, device, run.batch, run.experts_in_ram)
        return rates_key(run.model.tensor_digest, *placed, flash_attention=run.flash_attention)


def card_in(path: Path, catalogue: Catalogue) -> Card:
    """Describe the model in a file, with what the catalogue knows of it. Raises `ModelError`."""
    card = card_of(path.absolute())
    key, quantisation = catalogue.match(path.name, card.size_bytes, card.shape)
    return catalogued(card, key, quantisation, catalogue)


def catalogued(card: Card, key: str, quantisation: str, catalogue: Catalogue) -> Card:
    """Return a card with what the catalogue knows of its model; as it is when `key` is ""."""
    if not key:
        return card
    entry = catalogue.entry(key)
    return replace(
        card,
        model=key,
        quantisation=quantisation,
        longest=entry.max_positions,
        reduced=is_reduced(entry, quantisation),
    )


def cards_of(entry: Entry) -> list[Card]:
    """Return a card for each quantisation of a catalogue entry whose tensors can be computed."""
    cards = []
    for file in entry.files:
        try:
            infos = tensors_of(entry, file)
        except CagchatError:  # an architecture or a mixture that no rule is known for
            continue
        cards.append(
            Card(
                model=entry.key,
                label=f"{entry.name} {file.quantisation}",
                quantisation=file.quantisation,
                shape=entry.shape,
                tensors=infos,
                longest=entry.max_positions,
                reduced=is_reduced(entry, file.quantisation),
                size_bytes=file.size_bytes or sum(info.size_bytes for info in infos),
            )
        )
    return cards


def tensors_of(entry: Entry, file: QuantFile) -> tuple[TensorInfo, ...]:
    """Return a file's tensors: by rule, and where its size was published scaled to that.

    A mixture that its makers chose tensor by tensor (UD-) is taken to be like the plain quantisation of its name.
    """
    plain = file.quantisation.removeprefix("UD-").removesuffix("_XL")
    names = (plain, f"{plain}_M", f"{plain}_S", plain.replace("IQ3_XXS", "Q3_K_S").replace("IQ3_S", "Q3_K_S"))
    name = next((name for name in names if name in QUANTISATIONS), plain)
    infos = tensors(entry.shape, name, tied=entry.tied_embeddings)
    total = sum(info.size_bytes for info in infos)
    if not file.size_bytes or abs(file.size_bytes / total - 1) < 0.005:
        return infos
    share = file.size_bytes / total
    return tuple(replace(info, size_bytes=round(info.size_bytes * share)) for info in infos)


def is_reduced(entry: Entry, quantisation: str) -> bool:
    """Tell whether a quantisation is smaller than the one that is preferred for the model."""
    known = {file.quantisation: file.size_bytes for file in entry.files}
    first = entry.files[0].quantisation if entry.files else ""
    return 0 < known.get(quantisation, 0) < known.get(first, 0)


def ordered(cards: Sequence[Card], catalogue: Catalogue, tier: Tier | None) -> tuple[Card, ...]:
    """Return cards best first for a tier: its own choices, then those of lower tiers, then the rest of the catalogue.

    A model that nobody has ranked comes before the first ranked one that has fewer parameters. Of one model the larger
    quantisation comes first. Files without a chat template come last: a model before it was taught to answer, or an
    embedder.
    """
    places = {key: place for place, key in enumerate(preference(catalogue, tier))}
    ranked = [(card, card.parameters) for card in cards if card.model in places]
    ranked.sort(key=lambda item: (places[item[0].model], -item[0].size_bytes))
    unranked = [(card, card.parameters) for card in cards if card.model not in places]
    for card, parameters in sorted(unranked, key=lambda item: -item[1]):
        at = next((i for i, (_, fewer) in enumerate(ranked) if fewer < parameters), len(ranked))
        while 0 < at < len(ranked) and ranked[at][0].model == ranked[at - 1][0].model:
            at += 1  # never between two quantisations of one model
        ranked.insert(at, (card, parameters))
    return tuple(sorted((card for card, _ in ranked), key=is_mute))


def is_mute(card: Card) -> bool:
    """Tell whether a file carries no chat template; of models that are not here, that is not known."""
    return card.path is not None and not card.chat_template


def preference(catalogue: Catalogue, tier: Tier | None) -> list[str]:
    """Return the keys of all models, the best for a tier first."""
    tiers = [other for other in catalogue.tiers if tier is None or other.gpu == tier.gpu]
    if tier in tiers:
        tiers = tiers[tiers.index(tier) :]
    chosen = [choice.model for other in tiers for choice in other.choices]
    return list(dict.fromkeys([*chosen, *catalogue.entries]))


def suited(cards: Sequence[Card], tier: Tier | None) -> list[Card]:
    """Return the cards of the models that a tier names, all of them for a machine below every tier."""
    named = {choice.model for choice in tier.choices} if tier else {card.model for card in cards}
    return [card for card in cards if card.model in named]


def estimates(rates: Iterable[tuple[tuple[Rate, ...], str]], start: int, end: int) -> Iterator[Estimate]:
    """Yield an estimate for each set of rates, with the words about whose they are."""
    for points, source in rates:
        if (seconds := seconds_to_read(points, start, end)) is not None:
            yield Estimate(seconds, source)


def sold_as(gigabytes: float) -> int:
    """Return the bytes that a card sold with so many gigabytes lets programs use."""
    return int(gigabytes * GIB * REPORTED_SHARE)


def known_free_bytes(folder: Path) -> int:
    """Return how much the disk that a folder is, or will be, on still takes; 0 when that cannot be known.

    A full disk is known to be full: it has one byte.
    """
    try:
        return max(1, free_bytes(folder))
    except OSError:
        return 0
