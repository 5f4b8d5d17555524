"""Prepare a book: restore its state, resume an interrupted reading, or read it, and say what is happening.

restore    the state is sealed and its key fits: load it, check it, prove it
resume     a checkpoint exists: load it and go on at that token
prefill    read the book from the start, with checkpoints and, for models that cannot be cut, boundaries

Which model reads it, and how, is `cagchat.saved`'s for a book that was read before, `cagchat.choosing`'s otherwise.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat import documents
from cagchat.context import beginning
from cagchat.documents import Document, Source
from cagchat.engine.backend import Backend
from cagchat.engine.protocol import BOOK, EngineSettings, Transfer
from cagchat.engine.rotation import rotated
from cagchat.errors import EngineDied, StateDamaged, StateMismatch, Stopped, StorageError
from cagchat.events import Notice, Opening, Planned, PrepareEvent, Reading, Ready
from cagchat.files import is_leftover, private_folder
from cagchat.identities import Identities, Identity
from cagchat.locations import Locations
from cagchat.opened import OpenBook, restore
from cagchat.plan.run import Run
from cagchat.prompt import PROMPT_VERSION, Frame, Prefix, framed, instructions_digest, template_digest
from cagchat.reading import Reader, files_of, stopped
from cagchat.recorded import Recorded
from cagchat.saved import of_book, placed, saved
from cagchat.settings import Settings
from cagchat.states.in_use import Hold
from cagchat.states.key import FORMAT_VERSION, StateKey, identity, mismatch
from cagchat.states.lock import acquire, named_holder
from cagchat.states.manifest import BookRecord, Manifest
from cagchat.states.store import AGAIN, StateFolder, States, digest_of
from cagchat.units import size

if TYPE_CHECKING:
    from cagchat.plan.card import Card
    from cagchat.plan.choose import Option

Preparing = Generator[PrepareEvent, None, "OpenBook | None"]


@dataclass(frozen=True, slots=True)
class Options:
    """What one opening of a book may ask for beside the settings.

    `truncate` reads only as much of the book as fits; with `reread` off, a state that does not fit is an error
    instead of a reason to read again. `password` opens a locked file that was not read before. `check` is called with
    a book that has to be read, before the wait: what it raises saves an hour of reading for nothing.
    """

    truncate: bool = False
    reread: bool = True
    password: str = field(default="", repr=False)
    check: Callable[[Document], None] = lambda document: None


@dataclass(slots=True)
class Job:
    """One book on its way to being open; `document` is parsed only when it has to be read."""

    source: Source
    title: str
    digest: str
    document: Document | None
    options: Options

    def parsed(self) -> Document:
        """Return the document, parsing it the first time."""
        if self.document is None:
            self.document = documents.compose(self.source, self.options.password)
        return self.document


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a book's state is or will be, and with what it is read.

    `option` and `words` are there when that was planned now; `words` are the book in the chosen model's tokens.
    `problem` is why a state that lies elsewhere, and stays there, cannot be used.
    """

    folder: StateFolder
    run: Run
    option: Option | None = None
    reasons: tuple[str, ...] = ()
    words: tuple[Frame, Prefix] | None = None
    problem: StateMismatch | None = None


class Library:
    """The saved states and the way to open books. One book is prepared at a time."""

    def __init__(
        self,
        locations: Locations,
        settings: Settings,
        backend: Backend,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.states = States(locations.states)
        self.settings = settings
        self._data, self._cache = locations.data, locations.cache
        self._identities = Identities.under(locations)
        self._backend = backend
        self._clock = clock
        self._timer = timer
        self._stopping = threading.Event()
        self._reader: Reader | None = None

    def stop(self) -> None:
        """End a running `prepare` soon, keeping what was read. Safe from a signal handler or another thread."""
        self._stopping.set()
        reader = self._reader  # the thread that prepares may take it away between two looks
        if reader is not None:
            reader.stop()

    def prepare(self, wanted: Path | Source | Recorded, options: Options | None = None) -> Iterator[PrepareEvent]:
        """Open a book; the last event is `Ready`.

        It is given as the path of its file or folder, as what was gathered, or as its state records it. Raises the
        errors of `cagchat.errors`, and `Stopped` after `stop`.
        """
        self._stopping.clear()
        self._sweep()
        job = self._job(self._gathered(wanted), options or Options())
        if job.source.notice:
            yield Notice(job.source.notice)
        choice = self._saved(job)
        if choice is None:
            choice = yield from self._plan(job)
        book = yield from self._restore(job, choice, locked=False)
        if book is None:
            job.options.check(job.parsed())
            book = yield from self._read(job, choice)
        try:
            if self._stopping.is_set():  # too late to interrupt a restore or a sealing, but not to say so
                raise Stopped("Stopped.", "The same command opens the book at once.")
            if book.manifest.state is not None:
                with suppress(StorageError):  # when it was last used matters to `prune` only
                    self.states.touch(choice.folder, self._clock())
            yield from self._over_budget()
        except BaseException:
            book.close()
            raise
        yield Ready(book)

    def _sweep(self) -> None:
        """Delete what killed processes have left half written or half deleted."""
        self.states.finish_deleting()
        for folder in (self._data, self.states.root, self._cache, self._identities.folder):
            with suppress(OSError):  # not there yet, or not to be written: what stays there harms nobody
                sweep(folder)

    # -- what the book and its state are ---------------------------------------------------------------------------

    def _gathered(self, wanted: Path | Source | Recorded) -> Source:
        if isinstance(wanted, Recorded):
            return wanted.source(self._identities)
        return wanted if isinstance(wanted, Source) else documents.gather([wanted])

    def _job(self, source: Source, options: Options) -> Job:
        title, digest, document = self._identify(source, options.password)
        return Job(source, title, digest, document, options)

    def _saved(self, job: Job) -> Choice | None:
        """Return the saved state that these settings mean, whatever the plan would choose today."""
        found = saved(self.states, job.title, job.digest, self.settings, self._backend)
        if found is None:
            return None
        if found.problem is None or not job.options.reread:
            return Choice(found.folder, found.run)
        folder = self._folder(job, found.run, truncated=found.truncated)
        return Choice(folder, found.run, problem=found.problem if folder != found.folder else None)

    def _plan(self, job: Job) -> Generator[PrepareEvent, None, Choice]:
        """Choose a model for a book that was not read yet. Raises `BookTooLong` when none holds it."""
        from cagchat.choosing import beginning_of, cut_for, planned, reasons, run_from, too_long

        words: dict[Path | None, tuple[Frame, Prefix]] = {}

        def count(card: Card) -> int:
            if card.path not in words:
                words[card.path] = self._words(job.parsed(), card)
            return len(words[card.path][1].tokens)

        plan = planned(count, self.settings, self._backend)
        option = plan.chosen or (beginning_of(plan, self.settings) if job.options.truncate else None)
        if option is None:
            raise too_long(job.title, plan, self.settings, self._backend.better(plan, self.settings))
        if sentence := self._backend.better(plan, self.settings):
            yield Notice(sentence)
        run = run_from(option, self._backend)
        pieces, prefix = words[option.way.card.path]
        truncated = plan.chosen is None
        if truncated:
            prefix = cut_for(prefix, option, self.settings)
        folder = self._folder(job, run, truncated=truncated)
        chosen: Option | None = option
        with suppress(StateDamaged):  # a state that was read from a model file elsewhere keeps its attention
            attention = folder.manifest().key.flash_attention
            if attention != run.flash_attention:
                run = placed(replace(run, flash_attention=attention), option.n_tokens, self.settings, self._backend)
                chosen = None  # what was planned takes other memory
        return Choice(folder, run, chosen, reasons(plan), (pieces, prefix))

    def _words(self, document: Document, card: Card) -> tuple[Frame, Prefix]:
        """Frame a document with a model's chat template and tokenise it with the model's tokenizer."""
        assert card.path is not None, "only models that are here are planned with"
        with closing(self._backend.open_tokenizer(card.path)) as tokenizer:
            sections = [document.text[section.start : section.end] for section in document.sections]
            return framed(sections, card.chat_template, tokenizer, self.settings.instructions)

    def _again(self, document: Document, run: Run) -> tuple[Frame, Prefix]:
        """Return the words of a book whose state turned out to be useless, for the model that it was read with."""
        (card,) = self._backend.cards(self.settings, run.model.path)
        pieces, prefix = self._words(document, card)
        return pieces, beginning(prefix, self.settings.chat_tokens, run.longest)

    def _folder(self, job: Job, run: Run, *, truncated: bool) -> StateFolder:
        """Return where the state of the book read in this way is, whatever it is called, or will be."""
        switched = identity(self._key(run, array("i")))
        for folder, manifest in of_book(self.states, job.title, job.digest):
            if manifest.book.truncated == truncated and identity(manifest.key) == switched:
                return folder
        parts = (job.digest, switched, "truncated" if truncated else "whole")
        return self._known(self.states.folder(job.title, "\n".join(parts)))

    def _known(self, folder: StateFolder) -> StateFolder:
        """Return the folder of the same words under another title (one taken from the file's name), if there is one."""
        if not folder.exists():
            identity = folder.name.rpartition("-")[2]
            for other in self.states.all():
                if other.name.rpartition("-")[2] == identity and other.exists():
                    return other
        return folder

    def _identify(self, source: Source, password: str) -> tuple[str, str, Document | None]:
        """Return the book's title and digest, remembered by the bytes of its files so that reopening parses nothing."""
        if source.document is not None:
            return source.document.title, source.document.digest, source.document
        known = self._identities.find(source)
        if known is not None:
            return known.title, known.digest, None
        document = documents.compose(source, password)
        self._identities.keep(source, Identity(document.title, document.digest))
        return document.title, document.digest, document

    def _key(self, run: Run, tokens: array[int]) -> StateKey:
        return StateKey(
            format_version=FORMAT_VERSION,
            prompt_version=PROMPT_VERSION,
            model_weights=run.model.tensor_digest,
            model_metadata=run.model.meaning_digest,
            chat_template=template_digest(run.model.chat_template),
            instructions=instructions_digest(self.settings.instructions),
            token_ids=digest_of(tokens),
            n_tokens=len(tokens),
            kv_type=run.kv_type,
            flash_attention=run.flash_attention,
            yarn_factor=run.rope.yarn_factor,
            yarn_original_context=run.rope.yarn_original_context,
            rotated_kv=rotated(run.kv_type),
        )

    def _trusted(self, job: Job, choice: Choice) -> Manifest:
        """Return the folder's manifest if its state may be used. Raises `StateDamaged` or `StateMismatch`."""
        folder = choice.folder
        manifest = folder.manifest()
        if manifest.book.digest != job.digest:
            raise StateDamaged(f"{folder.manifest_path} is damaged: it is about {manifest.book.title}.", AGAIN)
        problem = mismatch(manifest.key, self._key(choice.run, folder.checked_tokens(manifest)))
        if problem is not None:
            raise problem
        folder.checked_text(manifest)
        return manifest

    # -- restoring -------------------------------------------------------------------------------------------------

    def _restore(self, job: Job, choice: Choice, *, locked: bool) -> Preparing:
        """Open a sealed state; None when the book has to be read.

        Only who holds the lock may set a folder aside: without it, another process may be reading into it.
        """
        if not choice.folder.exists():
            return None
        hold, book = Hold(choice.folder.path), None
        try:
            manifest = self._trusted(job, choice)
            if manifest.state is None:
                return None
            book = yield from self._open_sealed(choice, manifest, hold)
            return book
        except (StateDamaged, StateMismatch) as problem:
            if not job.options.reread:
                raise
            if locked:
                aside = choice.folder.set_aside(problem.message)
                yield Notice(f"{problem.message} It is set aside as {aside.name}, and the book is read again.")
            return None
        finally:
            if book is None:
                hold.release()

    def _open_sealed(self, choice: Choice, manifest: Manifest, hold: Hold) -> Preparing:
        notices: list[str] = []
        if manifest.book.truncated:
            notices.append(f"Only the beginning of {manifest.book.title} was read: {manifest.n_tokens:,} tokens.")
        engine = self._backend.open_engine(choice.run.engine_settings(manifest.n_tokens, self.settings), notices.append)
        try:
            yield Opening(manifest.book.title, manifest.n_tokens)
            restored = restore(engine, choice.folder, manifest, manifest.state)
            manifest = self._proved(choice, manifest, engine.info.build, notices)
            self._tidy(choice.folder, manifest)
            for sentence in notices:
                yield Notice(sentence)
            book = OpenBook(choice.folder, manifest, engine, self._backend, hold)
            book.restored(Transfer(restored.size_bytes, restored.elapsed_s))
            yield restored
            return book
        except EngineDied as died:
            sentence = self._backend.crashed(engine, died)
            engine.close()
            if not sentence:
                raise
            yield Notice(sentence)
            return (yield from self._open_sealed(choice, manifest, hold))
        except BaseException:
            engine.close()
            raise

    def _proved(self, choice: Choice, manifest: Manifest, build: str, notices: list[str]) -> Manifest:
        """Record a build with which the probe agrees, and where the model is now, when these were others."""
        present = manifest
        if build != manifest.build:
            notices.append("The state was made by another build of llama.cpp; its probe agrees, so it is used.")
            present = replace(present, build=build)
        model = choice.run.model
        if str(model.path) != manifest.model_path and not Path(manifest.model_path).exists():
            present = replace(present, model_name=model.path.stem, model_path=str(model.path))
        if present != manifest:
            with suppress(StorageError):  # then it is found out again next time
                choice.folder.write_manifest(present)
        return present

    def _tidy(self, folder: StateFolder, manifest: Manifest) -> None:
        """Delete what a process that was killed at the moment of sealing has left, unless another one is at work."""
        keep = files_of(manifest)
        known = keep | {folder.tokens_path.name}
        with suppress(OSError):  # a Timeout of the lock is one too
            files = list(folder.path.iterdir())
            left = any(is_leftover(file) or (file.suffix == ".bin" and file.name not in known) for file in files)
            if left or folder.holder_path.exists():
                from filelock import FileLock  # 70 ms

                with FileLock(folder.lock_path, timeout=0, mode=0o600):
                    folder.drop_files(keep)
                    folder.holder_path.unlink(missing_ok=True)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, job: Job, choice: Choice) -> Generator[PrepareEvent, None, OpenBook]:
        private_folder(self.states.root)
        lock = yield from acquire(choice.folder, job.title, self._stopping)
        try:
            with named_holder(choice.folder):
                return (yield from self._read_locked(job, choice))
        finally:
            lock.release()

    def _read_locked(self, job: Job, choice: Choice) -> Generator[PrepareEvent, None, OpenBook]:
        book = yield from self._restore(job, choice, locked=True)  # the process that was waited for may have sealed it
        if book is not None:
            return book
        if choice.folder.exists():
            manifest = choice.folder.manifest()
            tokens = choice.folder.checked_tokens(manifest)
        else:
            manifest, tokens = yield from self._begin(job, choice)
        settings = choice.run.engine_settings(len(tokens), self.settings)
        yield self._announcement(choice, manifest, settings)
        return (yield from self._read_with_engine(choice, manifest, tokens, settings))

    def _announcement(self, choice: Choice, manifest: Manifest, settings: EngineSettings) -> Planned:
        """Say what is about to be done; a resumed reading was planned when it began."""
        remaining = manifest.n_tokens - manifest.position
        estimate = self._backend.estimate(choice.run, manifest.position, manifest.n_tokens) if remaining else None
        option = choice.option
        return Planned(
            manifest.book.title,
            manifest.n_tokens,
            settings.n_context,
            manifest.model_name,
            settings.kv_type,
            memory_bytes=option.memory.device_bytes + option.memory.host_bytes if option else 0,
            disk_bytes=option.state_bytes if option else 0,
            estimated_s=estimate.seconds if estimate else None,
            reasons=choice.reasons,
        )

    def _begin(self, job: Job, choice: Choice) -> Generator[PrepareEvent, None, tuple[Manifest, array[int]]]:
        """Write down what is about to be read."""
        if choice.problem is not None:
            yield Notice(f"{choice.problem.message} It stays as it is, and the book is read anew beside it.")
        document = job.parsed()
        for note in document.notes:
            yield Notice(note)
        pieces, fitted = choice.words or self._again(document, choice.run)
        if pieces.notice:
            yield Notice(pieces.notice)
        if left_out := fitted.left_out:
            yield Notice(f"Only the beginning fits: the last {left_out:,} tokens of the book are left out.")
        model = choice.run.model
        manifest = Manifest(
            key=self._key(choice.run, fitted.tokens),
            model_name=model.path.stem,
            model_path=str(model.path),
            memory="",
            build="",
            frame=pieces,
            n_head=fitted.n_head,
            book=BookRecord(
                title=document.title,
                author=document.author,
                path=job.source.name,
                digest=job.digest,
                kind=document.kind,
                n_characters=len(document.text),
                sections=tuple((s.title, s.start, s.end, s.level) for s in document.sections),
                section_tokens=fitted.section_ends,
                truncated=bool(left_out),
                language=document.language,
                pages=tuple((page.label, page.start) for page in document.pages),
            ),
            created_at=self._clock(),
        )
        choice.folder.create(document.text, fitted.tokens)
        choice.folder.write_manifest(manifest)
        return manifest, fitted.tokens

    def _read_with_engine(
        self, choice: Choice, manifest: Manifest, tokens: array[int], settings: EngineSettings
    ) -> Generator[PrepareEvent, None, OpenBook]:
        if self._stopping.is_set():
            raise stopped(manifest)
        notices: list[str] = []
        engine = self._backend.open_engine(settings, notices.append)
        try:
            engine.length(BOOK)  # waits until the engine is there, so that what it has to say is said
            for sentence in notices:
                yield Notice(sentence)
            self._reader = reader = Reader(
                self.states,
                choice.folder,
                manifest,
                engine,
                checkpoint_share=self.settings.checkpoint_share,
                most_boundaries=self.settings.boundaries,
                timer=self._timer,
            )
            if self._stopping.is_set():
                reader.stop()
            yield from self._timed(reader.read(tokens), choice.run)
        except EngineDied as died:
            sentence = self._backend.crashed(engine, died)
            engine.close()
            if sentence:
                yield Notice(sentence)
                return (yield from self._read_with_engine(choice, choice.folder.manifest(), tokens, settings))
            if self._reader is not None:  # else it died while it loaded the model, and the reason has a hint of its own
                died.hint = f"Run the same command again: it goes on at token {choice.folder.manifest().position:,}."
            raise
        except BaseException:
            engine.close()
            raise
        finally:
            self._reader = None
        book = OpenBook(choice.folder, reader.manifest, engine, self._backend, Hold(choice.folder.path))
        book.just_read = True
        return book

    def _timed(self, events: Iterator[PrepareEvent], run: Run) -> Iterator[PrepareEvent]:
        """Pass a reading's events on and remember how fast it was, for the next plan's minutes."""
        from cagchat.plan.rates import stretches

        progress: list[tuple[int, float]] = []
        try:
            for event in events:
                if isinstance(event, Reading):
                    progress.append((event.position, event.elapsed_s))
                yield event
        finally:
            with suppress(StorageError):  # then the next plan knows less
                self._backend.observe(run, stretches(progress).values())

    def _over_budget(self) -> Iterator[PrepareEvent]:
        budget = self.settings.disk_budget_gb * 1e9
        taken = sum(folder.size_bytes() for folder in (*self.states.all(), *self.states.aside()))
        if taken > budget:
            yield Notice(
                f"Saved states take {size(taken)}, more than the budget of {size(int(budget))}: "
                "`cagchat library prune` deletes those not used for longest."
            )


def sweep(folder: Path) -> None:
    """Delete the partial files that processes which no longer run have left in a folder."""
    for file in folder.iterdir():
        if is_leftover(file):
            file.unlink(missing_ok=True)
