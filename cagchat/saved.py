"""Which saved state an opening means, and how its book was read: found without planning anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from cagchat.engine.backend import Backend
from cagchat.engine.protocol import KvType, RopeSettings
from cagchat.errors import ModelError, StateDamaged, StateMismatch
from cagchat.models.facts import ModelFacts
from cagchat.plan.run import Run, batch_for
from cagchat.settings import Settings
from cagchat.states.key import mismatch
from cagchat.states.manifest import Manifest
from cagchat.states.present import present_key
from cagchat.states.store import StateFolder, States, slug


@dataclass(frozen=True, slots=True)
class Saved:
    """A state of a book and how it was read; `problem` says why it does not fit what there is now, None when it does.

    Then its book has to be read again, in the same way.
    """

    folder: StateFolder
    run: Run
    truncated: bool
    problem: StateMismatch | None


def saved(states: States, title: str, digest: str, settings: Settings, backend: Backend) -> Saved | None:
    """Return the state of this book that an opening with these settings should use, and how it was read.

    What the settings leave open was decided when the book was read. A state that fits comes before one that does not,
    a whole reading before one of the beginning only, one that is finished before one that is not. None when there is
    none whose model is still here.
    """
    wanted = backend.named_model(settings)
    found = []
    for folder, manifest in of_book(states, title, digest):
        named = wanted is None or Path(manifest.model_path) == wanted
        typed = settings.kv_type in ("auto", manifest.key.kv_type)
        stretched = manifest.key.yarn_factor > 1
        if named and typed and (settings.yarn or not stretched):
            # As far as can be told without the model, whose file may have to be read first.
            unfit = present_key(manifest.key, None, settings.instructions) != manifest.key
            found.append((unfit, manifest.book.truncated, manifest.state is None, folder, manifest))
    unfitting: Saved | None = None
    for _, truncated, _, folder, manifest in sorted(found, key=lambda item: item[:3]):
        try:
            model = backend.facts(Path(manifest.model_path))
        except ModelError:
            continue
        run = run_of(manifest, model)
        problem = mismatch(manifest.key, present_key(manifest.key, model, settings.instructions))
        if problem is None:
            return Saved(folder, placed(run, manifest.n_tokens, settings, backend), truncated, None)
        unfitting = unfitting or Saved(folder, placed(run, manifest.n_tokens, settings, backend), truncated, problem)
    return unfitting


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
    return Run(model, cast(KvType, key.kv_type), rope, flash_attention=key.flash_attention)


def placed(run: Run, n_tokens: int, settings: Settings, backend: Backend) -> Run:
    """Return the run with the batch and the place of the weights that suit the memory there is now.

    Without a GPU there is nothing to place, and the plan is not made: reopening is fast.
    """
    if backend.offloads(settings):
        from cagchat.plan.choose import choose, wish_of  # 30 ms of planning

        wish = replace(wish_of(settings), kv_type=run.kv_type, flash_attention=run.flash_attention)
        machine = replace(backend.machine(settings), disk_bytes=0)  # the disk holds the state already
        plan = choose(backend.cards(settings, run.model.path), lambda _: n_tokens, wish, machine)
        if option := plan.chosen or plan.farthest:
            way = option.way
            return replace(run, batch=way.batch, gpu_layers=way.gpu_layers, experts_in_ram=way.experts_in_ram)
    return replace(
        run,
        batch=batch_for(settings.batch, flash_attention=run.flash_attention),
        gpu_layers=settings.gpu_layers,
        experts_in_ram=max(0, settings.experts_in_ram),
    )
