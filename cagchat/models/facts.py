"""What identifies a model: read from its file once, then remembered until the file changes.

A saved state is valid only for the weights that made it, and only a digest over all of them tells which those were. To
read 20 GB takes seconds at best, so the digest is kept beside what the file system says about the file.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cagchat.errors import ModelError, StorageError
from cagchat.files import private_folder, storage_errors, write_bytes
from cagchat.models.gguf import Header, mapped, read_any_header, read_header

PIECE_BYTES = 4 << 20
FORMAT = 2  # of the cache file; another one is ignored and replaced

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as plans, prompts and states need to know it; `size_bytes` counts every part of a split model.

    `tensor_digest` is the xxh3_128 (hexadecimal) of all bytes from the start of the tensor data on,
    `meaning_digest` that of the metadata that changes what they compute.
    """

    path: Path
    name: str
    architecture: str
    tensor_digest: str
    meaning_digest: str
    chat_template: str
    context_length: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file does."""

    path: str
    size_bytes: int
    changed_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Facts, and the files they were read from as these were then."""

    files: tuple[Stamp, ...]
    facts: ModelFacts


def unheard(done_bytes: int, total_bytes: int) -> None:
    """Take progress that nobody asked for."""


def facts(path: Path, cache_file: Path, progress: Progress = unheard) -> ModelFacts:
    """Return the facts about the model at `path`, from `cache_file` as long as the model's files stay the same.

    `progress` hears the bytes read so far and in all when they are not. Where the disk does not take the cache, the
    model is read again next time. Raises `ModelError`.
    """
    path = path.absolute()
    known = read_entries(cache_file).get(str(path))
    if known and known.files == stamps(Path(file.path) for file in known.files):
        return known.facts
    header = read_header(path)
    before = stamps(header.part_paths)
    fresh = read_facts(header, progress)
    if before != stamps(header.part_paths):
        raise ModelError(f"{path} changed while it was read.", "Wait until it is complete, then try again.")
    with suppress(StorageError):
        remember(cache_file, Entry(before, fresh))
    return fresh


def read_facts(header: Header, progress: Progress = unheard) -> ModelFacts:
    """Read every byte of the tensors of a model, which may be split into several files."""
    import xxhash

    parts = [header, *map(read_any_header, header.part_paths[1:])]
    digest, done = xxhash.xxh3_128(), 0
    total = sum(part.size_bytes - part.data_offset for part in parts)
    for part in parts:
        with mapped(part.path) as data, memoryview(data) as view:
            for start in range(part.data_offset, len(view), PIECE_BYTES):
                end = min(start + PIECE_BYTES, len(view))
                with view[start:end] as piece:
                    digest.update(piece)
                _give_back(data, start, end)
                done += end - start
                progress(done, total)
    return ModelFacts(
        path=header.path,
        name=header.name,
        architecture=header.architecture,
        tensor_digest=digest.hexdigest(),
        meaning_digest=header.meaning_digest,
        chat_template=header.chat_template,
        context_length=header.context_length,
        size_bytes=sum(part.size_bytes for part in parts),
    )


def _give_back(data: bytes | mmap.mmap, start: int, end: int) -> None:
    """Give mapped pages back to the kernel, which has to keep them otherwise until it looks for memory: 20 GB of them.

    They stay in the system's page cache, where llama.cpp finds them when it maps the same file.
    """
    if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        start -= start % mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, start, end - start)


def stamps(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    """Return the stamp of each file that is there."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except (OSError, ValueError):  # ValueError: a damaged cache may hold a path that no system accepts
            continue
        found.append(Stamp(str(path), status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(found)


def read_entries(cache_file: Path) -> dict[str, Entry]:
    """Read what is remembered, by path; whatever is damaged in the file is as if it were not there."""
    try:
        content = json.loads(cache_file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    match content:
        case {"format": int(number), "check": str(check), "models": [*models]} if number == FORMAT:
            if check != check_of(models):
                return {}
            entries = [entry for entry in map(parse_entry, models) if entry]
            return {str(entry.facts.path): entry for entry in entries}
    return {}


def check_of(models: Sequence[object]) -> str:
    """Return the digest that finds a flipped bit in what is remembered: a model would have another template, say."""
    import xxhash

    return str(xxhash.xxh3_128_hexdigest(json.dumps(models, sort_keys=True).encode()))


def parse_entry(content: object) -> Entry | None:
    """Return an entry as read from JSON, None when a field is missing or of another type."""
    match content:
        case {
            "files": [_, *_] as files,
            "facts": {
                "path": str(path),
                "name": str(name),
                "architecture": str(architecture),
                "tensor_digest": str(digest),
                "meaning_digest": str(meaning),
                "chat_template": str(template),
                "context_length": int(context_length),
                "size_bytes": int(size_bytes),
            },
        }:
            parsed = tuple(stamp for stamp in map(parse_stamp, files) if stamp)
            if len(parsed) == len(files):
                facts = ModelFacts(
                    Path(path), name, architecture, digest, meaning, template, context_length, size_bytes
                )
                return Entry(parsed, facts)
    return None


def parse_stamp(content: object) -> Stamp | None:
    """Return a stamp as read from JSON, None when a field is missing or of another type."""
    match content:
        case {"path": str(path), "size_bytes": int(size), "changed_ns": int(changed), "inode": int(inode)}:
            return Stamp(path, size, changed, inode)
    return None


def remember(cache_file: Path, entry: Entry) -> None:
    """Add an entry to the cache file; the lock keeps what another process adds at the same time.

    Raises `StorageError`.
    """
    from filelock import FileLock  # 16 ms

    private_folder(cache_file.parent)
    with storage_errors(cache_file), FileLock(cache_file.with_name(f"{cache_file.name}.lock"), mode=0o600):
        entries = read_entries(cache_file) | {str(entry.facts.path): entry}
        models = [{"files": [asdict(file) for file in e.files], "facts": jsonable(e.facts)} for e in entries.values()]
        content = {"format": FORMAT, "check": check_of(models), "models": models}
        write_bytes(cache_file, json.dumps(content, indent=1).encode())


def jsonable(facts: ModelFacts) -> dict[str, object]:
    """Return the facts as JSON can hold them."""
    return {**asdict(facts), "path": str(facts.path)}
