"""Which model and settings a book is read with, when it was not read before: the plan's choice, and why."""

from __future__ import annotations

from cagchat.context import LEAST_CHAT_TOKENS, beginning, excess
from cagchat.engine.backend import Backend
from cagchat.engine.protocol import RopeSettings
from cagchat.errors import BookTooLong
from cagchat.plan.card import Card
from cagchat.plan.choose import Count, Option, Plan, choose, limit, remarks, shortened, wish_of
from cagchat.plan.run import Run
from cagchat.prompt import Prefix
from cagchat.settings import Settings


def planned(count: Count, settings: Settings, backend: Backend, cards: tuple[Card, ...] = ()) -> Plan:
    """Plan a book that was not read before, with the models that are on this machine."""
    return choose(cards or backend.cards(settings), count, wish_of(settings), backend.machine(settings))


def beginning_of(plan: Plan, settings: Settings) -> Option | None:
    """Return the option that reads most of a book that nothing holds, with as much as it holds; None for nothing."""
    farthest = plan.farthest
    if farthest is None or not farthest.holds:
        return None
    return shortened(farthest, wish_of(settings), plan.machine)


def cut_for(prefix: Prefix, option: Option, settings: Settings) -> Prefix:
    """Return as much of a book's prefix as an option with its beginning reads beside the chat."""
    cut = beginning(prefix, settings.chat_tokens, option.way.n_context)
    return cut.cut(max(option.n_tokens, cut.n_head + cut.n_opening + 1)) if len(cut.tokens) > option.n_tokens else cut


def run_from(option: Option, backend: Backend) -> Run:
    """Return the run that an option of a plan stands for. Raises `ModelError`."""
    way = option.way
    assert way.card.path is not None, "only models that are here are planned with"
    stretched = way.yarn_factor > 1
    rope = RopeSettings(way.yarn_factor, way.card.native) if stretched else RopeSettings()
    model = backend.facts(way.card.path)
    return Run(model, way.kv_type, rope, way.batch, way.gpu_layers, way.experts_in_ram, way.flash_attention)


def too_long(title: str, plan: Plan, settings: Settings, better: str) -> BookTooLong:
    """Say how far the book fits at best, and what would hold it; `better` is the command that gets such a model."""
    option = plan.farthest
    if option is None:
        return BookTooLong(f"No model that is here can read {title}.", better or "cagchat models")
    card, room = option.way.card, min(LEAST_CHAT_TOKENS, settings.chat_tokens)
    longest = limit(card, wish_of(settings))
    over = excess(option.n_tokens, settings.chat_tokens, longest)
    if over > 0:
        message = (
            f"{title} has {option.n_tokens:,} tokens; {card.label} holds {longest:,}, of which {room:,} are kept for "
            f"the chat: {over:,} too many."
        )
        larger = f"Choose a model whose context is {option.n_tokens + room:,} or more (--model PATH)"
    else:
        message = (
            f"{title} has {option.n_tokens:,} tokens; with {card.label} and KV {option.way.kv_type}, {option.holds:,} "
            f"of them fit here: {option.problem}."
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
