"""Torture by SIGKILL: of the program and of its engine, at every phase, at file operations, and at any moment."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cagchat.bench.synth import Architecture, write_model
from cagchat.engine.protocol import Memory
from tests.reading_cases import chapters, locations, write_book
from tests.torture.aftermath import Aftermath, Shelf
from tests.torture.hunt import Aim, Heard, Hung, Victims
from tests.torture.trial import Part, Report, Terms
from tests.torture.victim import Job

KILLS = 320
TELL_EVERY = 50
MOST_TRIES = 3  # for each kill: a victim may be done before its moment comes
LATEST = 1.2  # of a phase's length, or of a whole life: the kill comes at a random share of it, up to this
DEEDS = {"read": 9, "ask": 8, "remove": 2, "forget": 2, "damaged": 1}
KINDS: tuple[tuple[Architecture | None, Memory], ...] = (
    (None, "attention"),
    ("qwen35", "hybrid"),
    (None, "hybrid"),
    ("qwen3", "attention"),
)
WAYS = ("phase", "phase", "step", "step", "any")
ENGINE_WAYS = ("engine", "engine", "engine", "engine")
WORKING = {"prefill", "checkpoint", "save", "boundary", "restore", "probe", "history", "decode"}  # phases of the engine
ANY_SHARE = 0.3  # of the engine's kills come at any moment of its life
NEW_SHARE = 0.15  # of the victims find no cache, or no chats
FEW = 40  # kills; so many are done with two of the kinds


@dataclass(slots=True)
class Range:
    """One shelf and what is known of the victims that work on it: the life of each deed's, when nobody kills it."""

    shelf: Shelf
    lives: dict[str, Heard] = field(default_factory=dict)

    def job(self, deed: str, chance: random.Random) -> Job:
        """Make up a job; what it needs is on the shelf."""
        shelf = self.shelf
        job = replace(shelf.job, deed=deed)
        match deed:
            case "ask":
                session = chance.choice([*shelf.sessions[-3:], ""]) if shelf.sessions else ""
                until = 0 if session else chance.choice((0, 0, chance.randrange(100, 800)))
                job = replace(job, questions=(shelf.question(), shelf.question()), session=session, until=until)
                return replace(job, again=chance.random() < 0.5)
            case "forget":
                return replace(job, session=chance.choice(shelf.sessions))
            case "remove":
                (folder,) = shelf.library().states.all()
                return replace(job, name=folder.name)
            case _:
                return job

    def aim(self, deed: str, chance: random.Random) -> Aim:
        """Choose whom to kill and when, from how an undisturbed life went."""
        life = self.lives[deed]
        has_engine = bool(life.words("engine"))
        way = chance.choice(WAYS + ENGINE_WAYS if has_engine else WAYS)
        seconds = life.said[-1][0]
        if way == "step":
            return Aim("program", step=chance.randint(1, life.last("done")))
        if way == "any":
            return Aim("program", delay_s=chance.uniform(0, LATEST * seconds))
        phases = life.phases()
        if way == "engine":
            if chance.random() < ANY_SHARE:
                return Aim("engine", delay_s=chance.uniform(0, seconds))
            phases = [(name, length) for name, length in phases if name in WORKING]
        name = chance.choice(sorted({name for name, _ in phases}))
        lengths = [length for other, length in phases if other == name]
        occurrence = chance.randint(1, min(len(lengths), 4))
        delay_s = chance.uniform(0, LATEST * lengths[occurrence - 1])
        return Aim("engine" if way == "engine" else "program", name, occurrence, delay_s)


def run(terms: Terms) -> Report:
    """Kill as often as the terms say."""
    report = Report()
    chance = terms.chance("kills")
    with Victims() as victims:
        wanted = terms.rounds(KILLS, least=len(KINDS))
        ranges = [Range(shelf) for shelf in laid_out(terms.folder, KINDS if wanted > FEW else KINDS[:2])]
        told = 0
        for number in range(wanted * MOST_TRIES):
            if report.counts["kills"] >= wanted or report.broken:
                break
            try:
                one_kill(victims, ranges[number % len(ranges)], chance, report)
            except Hung as hung:
                report.broken.append(str(hung))
            if report.counts["kills"] >= told + TELL_EVERY:
                told = report.counts["kills"]
                terms.say(f"  {told} of {wanted} kills")
    return replace(report, counts=Counter(dict(sorted(report.counts.items()))))


def laid_out(folder: Path, kinds: Iterable[tuple[Architecture | None, Memory]]) -> Iterator[Shelf]:
    """Yield a shelf for each kind of engine; no book lies on it."""
    for model, memory in kinds:
        home = folder / f"{model or 'fake'}-{memory}"
        home.mkdir(mode=0o700)
        book = write_book(folder, chapters(4, 3), f"{home.name}.txt")
        path = str(small_model(folder / f"{model}.gguf", model)) if model else ""
        yield Shelf(Job(str(home), str(book), path, memory, "read"))


def small_model(path: Path, architecture: Architecture) -> Path:
    """Write a model that reads thousands of tokens a second on one core."""
    return write_model(path, architecture, layers=4, embed=128, heads=2, kv_heads=1, feed_forward=256)


def undisturbed(victims: Victims, found: Range, deed: str, report: Report) -> None:
    """Let one victim do a deed to its end, so that later ones can be aimed at; the first one reads."""
    for needed in ("read", deed):
        if needed not in found.lives:
            prepare(found.shelf, needed)
            found.lives[needed] = heard = victims.hunt(found.job(needed, random.Random(0)))
            found.shelf.listen(heard)
            report.broken += Aftermath(found.shelf, heard, needed, Counter()).examine()


def prepare(shelf: Shelf, deed: str) -> None:
    """Make the shelf, on which the book is read, what a deed finds: empty for a reading, or with a damaged state."""
    states = shelf.library().states
    for folder in states.all():
        if deed == "read":
            states.delete(folder)
        elif deed == "damaged":
            state = folder.manifest().state
            assert state is not None, "the book is read"
            with (folder.path / state.name).open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                last = file.read(1)[0]
                file.seek(-1, os.SEEK_END)
                file.write(bytes([last ^ 1]))


def make_new(shelf: Shelf, deed: str) -> None:
    """Take away what an earlier run of the program would have left: its caches, or its chats."""
    folders = locations(shelf.home)
    if deed == "read":
        shutil.rmtree(folders.cache)
    elif deed == "ask":
        shelf.messages.clear()
        for file in folders.data.glob(f"{folders.sessions_db.name}*"):
            file.unlink()


def one_kill(victims: Victims, found: Range, chance: random.Random, report: Report) -> None:
    """Kill one victim, or two in a row, and look at what is left."""
    shelf = found.shelf
    (deed,) = chance.choices(list(DEEDS), list(DEEDS.values()))
    undisturbed(victims, found, deed, report)
    prepare(shelf, deed)
    if chance.random() < NEW_SHARE:
        make_new(shelf, deed)
    # A reading that goes on after a kill may be killed again before anybody looks.
    for _ in range(chance.choice((1, 1, 2)) if deed == "read" else 1):
        aim = found.aim(deed, chance)
        job = replace(found.job(deed, chance), die_at=aim.step)
        heard = victims.hunt(job, aim)
        shelf.listen(heard)
        report.counts["kills"] += bool(heard.killed)
        report.counts["victims that were done before"] += not heard.killed
        if heard.killed:
            report.counts[f"kills of the {aim.target}, {shelf.home.name}"] += 1
            report.counts[f"kills of the {aim.target}: {deed}, {heard.killed}"] += 1
    broken = Aftermath(shelf, heard, deed, report.counts).examine()
    report.broken += [
        f"{sentence} ({shelf.home.name}, {job}, {aim}, killed in {heard.killed!r})" for sentence in broken
    ]


PART = Part("kills", "SIGKILL of the program and of its engine at every phase of its work", run)
