"""Gather what a plan needs: the models that are here or could be fetched, in order, and what this machine has free."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from cagchat.engine.library import can_offload
from cagchat.errors import CagchatError
from cagchat.hardware.detect import Hardware, detect
from cagchat.hardware.memory import Ram, read_ram
from cagchat.locations import Locations
from cagchat.models.catalogue import GIB, REPORTED_SHARE, USER_FILE, Catalogue, Entry, QuantFile, Tier, load_catalogue
from cagchat.models.find import packaged_model, resolve_model
from cagchat.models.gguf import TensorInfo
from cagchat.models.places import Place, find_models, known_places
from cagchat.models.tensors import QUANTISATIONS, tensors
from cagchat.plan.card import Card, card_of
from cagchat.plan.choose import Machine, Option, Plan, choose, wish_of
from cagchat.plan.rates import Estimate, Measured, Rate, published, rates_key, seconds_to_read
from cagchat.plan.run import Run
from cagchat.settings import Settings

FREE_SHARE = 0.95  # of the RAM that is free now, what a plan counts on: other programs go on living


class Planner:
    """The models and the machine, each looked at when first asked for."""

    def __init__(
        self,
        locations: Locations,
        *,
        hardware: Callable[[], Hardware] = detect,
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
        self._places = places or (lambda: known_places(locations.models))
        self._disk_free = disk_free or free_bytes
        self._measured = Measured(locations.cache / "rates.json")

    @property
    def hardware(self) -> Hardware:
        """What this machine computes with."""
        return self._hardware()

    def catalogue(self) -> Catalogue:
        """Return the models that cagchat and the user list. Raises `ConfigError`."""
        return load_catalogue(self._locations.config / USER_FILE)

    # -- the machine ---------------------------------------------------------------------------------------------------

    def machine(self, settings: Settings) -> Machine:
        """Return what a plan may use here: what is free, or what the settings allow."""
        disk = self._disk_free(self._locations.states)
        offload = self._can_offload() and settings.gpu_layers != 0
        ram = whole = int(settings.ram_gb * GIB)
        if not ram and (found := self._hardware().ram if offload else self._read_ram()):
            ram, whole = int(found.available_bytes * FREE_SHARE), found.total_bytes
        gpus = self._hardware().gpus if offload else ()
        if not gpus:
            return Machine(0, ram, disk, size_bytes=whole)
        free = sum(gpu.free_bytes for gpu in gpus)
        device = min(free, sold_as(settings.vram_gb)) if settings.vram_gb else free
        # One memory for both: what the GPU takes, programs no longer have.
        host = 0 if self._hardware().unified else ram
        whole = int(settings.vram_gb * GIB) or sum(gpu.total_bytes for gpu in gpus)
        return Machine(device, host, disk, backend="cuda", n_devices=len(gpus), size_bytes=whole)

    def device(self) -> str:
        """Return the name of what computes."""
        hardware = self._hardware()
        return hardware.gpus[0].name if hardware.gpus and self._can_offload() else hardware.processor

    def tier(self, machine: Machine) -> Tier | None:
        """Return the tier of a machine."""
        gpu = machine.device_bytes > 0
        return self.catalogue().tier(machine.size_bytes, gpu=gpu)

    # -- the models ----------------------------------------------------------------------------------------------------

    def here(self, settings: Settings, path: Path | None = None) -> tuple[Card, ...]:
        """Return the models to plan with, best first: the one at `path` or that the settings name, else all here.

        Raises `ModelError` when the one that is named cannot be used or there is none.
        """
        if path is None and settings.model:
            path = resolve_model(settings.model, self._locations.models)
        catalogue = self.catalogue()
        if path is not None:
            return (card_in(path, catalogue),)
        cards = []
        for model in find_models(self._places(), catalogue):
            if model.problem:
                continue
            card = card_of(model.path.absolute(), model.name)
            cards.append(catalogued(card, model.entry, model.quantisation, catalogue))
        if (packaged := packaged_model()) is not None:
            cards.append(card_in(packaged, catalogue))
        if not cards:
            resolve_model("", self._locations.models)  # raises, and says what to do
        best_first = ordered(cards, catalogue, self.tier(self.machine(settings)))
        # One without a chat template is hardly made to answer: an embedder, or a model before it was taught to.
        return tuple(sorted(best_first, key=lambda card: not card.chat_template))

    def listed(self, tier: Tier | None, catalogue: Catalogue | None = None) -> tuple[Card, ...]:
        """Return every model of the catalogue in every quantisation, best first for a tier; no file is looked for."""
        catalogue = catalogue or self.catalogue()
        cards = [card for entry in catalogue.entries.values() for card in cards_of(entry)]
        return ordered(cards, catalogue, tier)

    def better(self, plan: Plan, settings: Settings) -> str:
        """Return a sentence about a model that is not here but would answer better about this book, or ""."""
        now = plan.chosen or plan.farthest
        if settings.model or now is None:
            return ""
        catalogue = self.catalogue()
        tier = self.tier(plan.machine)
        cards = suited(self.listed(tier, catalogue), tier)
        best = choose(cards, lambda _: now.n_tokens, wish_of(settings), plan.machine).chosen
        if best is None or (plan.chosen and rank(plan.chosen, cards) <= rank(best, cards)):
            return ""
        from cagchat.proof import size

        card = best.way.card
        return (
            f"{card.label} would {'answer better' if plan.chosen else 'hold this book'} on this machine: "
            f"`cagchat models get {card.model} --quant {card.quantisation}` ({size(card.size_bytes)})"
        )

    # -- minutes -------------------------------------------------------------------------------------------------------

    def estimate(self, run: Run, start: int, end: int) -> Estimate | None:
        """Return how long reading tokens `start` to `end` should take, None when nothing is known about it."""
        measured = self._measured.rates(self._key(run))
        seconds = seconds_to_read(measured, start, end)
        if seconds is not None:
            return Estimate(seconds, "measured here")
        for rates, source in published(self.device(), run.model.name):
            if (seconds := seconds_to_read(rates, start, end)) is not None:
                return Estimate(seconds, source)
        return None

    def minutes(self, option: Option) -> tuple[Estimate, ...]:
        """Return what is known about how long an option takes: measured here, or published for whatever GPU."""
        card = option.way.card
        return tuple(
            Estimate(seconds, source)
            for rates, source in published("", card.label)
            if (seconds := seconds_to_read(rates, 0, option.n_tokens)) is not None
        )

    def observe(self, run: Run, rates: Iterable[Rate]) -> None:
        """Remember how fast a reading went. Raises `StorageError`."""
        self._measured.observe(self._key(run), rates)

    def _key(self, run: Run) -> str:
        device = self.device() if run.gpu_layers else self._hardware().processor
        return rates_key(run.model.tensor_digest, run.kv_type, device, run.batch, run.experts_in_ram)


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
    quantisation comes first.
    """
    places = {key: place for place, key in enumerate(preference(catalogue, tier))}
    ranked = [card for card in cards if card.model in places]
    ranked.sort(key=lambda card: (places[card.model], -card.size_bytes))
    unranked = sorted((card for card in cards if card.model not in places), key=lambda card: -card.parameters)
    for card in unranked:
        at = next((i for i, other in enumerate(ranked) if other.parameters < card.parameters), len(ranked))
        while 0 < at < len(ranked) and ranked[at].model == ranked[at - 1].model:
            at += 1  # never between two quantisations of one model
        ranked.insert(at, card)
    return tuple(ranked)


def preference(catalogue: Catalogue, tier: Tier | None) -> list[str]:
    """Return the keys of all models, the best for a tier first."""
    tiers = [other for other in catalogue.tiers if tier is None or other.gpu == tier.gpu]
    if tier in tiers:
        tiers = tiers[tiers.index(tier) :]
    chosen = [choice.model for other in tiers for choice in other.choices]
    return list(dict.fromkeys([*chosen, *catalogue.entries]))


def suited(cards: Sequence[Card], tier: Tier | None) -> tuple[Card, ...]:
    """Return the cards of models that a tier names, all of them when there is no tier."""
    named = {choice.model for choice in tier.choices} if tier else set()
    return tuple(card for card in cards if card.model in named) if named else tuple(cards)


def rank(option: Option, cards: Sequence[Card]) -> float:
    """Return the place of an option's model among cards, best first; a model that is not there comes last."""
    return next((float(i) for i, card in enumerate(cards) if card.model == option.way.card.model), float("inf"))


def sold_as(gigabytes: float) -> int:
    """Return the bytes that a card sold with so many gigabytes lets programs use."""
    return int(gigabytes * GIB * REPORTED_SHARE)


def free_bytes(folder: Path) -> int:
    """Return how much the disk that a folder is, or will be, on still takes; 0 when that cannot be known."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return 0
