"""`cagchat bench recall`: plant invented facts in a book, read it once, ask for them, and count what comes back."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.completion import paths
from cagchat.cli.options import add_settings, complete_with
from cagchat.documents.gathering import expanded
from cagchat.settings import ENGINE, KV_CHOICES

if TYPE_CHECKING:
    from cagchat.bench.asking import Stop, TextShelf
    from cagchat.bench.journal import Journal
    from cagchat.bench.quote_test import QuotedAnswer
    from cagchat.bench.recall import Grid, Text
    from cagchat.bench.tables import Table
    from cagchat.cli.app import App
    from cagchat.conversation import AskOptions
    from cagchat.documents import Document
    from cagchat.engine.protocol import KvType
    from cagchat.models.facts import ModelFacts
    from cagchat.settings import Settings

SUMMARY = "plant invented facts in a book and count how many a model finds again, by depth, length and KV type"
LENGTHS = (1024, 2048, 3072)  # the demonstration's story is 3,412 tokens long for the model that comes with it
DEPTHS = FACTS = 10
SEEDS = 3
ANSWER_TOKENS, QUOTE_TOKENS = 48, 160


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    text = "the book to plant in; default: the demonstration's story"
    complete_with(parser.add_argument("book", metavar="BOOK", nargs="?", help=text), paths)
    parser.add_argument(
        "--lengths",
        type=numbers,
        default=LENGTHS,
        metavar="N[,N]",
        help=f"cut the book to so many tokens, the facts included; default: {','.join(map(str, LENGTHS))}",
    )
    parser.add_argument(
        "--depths", type=number, default=DEPTHS, metavar="N", help=f"places from 5 %% to 95 %%; default: {DEPTHS}"
    )
    parser.add_argument("--facts", type=number, default=FACTS, metavar="N", help=f"facts in a text; default: {FACTS}")
    parser.add_argument(
        "--seeds",
        type=number,
        default=SEEDS,
        metavar="N",
        help=f"texts of each length, each with other facts; default: {SEEDS}",
    )
    parser.add_argument(
        "--kv",
        dest="kv_types",
        type=kv_types,
        metavar="TYPE[,TYPE]",
        help="how K and V are stored; default: all of them",
    )
    parser.add_argument(
        "--evidence",
        dest="modes",
        type=modes,
        default=("off", "on"),
        metavar="on,off",
        help="ask with passages of the book found for the question, from the cache alone, or both (the default)",
    )
    parser.add_argument(
        "--quotes",
        metavar="FILE",
        nargs="?",
        const="",
        help="instead, ask questions (of a file, or the demonstration's) and count which quotes are in the book",
    )
    parser.add_argument(
        "--minutes", type=minutes, default=0.0, metavar="M", help="stop after so many; the same command goes on later"
    )
    parser.add_argument("--out", metavar="FOLDER", help="keeps texts, states and answers; default: in cagchat's cache")
    parser.add_argument("--json", metavar="FILE", help="write counts, intervals and every answer as JSON too")
    parser.add_argument("--svg", metavar="FILE", help="draw the grid as an SVG too")
    add_settings(parser, "evidence", ("evidence_tokens", "quoting"))
    add_settings(parser, "engine", tuple(name for name in ENGINE if name != "kv_type"))


def run(app: App, args: argparse.Namespace) -> int:
    """Measure what the folder has no answers to yet, and print all of it; 130 when stopped with Ctrl-C."""
    from cagchat import documents
    from cagchat.bench.asking import Stop, TextShelf
    from cagchat.bench.journal import Journal
    from cagchat.cli.app import say
    from cagchat.cli.bench import story
    from cagchat.cli.interrupt import on_interrupt
    from cagchat.errors import Stopped
    from cagchat.files import private_folder

    for wanted in (args.json, args.svg):
        checked_folder(wanted)
    folder = private_folder(expanded(args.out).absolute() if args.out else app.locations.cache / "recall")
    book = expanded(args.book).absolute() if args.book else story(folder)
    document = documents.load(book)
    settings = chosen(app, folder)
    facts = app.backend.facts(Path(settings.model))
    quoting = args.quotes is not None
    options = greedy(settings, QUOTE_TOKENS if quoting else ANSWER_TOKENS, quoting=quoting)
    identity = run_identity(facts, settings, options)
    stop = Stop(out_of_time(args.minutes))
    shelf = TextShelf(folder, settings, app.backend, options, stop=stop, say=say)
    with alone(folder), on_interrupt(stop):
        journal = Journal(folder / "answers.jsonl")
        if quoting:
            content = quotes(args, settings, book, shelf, journal, identity, stop)
        else:
            content = recall(app, args, settings, facts, document, shelf, journal, identity, stop)
    if args.json:
        write(args.json, f"{json.dumps(content, ensure_ascii=False, indent=2)}\n")
    return Stopped.exit_code if stop.asked else 0


def recall(
    app: App,
    args: argparse.Namespace,
    settings: Settings,
    facts: ModelFacts,
    document: Document,
    shelf: TextShelf,
    journal: Journal,
    identity: str,
    stop: Stop,
) -> dict[str, object]:
    """Measure the grid, print its tables and draw it; return it for JSON."""
    from cagchat.bench.heatmap import heatmap
    from cagchat.bench.recall import answered, count_questions, measure, planned_texts
    from cagchat.bench.recall_report import as_object, rows, tables
    from cagchat.cli.app import say

    with closing(app.backend.open_tokenizer(facts.path)) as tokenizer:
        (tokens,) = tokenizer.tokenize([document.text], special=False)
        grid = grid_of(args, settings, len(tokens), document.title)
        texts = planned_texts(grid, document.text, tokenizer)
    device = describe(settings, facts, document)
    print(f"{', '.join(map(str, device.values()))}\n", flush=True)
    say(work(grid, texts, count_questions(grid, texts), len(answered(grid, texts, journal, identity))))
    found = measure(grid, texts, shelf, journal, identity, wanted=lambda: not stop.wanted, say=say)
    for table in tables(grid, found):
        show(table)
    if args.svg:
        caption = f"{device['model']}, {device['book']}; right answers of those asked"
        write(args.svg, heatmap("Recall of planted facts", grid.depths, rows(grid, found), caption))
    return {"device": device, **as_object(grid, found)}


def quotes(
    args: argparse.Namespace,
    settings: Settings,
    book: Path,
    shelf: TextShelf,
    journal: Journal,
    identity: str,
    stop: Stop,
) -> dict[str, object]:
    """Ask for quotes, print the table, and return it for JSON."""
    from cagchat import demo, documents
    from cagchat.bench.quote_test import as_objects, ask_for_quotes, questions_of, quote_table
    from cagchat.bench.tables import as_object
    from cagchat.cli.app import say
    from cagchat.errors import Stopped

    if args.quotes:
        path = expanded(args.quotes)
        questions = questions_of(documents.read(path).decode("utf-8-sig", "replace"), toml=path.suffix == ".toml")
    else:
        questions = [question.text for question in demo.questions()]
    kv_type: KvType = (args.kv_types or ("f16" if settings.kv_type == "auto" else settings.kv_type,))[0]
    say(f"{book.name}, KV {kv_type}: {len(questions) * len(args.modes):,} questions")
    answers: tuple[QuotedAnswer, ...] = ()
    with suppress(Stopped), shelf.open_book(book, kv_type) as opened:
        answers = ask_for_quotes(
            questions,
            opened.book.document,
            opened,
            journal,
            run=identity,
            kv_type=kv_type,
            evidence=args.modes,
            wanted=lambda: not stop.wanted,
        )
    table = quote_table(answers)
    show(table)
    return {**as_object(table), "answers": as_objects(answers)}


def chosen(app: App, folder: Path) -> Settings:
    """Return the settings with the model's file: the one named, else the one that comes with the program."""
    from cagchat.models.find import resolve_model

    named = app.backend.named_model(app.settings)
    return replace(app.settings, model=str(named or resolve_model("", folder / "models").absolute()))


def grid_of(args: argparse.Namespace, settings: Settings, n_tokens: int, title: str) -> Grid:
    """Return what is measured; lengths that the book does not have are left out, and said.

    Raises `UsageError` when it has none of them.
    """
    from cagchat.bench.planting import depths
    from cagchat.bench.recall import Grid
    from cagchat.cli.app import say
    from cagchat.engine.protocol import KV_TYPES
    from cagchat.errors import UsageError

    fitting = tuple(length for length in args.lengths if length <= n_tokens)
    if not fitting:
        raise UsageError(
            f"{title} has {n_tokens:,} tokens, less than {min(args.lengths):,}.", "Give a longer book or --lengths."
        )
    if longer := [length for length in args.lengths if length > n_tokens]:
        say(f"{title} has {n_tokens:,} tokens; {', '.join(f'{length:,}' for length in longer)} is left out.")
    given: tuple[KvType, ...] = args.kv_types or (KV_TYPES if settings.kv_type == "auto" else (settings.kv_type,))
    return Grid(fitting, depths(args.depths), args.facts, given, tuple(range(1, args.seeds + 1)), args.modes)


def work(grid: Grid, texts: tuple[Text, ...], n_questions: int, n_answered: int) -> str:
    """Say how much there is to do."""
    n_tokens = len(grid.kv_types) * sum(text.n_tokens for text in texts)
    done = f", {n_answered:,} of them answered before" if n_answered else ""
    return f"{len(texts) * len(grid.kv_types)} texts, {n_tokens:,} tokens in all; {n_questions:,} questions{done}."


def describe(settings: Settings, facts: ModelFacts, document: Document) -> dict[str, str]:
    """Return what the figures depend on."""
    from importlib.metadata import version

    from cagchat.engine.fastpath import processor_name

    return {
        "processor": processor_name(),
        "llama_cpp_python": f"llama-cpp-python {version('llama-cpp-python')}",
        "model": facts.path.stem,
        "book": document.title,
    }


def run_identity(facts: ModelFacts, settings: Settings, options: AskOptions) -> str:
    """Return a digest of what answers depend on beside text, KV type, evidence and question."""
    import xxhash

    from cagchat.prompt import PROMPT_VERSION, instructions_digest

    model = (facts.tensor_digest, facts.meaning_digest, facts.chat_template)
    prompt = (instructions_digest(settings.instructions), PROMPT_VERSION)
    answer = (options.max_tokens, options.extras.evidence_tokens, options.extras.quoting)
    return str(xxhash.xxh3_64_hexdigest("\0".join(map(str, (*model, *prompt, *answer))).encode()))


def greedy(settings: Settings, max_tokens: int, *, quoting: bool) -> AskOptions:
    """Return how questions are answered: the likeliest token each time, asked to quote only where that is measured."""
    from cagchat.conversation import AskOptions
    from cagchat.engine.protocol import Sampling
    from cagchat.wording import Extras

    extras = Extras(evidence_tokens=settings.evidence_tokens, quoting=settings.quoting if quoting else "off")
    return AskOptions(Sampling(temperature=0), max_tokens=max_tokens, extras=extras)


def out_of_time(minutes: float, timer: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """Return a question to the clock that is answered yes once the minutes are over; 0 is without end."""
    end = timer() + minutes * 60
    return lambda: bool(minutes) and timer() >= end


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for the time of the block. Raises `StorageError` when another run does."""
    from filelock import FileLock, Timeout

    from cagchat.errors import StorageError

    lock = FileLock(folder / "run.lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise StorageError(
            f"Another run measures in {folder}.", "Wait for it, or give --out another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def checked_folder(wanted: str | None) -> None:
    """Refuse a report that could not be written, before anything is measured. Raises `UsageError`."""
    from cagchat.errors import UsageError

    path = expanded(wanted) if wanted else None
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {path.name}.", "Create it first.")


def write(wanted: str, content: str) -> None:
    """Write a report and say where."""
    from cagchat.cli.app import say
    from cagchat.files import write_bytes

    path = expanded(wanted)
    write_bytes(path, content.encode("utf-8", "backslashreplace"))
    say(f"Written to {path}.")


def show(table: Table) -> None:
    """Print a table as the other measurements do."""
    from cagchat.cli.bench import show

    show(table)


def number(text: str) -> int:
    """Read a count."""
    if not text.strip().isdecimal() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def numbers(text: str) -> tuple[int, ...]:
    """Read `--lengths`; 32K is 32,768."""
    from cagchat.cli.bench_device import depths

    if not (found := tuple(sorted({length for length in depths(text) if length}))):
        raise argparse.ArgumentTypeError(f"{text!r} has no length")
    return found


def kv_types(text: str) -> tuple[str, ...]:
    """Read `--kv`."""
    return tuple(one_of(part, KV_CHOICES[1:]) for part in text.split(","))


def modes(text: str) -> tuple[str, ...]:
    """Read `--evidence`, each once, off first."""
    given = [one_of(part, ("on", "off")) for part in text.split(",")]
    return tuple(sorted(set(given)))


def one_of(text: str, choices: tuple[str, ...]) -> str:
    """Read one word of a few."""
    if text.strip() not in choices:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}")
    return text.strip()


def minutes(text: str) -> float:
    """Read `--minutes`."""
    from cagchat.cli.bench_device import minutes

    return minutes(text)
