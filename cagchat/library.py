"""Prepare a book: restore its state, resume an interrupted reading, or read it, and say what is happening.

restore    the state is sealed and its key fits: load it, check it, prove it
resume     a checkpoint exists: load it and go on at that token
prefill    read the book from the start, with checkpoints and, for models that cannot be cut, boundaries
"""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from cagchat import documents
from cagchat.context import beginning, check_fits, context_for
from cagchat.documents import Document
from cagchat.engine.backend import Backend
from cagchat.engine.protocol import BOOK, EngineSettings, RopeSettings, Transfer
from cagchat.engine.rotation import rotated
from cagchat.errors import EngineDied, StateDamaged, StateMismatch, Stopped, StorageError
from cagchat.events import Notice, Opening, Planned, PrepareEvent, Ready
from cagchat.files import is_leftover, private_folder, write_bytes
from cagchat.locations import Locations
from cagchat.models.facts import ModelFacts
from cagchat.opened import OpenBook, restore
from cagchat.prompt import PROMPT_VERSION, Prefix, frame, instructions_digest, template_digest, tokenize_prefix
from cagchat.proof import size
from cagchat.reading import Reader, files_of, stopped
from cagchat.settings import Settings
from cagchat.states.key import FORMAT_VERSION, StateKey, mismatch
from cagchat.states.lock import acquire, named_holder
from cagchat.states.manifest import BookRecord, Manifest
from cagchat.states.store import StateFolder, States, digest_of

if TYPE_CHECKING:
    pass

LOADER_VERSION = 1  # raise it when the loaders make another text of the same bytes

Preparing = Generator[PrepareEvent, None, "OpenBook | None"]


@dataclass(frozen=True, slots=True)
class Options:
    """What one opening of a book may ask for beside the settings.

    `truncate` reads only as much of the book as fits; with `reread` off, a state that does not fit is an error
    instead of a reason to read again.
    """

    truncate: bool = False
    reread: bool = True


@dataclass(slots=True)
class Job:
    """One book on its way to being open; `document` is parsed only when it has to be read."""

    path: Path
    content: bytes
    title: str
    digest: str
    document: Document | None
    model: ModelFacts
    folder: StateFolder
    options: Options

    def parsed(self) -> Document:
        """Return the document, parsing it the first time."""
        if self.document is None:
            self.document = documents.parse(self.content, str(self.path))
        return self.document


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
        self._documents = locations.cache / "documents"
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

    def prepare(self, path: Path, options: Options | None = None) -> Iterator[PrepareEvent]:
        """Open the book at `path`; the last event is `Ready`.

        Raises the errors of `cagchat.errors`, and `Stopped` after `stop`.
        """
        self._stopping.clear()
        job = self._job(path, options or Options())
        book = yield from self._restore(job, locked=False)
        if book is None:
            book = yield from self._read(job)
        try:
            if self._stopping.is_set():  # too late to interrupt a restore or a sealing, but not to say so
                raise Stopped("Stopped.", "The same command opens the book at once.")
            if book.manifest.state is not None:
                with suppress(StorageError):  # when it was last used matters to `prune` only
                    job.folder.touch()
            yield from self._over_budget()
        except BaseException:
            book.close()
            raise
        yield Ready(book)

    # -- what the book and its state are ---------------------------------------------------------------------------

    def _job(self, path: Path, options: Options) -> Job:
        content = documents.read(path)
        model = self._backend.model(self.settings)
        title, digest, document = self._identify(path, content)
        # What a reader would call "this book with this model and these settings"; the key checks the rest.
        parts = (digest, model.path.name, self.settings.kv_type)
        folder = self._known(self.states.folder(title, "\n".join((*parts, "whole"))))
        if options.truncate and not folder.exists():
            folder = self._known(self.states.folder(title, "\n".join((*parts, "truncated"))))
        return Job(path.expanduser().absolute(), content, title, digest, document, model, folder, options)

    def _known(self, folder: StateFolder) -> StateFolder:
        """Return the folder of the same words under another title (one taken from the file's name), if there is one."""
        if not folder.exists():
            identity = folder.name.rpartition("-")[2]
            for other in self.states.all():
                if other.name.rpartition("-")[2] == identity and other.exists():
                    return other
        return folder

    def _identify(self, path: Path, content: bytes) -> tuple[str, str, Document | None]:
        """Return the book's title and digest, remembered by the bytes of its file so that reopening parses nothing."""
        known = self._documents / f"{xxhash.xxh3_128_hexdigest(content)}-{LOADER_VERSION}.json"
        try:
            sheet = json.loads(known.read_bytes())
            return str(sheet["title"]), str(sheet["digest"]), None
        except (OSError, ValueError, TypeError, KeyError):
            document = documents.parse(content, str(path))
            with suppress(StorageError):  # without it the next opening parses again, no more
                sweep(private_folder(known.parent))
                write_bytes(known, json.dumps({"title": document.title, "digest": document.digest}).encode())
            return document.title, document.digest, document

    def _key(self, job: Job, tokens: array[int]) -> StateKey:
        rope = RopeSettings()
        return StateKey(
            format_version=FORMAT_VERSION,
            prompt_version=PROMPT_VERSION,
            model_weights=job.model.tensor_digest,
            model_metadata=job.model.meaning_digest,
            chat_template=template_digest(job.model.chat_template),
            instructions=instructions_digest(self.settings.instructions),
            token_ids=digest_of(tokens),
            n_tokens=len(tokens),
            kv_type=self.settings.kv_type,
            flash_attention=True,
            yarn_factor=rope.yarn_factor,
            yarn_original_context=rope.yarn_original_context,
            rotated_kv=rotated(self.settings.kv_type),
        )

    def _trusted(self, job: Job) -> Manifest:
        """Return the folder's manifest if its state may be used. Raises `StateDamaged` or `StateMismatch`."""
        manifest = job.folder.manifest()
        problem = mismatch(manifest.key, self._key(job, job.folder.tokens()))
        if problem is not None:
            raise problem
        if sha256(job.folder.text().encode()).hexdigest() != manifest.book.digest:
            raise StateDamaged(
                f"{job.folder.book_path} is damaged: it is not the text that was read.",
                "The book has to be read again; the damaged folder is set aside, not deleted.",
            )
        return manifest

    def _engine_settings(self, n_tokens: int, model: ModelFacts) -> EngineSettings:
        return EngineSettings(
            model=model.path,
            n_context=context_for(n_tokens, self.settings.chat_tokens, model.context_length),
            n_batch=self.settings.batch,
            kv_type=self.settings.kv_type,
            threads=self.settings.threads,
            gpu_layers=self.settings.gpu_layers,
        )

    # -- restoring -------------------------------------------------------------------------------------------------

    def _restore(self, job: Job, *, locked: bool) -> Preparing:
        """Open a sealed state; None when the book has to be read.

        Only who holds the lock may set a folder aside: without it, another process may be reading into it.
        """
        if not job.folder.exists():
            return None
        try:
            manifest = self._trusted(job)
            if manifest.state is None:
                return None
            return (yield from self._open_sealed(job, manifest))
        except (StateDamaged, StateMismatch) as problem:
            if not job.options.reread:
                raise
            if locked:
                aside = job.folder.set_aside(problem.message)
                yield Notice(f"{problem.message} It is set aside as {aside.name}, and the book is read again.")
            return None

    def _open_sealed(self, job: Job, manifest: Manifest) -> Preparing:
        notices: list[str] = []
        engine = self._backend.open_engine(self._engine_settings(manifest.n_tokens, job.model), notices.append)
        try:
            yield Opening(manifest.book.title, manifest.n_tokens)
            restored = restore(engine, job.folder, manifest, manifest.state)
            manifest = self._proved(job.folder, manifest, engine.info.build, notices)
            self._tidy(job.folder, manifest)
            for sentence in notices:
                yield Notice(sentence)
            book = OpenBook(job.folder, manifest, engine, self._backend)
            book.restored(Transfer(restored.size_bytes, restored.elapsed_s))
            yield restored
            return book
        except EngineDied as died:
            sentence = self._backend.crashed(engine, died)
            engine.close()
            if not sentence:
                raise
            yield Notice(sentence)
            return (yield from self._open_sealed(job, manifest))
        except BaseException:
            engine.close()
            raise

    def _proved(self, folder: StateFolder, manifest: Manifest, build: str, notices: list[str]) -> Manifest:
        """Record a build, other than the one that made the state, with which the probe agrees."""
        if build == manifest.build:
            return manifest
        notices.append("The state was made by another build of llama.cpp; its probe agrees, so it is used.")
        manifest = replace(manifest, build=build)
        with suppress(StorageError):  # then it is proved again next time
            folder.write_manifest(manifest)
        return manifest

    def _tidy(self, folder: StateFolder, manifest: Manifest) -> None:
        """Delete what a process that was killed at the moment of sealing has left, unless another one is at work."""
        keep = files_of(manifest)
        known = keep | {folder.tokens_path.name}
        with suppress(OSError):  # a Timeout of the lock is one too
            files = list(folder.path.iterdir())
            if any(is_leftover(file) or (file.suffix == ".bin" and file.name not in known) for file in files):
                from filelock import FileLock  # 70 ms

                with FileLock(folder.lock_path, timeout=0, mode=0o600):
                    folder.drop_files(keep)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, job: Job) -> Generator[PrepareEvent, None, OpenBook]:
        private_folder(self.states.root)
        lock = yield from acquire(job.folder, job.title, self._stopping)
        try:
            sweep(self.states.root)
            with named_holder(job.folder):
                return (yield from self._read_locked(job))
        finally:
            lock.release()

    def _read_locked(self, job: Job) -> Generator[PrepareEvent, None, OpenBook]:
        book = yield from self._restore(job, locked=True)  # the process that was waited for may have sealed it
        if book is not None:
            return book
        if job.folder.exists():
            manifest, tokens = job.folder.manifest(), job.folder.tokens()
        else:
            manifest, tokens = yield from self._begin(job)
        settings = self._engine_settings(len(tokens), job.model)
        yield Planned(manifest.book.title, len(tokens), settings.n_context, manifest.model_name, settings.kv_type)
        return (yield from self._read_with_engine(job, manifest, tokens, settings))

    def _begin(self, job: Job) -> Generator[PrepareEvent, None, tuple[Manifest, array[int]]]:
        """Tokenise the book and write down what is about to be read."""
        document = job.parsed()
        for note in document.notes:
            yield Notice(note)
        with closing(self._backend.open_tokenizer(job.model.path)) as tokenizer:
            words = tokenizer.vocabulary
            pieces = frame(
                job.model.chat_template,
                bos=words.bos_text,
                eos=words.eos_text,
                add_bos=words.add_bos,
                instructions=self.settings.instructions,
            )
            prefix = tokenize_prefix(pieces, [document.text[s.start : s.end] for s in document.sections], tokenizer)
        if pieces.notice:
            yield Notice(pieces.notice)
        fitted = self._fitted(prefix, job)
        if len(fitted.tokens) < len(prefix.tokens):
            left_out = len(prefix.tokens) - len(fitted.tokens)
            yield Notice(f"Only the beginning fits: the last {left_out:,} tokens of the book are left out.")
        manifest = Manifest(
            key=self._key(job, fitted.tokens),
            model_name=job.model.path.stem,
            model_path=str(job.model.path),
            memory="",
            build="",
            frame=pieces,
            n_head=fitted.n_head,
            book=BookRecord(
                title=document.title,
                author=document.author,
                path=str(job.path),
                digest=job.digest,
                kind=document.kind,
                n_characters=len(document.text),
                sections=tuple((s.title, s.start, s.end, s.level) for s in document.sections),
                section_tokens=fitted.section_ends,
                truncated=len(fitted.tokens) < len(prefix.tokens),
            ),
            created_at=self._clock(),
        )
        job.folder.create(document.text, fitted.tokens)
        job.folder.write_manifest(manifest)
        return manifest, fitted.tokens

    def _fitted(self, prefix: Prefix, job: Job) -> Prefix:
        """Return the prefix, or its beginning when that was asked for and the whole does not fit."""
        label, trained = job.model.path.stem, job.model.context_length
        if job.options.truncate:
            return beginning(prefix, self.settings.chat_tokens, trained)
        check_fits(job.title, len(prefix.tokens), self.settings.chat_tokens, label, trained)
        return prefix

    def _read_with_engine(
        self, job: Job, manifest: Manifest, tokens: array[int], settings: EngineSettings
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
                job.folder,
                manifest,
                engine,
                checkpoint_share=self.settings.checkpoint_share,
                most_boundaries=self.settings.boundaries,
                timer=self._timer,
            )
            if self._stopping.is_set():
                reader.stop()
            yield from reader.read(tokens)
        except EngineDied as died:
            sentence = self._backend.crashed(engine, died)
            engine.close()
            if sentence:
                yield Notice(sentence)
                return (yield from self._read_with_engine(job, job.folder.manifest(), tokens, settings))
            died.hint = f"Run the same command again: it goes on at token {job.folder.manifest().position:,}."
            raise
        except BaseException:
            engine.close()
            raise
        finally:
            self._reader = None
        book = OpenBook(job.folder, reader.manifest, engine, self._backend)
        book.just_read = True
        return book

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
