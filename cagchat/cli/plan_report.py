"""A plan in words for a reader, and as data for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cagchat.cli.tables import print_table
from cagchat.documents import Document
from cagchat.models.catalogue import GIB
from cagchat.plan.card import Card
from cagchat.plan.choose import Option, Plan, remarks
from cagchat.plan.forecast import Tally
from cagchat.plan.rates import Estimate
from cagchat.proof import size

NAME_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Report:
    """A plan and what is said around it. `larger` is the smallest card (GiB) that would hold the book, and how."""

    document: Document
    plan: Plan
    machine: str
    tally: Callable[[Card], Tally]
    minutes: Callable[[Option], Sequence[Estimate]]
    larger: tuple[float, Option] | None
    chat_tokens: int


def gib(n_bytes: float) -> str:
    """Return memory as cards are sold by it: 24 GiB, 21.5 GiB."""
    return f"{n_bytes / GIB:.1f}".removesuffix(".0") + " GiB"


def print_report(report: Report) -> None:
    """Print the plan on stdout."""
    for line in lines(report):
        print(line)
    options = report.plan.options
    print(f"\nconsidered, the best answers first ({len(options)}):")
    headers = ("model", "KV", "batch", "GPU GiB", "RAM GiB", "holds", "result")
    print_table(headers, [row(option) for option in options], numbers=("batch", "GPU GiB", "RAM GiB", "holds"))


def lines(report: Report) -> Iterator[str]:
    """Return everything but the table of options."""
    plan, document = report.plan, report.document
    option = plan.chosen or plan.farthest
    author = f", {document.author}" if document.author else ""
    if option is None:
        yield f"{document.title}{author}: no model is known that could read it."
        return
    tally = report.tally(option.way.card)
    yield f"{document.title}{author}: {tally.n_tokens:,} tokens ({tally.words}), and {report.chat_tokens:,} for the chat"
    yield f"machine: {report.machine}"
    yield ""
    if plan.chosen:
        yield f"{way_words(option)}: holds the whole book"
    else:
        yield f"nothing holds the whole book here; {way_words(option)} holds most of it:"
        yield f"  {option.holds:,} tokens, {100 * option.holds / option.n_tokens:.0f} %, to {reached(report, option)}"
    yield from memory_lines("on the GPU", option.memory.device_lines(), plan.machine.device_bytes)
    yield from memory_lines("in RAM", option.memory.host_lines(), plan.machine.host_bytes)
    yield f"  {'on disk, once':<{NAME_WIDTH}} {size(option.state_bytes):>9}"
    yield from time_lines(report.minutes(option))
    for remark in remarks(option):
        yield f"  {remark}"
    card = option.way.card
    if card.path is None and plan.chosen:
        yield f"  to fetch it: cagchat models get {card.model} --quant {card.quantisation} ({size(card.size_bytes)})"
    if report.larger:
        gigabytes, other = report.larger
        yield f"a card of {gigabytes:g} GB would hold the whole book, with {way_words(other)}"


def way_words(option: Option) -> str:
    """Name an option by its model and settings."""
    way = option.way
    parts = [way.card.label, f"KV {way.kv_type}", f"context {way.n_context:,}"]
    if way.yarn_factor > 1:
        parts[-1] += f" (YaRN x{way.yarn_factor:g})"
    parts.append(f"batches of {way.batch}")
    if way.experts_in_ram:
        parts.append(f"the experts of {way.experts_in_ram} layers in RAM")
    return ", ".join(parts)


def memory_lines(title: str, parts: Sequence[tuple[str, int]], limit: int) -> Iterator[str]:
    """Return the parts of one memory and their sum beside what there is."""
    if not parts:
        return
    yield f"  {title}"
    for label, n_bytes in parts:
        yield f"    {label:<{NAME_WIDTH - 2}} {n_bytes / GIB:9.2f} GiB"
    of = f" of {gib(limit)}" if limit else ""
    yield f"    {'together':<{NAME_WIDTH - 2}} {sum(n for _, n in parts) / GIB:9.2f} GiB{of}"


def time_lines(estimates: Sequence[Estimate]) -> Iterator[str]:
    """Return how long the reading takes, or that nobody knows."""
    if not estimates:
        yield f"  {'time to read it':<{NAME_WIDTH}} not known: no rate was measured or published for this"
    for estimate in estimates:
        yield f"  {'time to read it':<{NAME_WIDTH}} about {about(estimate.seconds)} ({estimate.source})"


def reached(report: Report, option: Option) -> str:
    """Name the place that an option reads up to, taking tokens to be spread evenly over the text."""
    document = report.document
    return document.place(int(len(document.text) * option.holds / option.n_tokens))


def row(option: Option) -> tuple[str, ...]:
    """Return an option as a row of the table."""
    way = option.way
    return (
        way.card.label + ("" if way.card.path is None else " (here)"),
        way.kv_type + (", experts in RAM" if way.experts_in_ram else ""),
        str(way.batch),
        f"{option.memory.device_bytes / GIB:.1f}" if option.memory.device_bytes else "",
        f"{option.memory.host_bytes / GIB:.1f}",
        f"{100 * option.holds / option.n_tokens:.0f} %",
        verdict(option),
    )


def verdict(option: Option) -> str:
    """Say in a word or two what became of an option."""
    if option.fits:
        return "fits"
    return f"{gib(option.missing_bytes)} short" if option.missing_bytes else "context too short"


def about(seconds: float) -> str:
    """Return an estimated time to the precision that it deserves."""
    if seconds < 90:
        return "a minute" if seconds > 30 else "half a minute"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def as_json(report: Report) -> dict[str, object]:
    """Return the plan as data; sizes in bytes, times in seconds."""
    plan = report.plan
    option = plan.chosen or plan.farthest
    return {
        "title": report.document.title,
        "author": report.document.author,
        "machine": {
            "words": report.machine,
            "device_bytes": plan.machine.device_bytes,
            "host_bytes": plan.machine.host_bytes,
            "disk_bytes": plan.machine.disk_bytes,
        },
        "chat_tokens": report.chat_tokens,
        "fits": plan.chosen is not None,
        "chosen": option_json(report, option) if option else None,
        "larger_card_gib": report.larger[0] if report.larger else None,
        "options": [option_json(report, other) for other in plan.options],
    }


def option_json(report: Report, option: Option) -> dict[str, object]:
    """Return one option as data."""
    way, tally = option.way, report.tally(option.way.card)
    return {
        "model": way.card.model,
        "label": way.card.label,
        "quantisation": way.card.quantisation,
        "path": str(way.card.path) if way.card.path else None,
        "n_tokens": option.n_tokens,
        "exact": tally.exact,
        "kv_type": way.kv_type,
        "n_context": way.n_context,
        "yarn_factor": way.yarn_factor,
        "batch": way.batch,
        "experts_in_ram": way.experts_in_ram,
        "fits": option.fits,
        "problem": option.problem,
        "missing_bytes": option.missing_bytes,
        "holds": option.holds,
        "device": dict(option.memory.device_lines()),
        "host": dict(option.memory.host_lines()),
        "device_bytes": option.memory.device_bytes,
        "host_bytes": option.memory.host_bytes,
        "state_bytes": option.state_bytes,
        "seconds": [[estimate.seconds, estimate.source] for estimate in report.minutes(option)],
    }
