"""Damage: one file of a read book cut, changed in one bit, emptied, lost or exchanged; then it is opened and asked.

Each time the answer must be the known one, with its proof, or the damaged file must be named: in a refusal that leaves
everything as it is, or in a notice before the book is read again, with what was set aside still there.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

from cagchat.errors import StateError
from cagchat.passages.index import unsealed
from tests.torture.lent import watched
from tests.torture.shelves import KINDS, Seen, Shelf, kind_of, shelves
from tests.torture.trial import Part, Report, Terms

FULL = 1000

Way = Literal["flip", "cut", "empty", "lose", "swap"]
WAYS: tuple[Way, ...] = ("flip", "flip", "flip", "cut", "flip", "cut", "swap", "flip", "empty", "flip", "cut", "lose")


def donors(shelf: Shelf, file: Path) -> list[Path]:
    """Return files of another book that could stand in a file's place; none for chats, which are of all books."""
    kind = kind_of(shelf.home / file)
    others = (path for path in sorted(shelf.other.rglob("*")) if path.is_file() and kind_of(path) == kind)
    return list(others) if kind != "sessions" else []


def harm(shelf: Shelf, file: Path, way: Way, chance: random.Random) -> str:
    """Damage a file of the home and return where, for a person."""
    path = shelf.home / file
    content = bytearray(path.read_bytes())
    if way == "lose":
        path.unlink()
        return "lost"
    if way == "swap":
        path.write_bytes(donors(shelf, file)[-1].read_bytes())
        return "exchanged"
    if way == "flip":
        place = chance.randrange(8 * len(content))
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        return f"bit {place % 8} of byte {place // 8:,} of {len(content):,}"
    length = chance.randrange(len(content)) if way == "cut" else 0
    path.write_bytes(content[:length])
    return f"cut to {length:,} of {len(content):,} bytes"


def judge(shelf: Shelf, file: Path, damaged: bytes | None, seen: Seen) -> tuple[str, list[str]]:
    """Return what an opening came to, and which promises it broke."""
    kind, known = kind_of(shelf.home / file), shelf.known
    said = file.name in seen.words
    named = said or (kind == "sheet" and not seen.error)
    if seen.error is not None:
        wrong = [] if named else [f"a refusal that does not name it: {seen.error.message}"]
        wrong += [] if seen.error.hint else [f"a refusal without a hint: {seen.error.message}"]
        wrong += lost(shelf, damaged, kind)
        if isinstance(seen.error, StateError) and changed(shelf, file):
            wrong.append("a refusal that changed the folder")
        return "refused", wrong
    others = [chat for chat, answered in seen.answers.items() if answered != known.answers[chat]]
    wrong = [f"{chat} answers otherwise" for chat in others if chat != "the old chat" or seen.turns == known.turns]
    # Where a turn is missing those after it have other numbers, and the chat counts less of them.
    numbered = [[replace(turn, number=0) for turn in turns] for turns in (seen.turns, known.turns)]
    counted = [[replace(chat, n_turns=0) for chat in chats] for chats in (seen.sessions, known.sessions)]
    wrong += [f"a turn that nobody wrote: {turn}" for turn in strangers(*numbered)]
    wrong += [f"a chat that nobody began: {chat}" for chat in strangers(*counted)]
    chats_lost = seen.turns != known.turns or seen.sessions != known.sessions
    if chats_lost and not (named or damaged is None):
        wrong.append("chats are missing and nobody said so")
    if seen.evaluated > known.evaluated and not seen.reading:
        wrong.append(f"{seen.evaluated} tokens of the book were read again in secret")
    again = seen.evaluated > known.evaluated
    if again and not named:
        wrong.append(f"read again without a reason that names it: {seen.words}")
    if named or again:
        wrong += lost(shelf, damaged, kind)
    if kind == "passages" and not all(unsealed(path.read_bytes()) for path in shelf.home.rglob("passages")):
        wrong.append("the index was not built again")
    if again:
        return "read again", wrong
    return ("mended and said" if said else "the same answer"), wrong


def strangers(found: Iterable[object], known: Iterable[object]) -> list[object]:
    """Return what is not among what is known."""
    return [one for one in found if one not in list(known)]


def lost(shelf: Shelf, damaged: bytes | None, kind: str) -> list[str]:
    """Return the broken promise if the damaged file is nowhere any more; what can be made again need not be kept."""
    if damaged is None or kind in ("passages", "sheet"):
        return []
    kept = any(path.is_file() and path.read_bytes() == damaged for path in shelf.home.rglob("*"))
    return [] if kept else ["the damaged file was deleted"]


def changed(shelf: Shelf, damaged: Path) -> bool:
    """Tell whether a file of a state, other than the damaged one, is not as it was."""
    return any(
        not (shelf.home / path).exists() or (shelf.home / path).read_bytes() != (shelf.good / path).read_bytes()
        for paths in shelf.files().values()
        for path in paths
        if path != damaged and path.parent.parent.name == "states"
    )


def trial(shelf: Shelf, file: Path, way: Way, chance: random.Random, report: Report) -> None:
    """Damage one file and see what comes of it."""
    shelf.renew()
    if way == "swap" and not donors(shelf, file):
        way = "cut"
    where = harm(shelf, file, way, chance)
    path = shelf.home / file
    damaged = path.read_bytes() if path.exists() else None
    reread = chance.random() < 0.7
    future = watched(lambda: shelf.look(kind_of(path), reread=reread))
    what = f"{shelf.name}, {file.name}, {where}"
    report.counts[f"{kind_of(path)}: {way}"] += 1
    if not future.done():
        report.broken.append(f"{what}: it hangs")
    elif (error := future.exception()) is not None:
        report.broken.append(f"{what}: {type(error).__name__}: {error}")
    else:
        outcome, wrong = judge(shelf, file, damaged, future.result())
        report.counts[f"-> {outcome}"] += 1
        report.broken += [f"{what}: {sentence}" for sentence in wrong]


def run(terms: Terms) -> Report:
    """Damage as many files as the terms say."""
    report, chance = Report(), terms.chance("damage")
    made = shelves(terms.folder)
    targets = [(shelf, kind, files) for kind in KINDS for shelf in made if (files := shelf.files().get(kind))]
    rounds = terms.rounds(FULL)
    for number, (shelf, _, files) in enumerate(islice(cycle(targets), rounds)):
        trial(shelf, chance.choice(files), WAYS[number // len(targets) % len(WAYS)], chance, report)
        if (number + 1) % 100 == 0:
            terms.say(f"  {number + 1} of {rounds}, {len(report.broken)} promises broken")
    for backend in dict.fromkeys(shelf.backend for shelf in made):
        report.counts["engines that died"] += backend.deaths
        backend.end()
    return report


PART = Part("damage", "files truncated, flipped in one bit, lost or exchanged: named, never believed", run)
