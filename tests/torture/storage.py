"""Storage: a disk that refuses at every file operation, folders removed meanwhile, a small disk, a jumping clock.

Afterwards there was at most an error of ours with a hint, what was there before is there still, and the next opening
works and leaves no temporary file.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from cagchat.bench.synth import write_model
from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.errors import CagchatError
from cagchat.states.store import DELETING
from tests.reading_cases import locations, partials
from tests.torture.clocks import jump
from tests.torture.faults import Faults, codes_of, unsynced
from tests.torture.lent import Lender, watched
from tests.torture.trial import Part, Report, Terms
from tests.torture.writers import EVERYWHERE, MEMORIES, ONCE, SETTINGS, Base, Event, Operation, ask, base_of

TMPFS_KIB = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)
JUMPS = 300


def outcome(work: Callable[[], object], wrong: list[str]) -> str:
    """Do something and return what came of it; add what must not be."""
    future = watched(work)
    if not future.done():
        wrong.append("it hangs")
        return "hung"
    error = future.exception()
    if error is None:
        return "went on"
    if not isinstance(error, CagchatError):
        wrong.append(f"{type(error).__name__}: {error}")
    elif not error.hint:
        wrong.append(f"an error without a hint: {error}")
    return "refused"


def kept(base: Base, operation: Operation, wrong: list[str]) -> None:
    """Check that what was there before is there still; what was to be deleted is there whole, or gone."""
    place = base.place
    if operation.before == "sealed" and operation.deletes != "states":
        files = (path for path in place.states.root.rglob("state-*.bin"))
        if not any(path.read_bytes() == base.state for path in files):
            wrong.append("the saved state is gone")
    if operation.before == "begun":
        positions = [folder.manifest().position for folder in place.states.all()]
        if max(positions, default=0) < base.position and not place.states.aside():
            wrong.append(f"the checkpoint is gone: {positions}")
    if operation.before != "empty":
        with place.sessions() as sessions:
            chats = sessions.list()
            turns = sessions.turns(chats[-1].id)[: len(base.turns)] if chats else []
            if sessions.notice or (turns != base.turns and not (operation.deletes == "chats" and not turns)):
                wrong.append(f"the chat is not what it was: {sessions.notice} {turns}")


def works_again(base: Base, operation: Operation, wrong: list[str]) -> None:
    """Check that the next run of the operation, and a question, work on a disk that takes everything."""
    if operation in ONCE and outcome(lambda: operation.work(base.place), wrong) != "went on":
        wrong.append("it does not work once more")
    answers: list[str] = []
    if outcome(lambda: answers.extend(ask(base.place)), wrong) != "went on":
        wrong.append("the next opening does not work")
    elif answers != base.answers:
        wrong.append(f"the next answers are others: {answers}")
    home = base.place.home
    if left := [*partials(home), *home.rglob(f"{DELETING}*")]:
        wrong.append(f"temporary files stay: {[path.name for path in left]}")


def refused_once(base: Base, operation: Operation, number: int, code: int, report: Report) -> None:
    """Let one file operation fail."""
    place, wrong = base.laid_out(operation.before), list[str]()
    faults = Faults(place.home, number, code)
    with faults.at_work():
        result = outcome(lambda: operation.work(place), wrong)
    if not faults.struck:
        return
    report.counts[f"faults while: {operation.name}"] += 1
    report.counts[f"faults of: {errno.errorcode[code]}"] += 1
    report.counts[f"-> {result}"] += 1
    kept(base, operation, wrong)
    works_again(base, operation, wrong)
    where = f"{operation.name} ({base.place.home.parent.name}), {errno.errorcode[code]} at {number}: {faults.struck}"
    report.broken += [f"{where}: {sentence}" for sentence in wrong]


def met_by(base: Base, operation: Operation) -> list[str]:
    """Return the file operations that something takes."""
    faults = Faults(base.laid_out(operation.before).home)
    with faults.at_work():
        operation.work(base.place)
    return faults.met


def removed_meanwhile(base: Base, operation: Operation, target: str, number: int, report: Report) -> bool:
    """Remove a folder after an event; return whether there were so many."""
    place, wrong = base.laid_out(operation.before), list[str]()
    events = count(1)
    removed = []

    def watch(event: Event) -> None:
        if next(events) == number:
            removed.append(event)
            for folder in place.home.glob(target):
                if folder.is_dir():
                    shutil.rmtree(folder)

    result = outcome(lambda: operation.work(replace(place, watch=watch)), wrong)
    if removed:
        report.counts[f"removed: {target}"] += 1
        report.counts[f"-> {result}"] += 1
        works_again(base, operation, wrong)
        where = f"{operation.name}, {target} removed after event {number}, {type(removed[0]).__name__}"
        report.broken += [f"{where}: {sentence}" for sentence in wrong]
    return bool(removed)


def small_disk(base: Base, size_kib: int, report: Report) -> None:
    """Read and ask on a disk of so many kibibytes, then on a larger one."""
    place, wrong = base.laid_out("empty"), list[str]()
    if not mounted("-t", "tmpfs", "-o", f"size={size_kib}k,mode=0700", "cagchat-torture", str(place.home)):
        report.counts["no small disk can be mounted here"] += 1
        return
    try:
        result = outcome(lambda: ask(place), wrong)
        report.counts[f"small disk -> {result}"] += 1
        mounted("-o", "remount,size=64m", str(place.home))
        works_again(base, EVERYWHERE[0], wrong)
    finally:
        subprocess.run(["umount", str(place.home)], check=True, capture_output=True)
    report.broken += [f"a disk of {size_kib} KiB: {sentence}" for sentence in wrong]


def mounted(*arguments: str) -> bool:
    """Mount a file system; False where that is not allowed or there is no such command."""
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


def run(terms: Terms) -> Report:
    """Let storage fail as often as the terms say."""
    report = Report()
    with unsynced():
        fail_all(terms, report)
    return report


def fail_all(terms: Terms, report: Report) -> None:
    """Try every kind of failure."""
    chance = terms.chance("storage")
    write_model(terms.folder / "model.gguf", "qwen3", layers=2, embed=64, heads=1, kv_heads=1, feed_forward=128)
    bases = [base_of(terms.folder / memory, FakeBackend(FakeScript(memory=memory))) for memory in MEMORIES]
    for base in bases:
        shutil.copy(terms.folder / "model.gguf", base.place.home.parent)
    work = [(base, operation) for base in bases for operation in EVERYWHERE] + [(bases[0], one) for one in ONCE]
    cases = [(*one, n, code) for one in work for n, what in enumerate(met_by(*one), 1) for code in codes_of(what)]
    for base, operation, number, code in chance.sample(cases, terms.rounds(len(cases))):
        refused_once(base, operation, number, code, report)
    terms.say(f"  {len(cases)} places to refuse, {len(report.broken)} promises broken")
    for base in bases:
        for operation in (EVERYWHERE[0], EVERYWHERE[1], EVERYWHERE[3]):
            for target in ("data/states/*", "data/states", "data", "cache", "*"):
                for number in count(1):
                    if chance.random() < terms.share and not removed_meanwhile(base, operation, target, number, report):
                        break
                    if number > 100:
                        break
    terms.say(f"  folders removed, {len(report.broken)} promises broken")
    jump(terms.folder / "clock", terms.rounds(JUMPS, least=10), chance, report)
    real = Lender(locations(terms.folder / "shared"))
    try:
        disks = base_of(terms.folder / "disk", real, replace(SETTINGS, model=str(terms.folder / "model.gguf")))
        for size_kib in chance.sample(TMPFS_KIB, terms.rounds(len(TMPFS_KIB))):
            small_disk(disks, size_kib, report)
    finally:
        real.end()


PART = Part("storage", "disks full, read-only or gone, folders removed, clocks that jump: nothing is lost", run)
