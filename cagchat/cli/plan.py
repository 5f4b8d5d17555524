"""`cagchat plan`: what would read a book on this machine or another, what that takes, and why."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.options import add_engine, add_json, complete_with
from cagchat.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cagchat.cli.app import App
    from cagchat.engine.protocol import VocabularyReader
    from cagchat.models.catalogue import Tier
    from cagchat.plan.card import Card
    from cagchat.plan.choose import Machine
    from cagchat.plan.planner import Planner

AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:g|gb|gib)?\s*", re.IGNORECASE)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from cagchat.cli.completion import book_names

    book = parser.add_argument("book", metavar="BOOK", help="a file, or the title of a book that has been read")
    complete_with(book, book_names)
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
    return float(found[1])


def run(app: App, args: argparse.Namespace) -> int:
    """Plan the book and print the plan; exit code 1 when nothing holds the whole book."""
    from cagchat import documents
    from cagchat.cli.books import book_path
    from cagchat.cli.plan_report import Report, as_json, print_report
    from cagchat.plan.choose import choose, wish_of
    from cagchat.plan.forecast import Counter, smallest_card
    from cagchat.plan.planner import Planner
    from cagchat.prompt import framed

    tokenizer = vocabulary(args.tokenizer)
    document = documents.load(book_path(app, args.book))
    planner = Planner(app.locations)
    settings = app.settings
    machine = planned_machine(planner, app, args)
    tier = planner.tier(machine)
    here = models_here(planner, app)
    elsewhere = args.vram is not None or args.ram is not None
    cards = candidates(planner, here, tier, named=bool(settings.model))
    sections = [document.text[section.start : section.end] for section in document.sections]

    def framed_length(words: VocabularyReader, template: str) -> int:
        return len(framed(sections, template, words, settings.instructions)[1].tokens)

    counter = Counter(document.text, app.backend.open_tokenizer, framed_length, tokenizer, here)

    def count(card: Card) -> int:
        return counter.tally(card).n_tokens

    wish = wish_of(settings)
    plan = choose(cards, count, wish, machine, everything=args.everything)
    larger = None
    if plan.chosen is None and not settings.model:
        larger = smallest_card(lambda other: planner.listed(planner.tier(other)), count, wish, machine)
    report = Report(
        document=document,
        plan=plan,
        machine=machine_words(planner, machine, elsewhere=elsewhere),
        tally=counter.tally,
        minutes=planner.minutes,
        larger=larger,
        chat_tokens=wish.chat_tokens,
    )
    if args.json:
        from cagchat.cli.tables import print_json

        print_json(as_json(report))
    else:
        print_report(report)
    return 0 if plan.chosen else 1


def vocabulary(name: str | None) -> Path | None:
    """Return the GGUF to count with, once it is known to be one. Raises `ModelError`."""
    from cagchat.models.gguf import read_any_header

    if name is None:
        return None
    path = Path(name).expanduser()
    if not read_any_header(path).vocabulary_size:
        raise UsageError(f"{path} holds no vocabulary.", "Give a GGUF of a language model, or its vocabulary alone.")
    return path


def planned_machine(planner: Planner, app: App, args: argparse.Namespace) -> Machine:
    """Return the machine to plan for."""
    from cagchat.plan.forecast import imagined

    if args.vram is None and args.ram is None:
        return planner.machine(app.settings)
    if args.vram is None:
        here = planner.machine(app.settings)
        return here if here.device_bytes else imagined(0, args.ram)
    return imagined(args.vram, args.ram or 0)


def models_here(planner: Planner, app: App) -> tuple[Card, ...]:
    """Return the models on this disk, none when there is none. Raises `ModelError` when the one named is not there."""
    from cagchat.errors import ModelError

    try:
        return planner.here(app.settings)
    except ModelError:
        if app.settings.model:
            raise
        return ()


def candidates(planner: Planner, here: Sequence[Card], tier: Tier | None, *, named: bool) -> tuple[Card, ...]:
    """Return the models to choose from: the one that was named, else those here and every other of the catalogue."""
    from cagchat.plan.planner import ordered

    if named:
        return tuple(here)
    present = {(card.model, card.quantisation) for card in here}
    others = [card for card in planner.listed(tier) if (card.model, card.quantisation) not in present]
    return ordered([*here, *others], planner.catalogue(), tier)


def machine_words(planner: Planner, machine: Machine, *, elsewhere: bool) -> str:
    """Describe the machine that is planned for."""
    from cagchat.cli.plan_report import gib

    ram = f", {gib(machine.host_bytes)} of RAM" if machine.host_bytes else ""
    if not elsewhere:
        free = gib(machine.device_bytes or machine.host_bytes)
        what = "GPU memory" if machine.device_bytes else "RAM"
        return f"this one: {planner.device()}, {free} of {what} to use" + (ram if machine.device_bytes else "")
    if machine.device_bytes:
        return f"a card sold with {gib(machine.size_bytes)}, of which {gib(machine.device_bytes)} can be used{ram}"
    return f"no GPU{ram}"
