"""`cagchat plan`: what would read a book on this machine or another, what that takes, and why."""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.options import add_engine, add_json, add_source
from cagchat.errors import UsageError
from cagchat.settings import cut, rules

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.engine.protocol import VocabularyReader
    from cagchat.plan.card import Card
    from cagchat.plan.choose import Machine, Plan
    from cagchat.plan.planner import Planner
    from cagchat.settings import Settings

AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:g|gb|gib)?\s*", re.IGNORECASE)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source(parser, several=True)
    machine = parser.add_argument_group("machine (this one when neither is given)")
    machine.add_argument("--vram", type=gigabytes, metavar="24GB", help="plan for a card sold with so much; 0 for none")
    machine.add_argument("--ram", type=gigabytes, metavar="32GB", help="plan for so much free RAM")
    parser.add_argument(
        "--tokenizer", metavar="PATH", help="count with the vocabulary of this GGUF, which needs no weights"
    )
    parser.add_argument("--all", dest="everything", action="store_true", help="go on after the first that fits")
    add_json(parser)
    add_engine(parser)


def gigabytes(text: str) -> float:
    """Return the number in "24GB", "24" or "24 GiB"; memory is sold in units of 2^30 bytes under either name."""
    found = AMOUNT.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory; write 24GB")
    number, most = float(found[1]), rules()["ram_gb"].high
    if number > most:
        raise argparse.ArgumentTypeError(f"{cut(text)!r} is too much memory: at most {most:,.0f}GB")
    return number


def run(app: App, args: argparse.Namespace) -> int:
    """Plan the book and print the plan; exit code 1 when nothing holds the whole book."""
    from cagchat import documents
    from cagchat.cli.books import book_source
    from cagchat.cli.options import unlocked
    from cagchat.cli.plan_report import Report, as_json, print_report
    from cagchat.plan.choose import choose, shortened, wish_of
    from cagchat.plan.forecast import Counter, smallest_card
    from cagchat.plan.planner import Planner
    from cagchat.prompt import framed

    tokenizer = vocabulary(args.tokenizer)
    document = unlocked(partial(documents.compose, book_source(app, args.book)), args.password)
    planner, settings = Planner(app.locations), app.settings
    wish = wish_of(settings)
    machine = planned_machine(planner, settings, args.vram, args.ram)
    here = models_here(planner, settings)
    sections = [document.text[section.start : section.end] for section in document.sections]

    def framed_length(words: VocabularyReader, template: str) -> int:
        return len(framed(sections, template, words, settings.instructions)[1].tokens)

    counter = Counter(document.text, app.backend.open_tokenizer, framed_length, tokenizer, here)

    def count(card: Card) -> int:
        return counter.tally(card).n_tokens

    def cards(machine: Machine) -> tuple[Card, ...]:
        return here if settings.model else planner.everything(here, planner.tier(machine))

    plan = choose(cards(machine), count, wish, machine, everything=args.everything)
    best = plan.chosen or plan.farthest
    planned_here = args.vram is None and args.ram is None
    absent = best is not None and best.way.card.path is None
    report = Report(
        document=document,
        plan=plan,
        part=shortened(best, wish, machine) if best else None,
        machine=machine_words(planner, machine, args.vram),
        tally=counter.tally,
        minutes=lambda option: planner.minutes(option, machine, here=args.vram is None),
        larger=None if plan.chosen else smallest_card(cards, count, wish, machine),
        chat_tokens=wish.chat_tokens,
        until_then=until_then(choose(here, count, wish, machine)) if planned_here and absent else "",
        everything=args.everything,
    )
    if args.json:
        from cagchat.cli.tables import print_json

        print_json(as_json(report))
    else:
        print_report(report)
    return 0 if plan.chosen else 1


def until_then(plan: Plan) -> str:
    """Say what `cagchat open` takes of the models on this disk while a better one is not here."""
    if plan.chosen is None:
        return "no model on this disk holds the whole book"
    way = plan.chosen.way
    return f"{way.card.label}, KV {way.kv_type}, context {way.n_context:,}, is on this disk"


def vocabulary(name: str | None) -> Path | None:
    """Return the GGUF to count with, once it is known to be one. Raises `ModelError`."""
    from cagchat.documents.gathering import expanded
    from cagchat.models.gguf import read_any_header

    if name is None:
        return None
    path = expanded(name)
    if not read_any_header(path).vocabulary_size:
        raise UsageError(f"{path} holds no vocabulary.", "Give a GGUF of a language model, or its vocabulary alone.")
    return path


def planned_machine(planner: Planner, settings: Settings, vram: float | None, ram: float | None) -> Machine:
    """Return the machine to plan for: this one, with other RAM, without its GPU, or one with another card."""
    from dataclasses import replace

    from cagchat.plan.forecast import imagined

    if vram:
        return imagined(vram, ram or 0)
    if vram is None:
        return planner.machine(replace(settings, ram_gb=ram or settings.ram_gb))
    return imagined(0, ram) if ram else planner.machine(replace(settings, gpu_layers=0))


def models_here(planner: Planner, settings: Settings) -> tuple[Card, ...]:
    """Return the models on this disk, none when there is none. Raises `ModelError` when the one named is not there."""
    from cagchat.errors import ModelError

    try:
        return planner.here(settings)
    except ModelError:
        if settings.model:
            raise
        return ()


def machine_words(planner: Planner, machine: Machine, vram: float | None) -> str:
    """Describe the machine that is planned for; `vram` as it was asked for."""
    from cagchat.cli.plan_report import gib

    on_gpu = machine.device_bytes > 0
    ram = f"{gib(machine.host_bytes)} of RAM" if machine.host_bytes else ""
    if vram:
        card = f"a card sold with {gib(machine.size_bytes)}, of which {gib(machine.device_bytes)} can be used"
        return f"{card}, {ram}" if ram else card
    memory = f"{gib(machine.device_bytes)} of GPU memory" if on_gpu else ""
    name = "no GPU" if vram is not None else f"this one: {planner.device(gpu=on_gpu)}"
    return ", ".join(filter(None, (name, memory, ram)))
