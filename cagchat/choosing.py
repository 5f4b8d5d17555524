"""Which model and settings a book is opened with: those of its saved state, else what the plan chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

from cagchat.context import LEAST_CHAT_TOKENS, excess
from cagchat.engine.backend import Backend
from cagchat.engine.protocol import KvType, RopeSettings
from cagchat.errors import BookTooLong, ModelError, StateDamaged
from cagchat.models.facts import ModelFacts
from cagchat.plan.card import Card
from cagchat.plan.choose import BATCHES, Count, Option, Plan, choose, remarks, wish_of
from cagchat.plan.run import Run
from cagchat.settings import Settings
from cagchat.states.manifest import Manifest
from cagchat.states.store import StateFolder, States, slug

# -- what was read before ----------------------------------------------------------------------------------------------


def saved(
    states: States, title: str, digest: str, settings: Settings, backend: Backend
) -> tuple[StateFolder, Run] | None:
    """Return the state of this book that an opening with these settings should use, and how it was read.

    What the settings leave open was decided when the book was read. A whole reading comes before one of the beginning
    only, one that is finished before one that is not. None when there is none whose model is still here.
    """
    wanted = backend.named_model(settings)
    found = []
    for folder, manifest in of_book(states, title, digest):
        named = wanted is None or Path(manifest.model_path) == wanted
        typed = settings.kv_type in ("auto", manifest.key.kv_type)
        stretched = manifest.key.yarn_factor > 1
        if named and typed and (settings.yarn or not stretched):
            found.append((manifest.book.truncated, manifest.state is None, folder, manifest))
    for _, _, folder, manifest in sorted(found, key=lambda item: item[:2]):
        try:
            model = backend.facts(Path(manifest.model_path))
        except ModelError:
            continue
        return folder, placed(run_of(manifest, model), manifest.n_tokens, settings, backend)
    return None


def of_book(states: States, title: str, digest: str) -> Iterator[tuple[StateFolder, Manifest]]:
    """Yield the states of a book with their manifests, the last used first.

    Folders are named by the book's title; those of other names are looked at only when none of its own fits, because a
    copy of the book under another file name may have another title.
    """
    folders = states.all()
    likely = [folder for folder in folders if folder.name.startswith(slug(title))]
    none = True
    for group in (likely, [folder for folder in folders if folder not in likely]):
        for folder in group:
            try:
                manifest = folder.manifest()
            except StateDamaged:
                continue
            if manifest.book.digest == digest:
                none = False
                yield folder, manifest
        if not none:
            return


def run_of(manifest: Manifest, model: ModelFacts) -> Run:
    """Return how a book was read."""
    key = manifest.key
    rope = RopeSettings(key.yarn_factor, key.yarn_original_context)
    return Run(model, cast(KvType, key.kv_type), rope)


def placed(run: Run, n_tokens: int, settings: Settings, backend: Backend) -> Run:
    """Return the run with the batch and the place of the weights that suit the memory there is now.

    Without a GPU there is nothing to place, and the plan is not made: reopening is fast.
    """
    wish = replace(wish_of(settings), kv_type=run.kv_type)
    machine = backend.machine(settings)
    if machine.device_bytes:
        # The disk holds the state already.
        plan = choose(backend.cards(settings, run.model.path), lambda _: n_tokens, wish, replace(machine, disk_bytes=0))
        if option := plan.chosen or plan.farthest:
            way = option.way
            return replace(run, batch=way.batch, gpu_layers=way.gpu_layers, experts_in_ram=way.experts_in_ram)
    return replace(
        run,
        batch=wish.batch or BATCHES[0],
        gpu_layers=wish.gpu_layers,
        experts_in_ram=max(0, wish.experts_in_ram),
    )


# -- what is read now --------------------------------------------------------------------------------------------------


def planned(count: Count, settings: Settings, backend: Backend, cards: tuple[Card, ...] = ()) -> Plan:
    """Plan a book that was not read before, with the models that are on this machine."""
    return choose(cards or backend.cards(settings), count, wish_of(settings), backend.machine(settings))


def run_from(option: Option, backend: Backend) -> Run:
    """Return the run that an option of a plan stands for. Raises `ModelError`."""
    way = option.way
    assert way.card.path is not None, "only models that are here are planned with"
    stretched = way.yarn_factor > 1
    rope = RopeSettings(way.yarn_factor, way.card.native) if stretched else RopeSettings()
    model = backend.facts(way.card.path)
    return Run(model, way.kv_type, rope, way.batch, way.gpu_layers, way.experts_in_ram)


def too_long(title: str, plan: Plan, settings: Settings, better: str) -> BookTooLong:
    """Say how far the book fits at best, and what would hold it; `better` is the command that gets such a model."""
    option = plan.farthest
    if option is None:
        return BookTooLong(f"No model that is here can read {title}.", better or "cagchat models")
    card, room = option.way.card, min(LEAST_CHAT_TOKENS, settings.chat_tokens)
    limit = card.longest if settings.yarn else card.native
    over = excess(option.n_tokens, settings.chat_tokens, limit)
    if over > 0:
        message = (
            f"{title} has {option.n_tokens:,} tokens; {card.label} holds {limit:,}, of which {room:,} are kept for the "
            f"chat: {over:,} too many."
        )
        larger = f"Choose a model whose context is {option.n_tokens + room:,} or more (--model PATH)"
    else:
        message = (
            f"{title} has {option.n_tokens:,} tokens; with {card.label} and KV {option.way.kv_type}, {option.holds:,} of "
            f"them fit here: {option.problem}."
        )
        larger = "`cagchat plan BOOK` shows everything that was considered"
    return BookTooLong(message, f"{better or larger}, or read only the beginning (--truncate).")


def reasons(plan: Plan) -> tuple[str, ...]:
    """Say in lines why the chosen option was chosen: what was refused before it, and what is special about it."""
    chosen = plan.chosen
    if chosen is None:
        return ()
    refused = (option for option in plan.options if not option.fits)
    lines = [f"not {option.way.card.label} with KV {option.way.kv_type}: {option.problem}" for option in refused]
    return (*lines, *remarks(chosen))
