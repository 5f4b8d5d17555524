"""A plan in words for a reader, and as data for a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cagchat.cli.output import put
from cagchat.cli.tables import print_table
from cagchat.documents import Document
from cagchat.models.catalogue import GIB
from cagchat.plan.card import Card
from cagchat.plan.choose import Option, Plan, remarks
from cagchat.plan.forecast import Tally
from cagchat.plan.rates import Estimate
from cagchat.units import size

MIB = 1 << 20
NAME_WIDTH = 24
LABEL_WIDTH = 27  # so that the table fits into 80 columns


@dataclass(frozen=True, slots=True)
class Report:
    """A plan and what is said around it.

    `part` is the chosen option, or when nothing holds the whole book the one that holds most of it with no more than
    that. `larger` is the smallest card (GiB) that would hold the book, and how. `until_then` says what reads the book
    here while the chosen model is not on this disk. With `everything` no option is left out of the table.
    """

    document: Document
    plan: Plan
    part: Option | None
    machine: str
    tally: Callable[[Card], Tally]
    minutes: Callable[[Option], Sequence[Estimate]]
    larger: tuple[float, Option] | None
    chat_tokens: int
    until_then: str = ""
    everything: bool = False


def gib(n_bytes: float) -> str:
    """Return memory as cards are sold by it: 24 GiB, 21.5 GiB, below a tenth 40 MiB."""
    if n_bytes < GIB / 10:
        return f"{n_bytes / MIB:.0f} MiB"
    return f"{n_bytes / GIB:.1f}".removesuffix(".0") + " GiB"


def print_report(report: Report) -> None:
    """Print the plan on stdout."""
    for line in lines(report):
        put(line)
    options = report.plan.options
    shown = [option for option in options if option.holds or report.everything]
    if shown:
        print("\nconsidered, the best answers first (* is on this disk; GPU and RAM in GiB):")
        headers = ("model", "KV", "GPU", "RAM", "holds", "result")
        print_table(headers, [row(option) for option in shown], numbers=("GPU", "RAM", "holds"))
    if hidden := len(options) - len(shown):
        print(f"{hidden} more would hold nothing of it{': --all lists them' if not report.everything else ''}")


def lines(report: Report) -> Iterator[str]:
    """Return everything but the table of options."""
    plan, document, option = report.plan, report.document, report.part
    author = f", {document.author}" if document.author else ""
    if option is None:
        yield f"{document.title}{author}: no model is known that could read it."
        return
    tally = report.tally(option.way.card)
    chat = f"{report.chat_tokens:,} for the chat"
    yield f"{document.title}{author}: {tally.n_tokens:,} tokens ({tally.words}), and {chat}"
    yield f"machine: {report.machine}"
    yield ""
    if not option.n_tokens:
        yield f"nothing holds any of it here beside a chat of {report.chat_tokens:,} tokens"
    else:
        yield way_words(option)
        yield f"  holds {held(report, option)}"
        yield from memory_lines("on the GPU", option.memory.device_lines(), plan.machine.device_bytes)
        yield from memory_lines("in RAM", option.memory.host_lines(), plan.machine.host_bytes)
        yield f"  {'on disk, once':<{NAME_WIDTH}} {size(option.state_bytes):>9}"
        yield from time_lines(report.minutes(option))
        for remark in remarks(option):
            yield f"  {remark}"
        card = option.way.card
        if card.path is None:
            fetch = f"cagchat models get {card.model} --quant {card.quantisation}"
            yield f"  to fetch it: {fetch} ({size(card.size_bytes)})"
        if report.until_then:
            yield f"  until then: {report.until_then}"
    if report.larger:
        gigabytes, other = report.larger
        yield f"a card of {gigabytes:g} GB would hold the whole book, with {way_words(other)}"


def held(report: Report, option: Option) -> str:
    """Say how much of the book an option holds: tokens, percent and the chapter, taken to be spread evenly."""
    whole = report.tally(option.way.card).n_tokens
    if option.n_tokens >= whole:
        return "the whole book"
    document = report.document
    place = document.place(int(len(document.text) * option.n_tokens / whole))
    return f"{option.n_tokens:,} of its tokens, to {place}; nothing here holds more"


def way_words(option: Option) -> str:
    """Name an option by its model and settings."""
    way = option.way
    parts = [way.card.label, f"KV {way.kv_type}", f"context {way.n_context:,}"]
    if way.yarn_factor > 1:
        parts[-1] += f" (YaRN x{way.yarn_factor:g})"
    if not way.flash_attention:
        parts.append("plain attention")
    parts.append(f"batches of {way.batch}")
    if way.experts_in_ram:
        parts.append(f"the experts of {way.experts_in_ram} layers in RAM")
    return ", ".join(parts)


def memory_lines(title: str, parts: Sequence[tuple[str, int]], limit: int) -> Iterator[str]:
    """Return the parts of one memory and their sum beside what there is."""
    if not parts:
        return
    yield f"  {title}"
    shown = hundredths([n_bytes / GIB for _, n_bytes in parts])
    for (label, _), number in zip(parts, shown, strict=True):
        yield f"    {label:<{NAME_WIDTH - 2}} {number / 100:9.2f} GiB"
    of = f" of {gib(limit)}" if limit else ""
    yield f"    {'together':<{NAME_WIDTH - 2}} {sum(shown) / 100:9.2f} GiB{of}"


def hundredths(numbers: Sequence[float]) -> list[int]:
    """Return numbers in hundredths, each rounded up or down so that they add up to their rounded sum."""
    exact = [100 * number for number in numbers]
    whole = [int(number) for number in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in by_rest[: round(sum(exact)) - sum(whole)]:
        whole[i] += 1
    return whole


def time_lines(estimates: Sequence[Estimate]) -> Iterator[str]:
    """Return how long the reading takes, or that nobody knows."""
    if not estimates:
        yield f"  {'time to read it':<{NAME_WIDTH}} not known: no rate was measured or published for this"
    for estimate in estimates:
        yield f"  {'time to read it':<{NAME_WIDTH}} about {about(estimate.seconds)} ({estimate.source})"


def row(option: Option) -> tuple[str, ...]:
    """Return an option as a row of the table."""
    way = option.way
    name = way.card.label if len(way.card.label) <= LABEL_WIDTH else way.card.label[: LABEL_WIDTH - 1] + "…"
    return (
        name + ("*" if way.card.path else ""),
        way.kv_type + (" +RAM" if way.experts_in_ram else ""),
        f"{option.memory.device_bytes / GIB:.1f}" if option.memory.device_bytes else "",
        f"{option.memory.host_bytes / GIB:.1f}",
        f"{int(100 * option.holds / option.n_tokens)} %",
        verdict(option),
    )


def verdict(option: Option) -> str:
    """Say in a word or two what became of an option."""
    if option.fits:
        return "fits"
    return f"{gib(option.missing_bytes)} short" if option.missing_bytes else "short context"


def about(seconds: float) -> str:
    """Return an estimated time to the precision that it deserves."""
    if seconds < 90:
        return "a minute" if seconds > 30 else "half a minute"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def as_json(report: Report) -> dict[str, object]:
    """Return the plan as data; sizes in bytes, times in seconds.

    `chosen` is what holds the whole book; when nothing does, `beginning` is what holds most of it, with that much.
    """
    plan, part = report.plan, report.part
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
        "chosen": option_json(report, plan.chosen) if plan.chosen else None,
        "beginning": option_json(report, part) | {"held": held(report, part)} if part and not plan.chosen else None,
        "larger_card_gib": report.larger[0] if report.larger else None,
        "until_then": report.until_then,
        "options": [option_json(report, option) for option in plan.options],
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
        "flash_attention": way.flash_attention,
        "n_context": way.n_context,
        "yarn_factor": way.yarn_factor,
        "batch": way.batch,
        "gpu_layers": way.gpu_layers,
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
