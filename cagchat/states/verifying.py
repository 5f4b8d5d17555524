"""Whether a saved state's bytes are what was written: every one of them is read, and nothing is changed."""

from __future__ import annotations

import hashlib

from cagchat.engine import blob as blobs
from cagchat.engine.fake import MAGIC as FAKE_MAGIC
from cagchat.engine.pieces import damaged, first_difference, map_existing
from cagchat.engine.protocol import Part
from cagchat.errors import StateDamaged
from cagchat.states.manifest import Manifest, StateFile
from cagchat.states.store import StateFolder


def verify(folder: StateFolder) -> tuple[str, ...]:
    """Read every byte of a state and return what is wrong with it, in sentences; nothing is changed.

    What another process deletes or replaces meanwhile is no damage.
    """
    found, before = problems(folder), None
    while found and folder.path.exists() and (now := content_of(folder)) != before:
        found, before = problems(folder), now
    return found if folder.path.exists() else ()


def content_of(folder: StateFolder) -> bytes:
    """Return the bytes of a state's manifest, which change when anything else in its folder is replaced."""
    try:
        return folder.manifest_path.read_bytes()
    except OSError:
        return b""


def problems(folder: StateFolder) -> tuple[str, ...]:
    """Return what is wrong with a state as it is now."""
    try:
        manifest = folder.manifest()
    except StateDamaged as error:
        return (error.message,)
    files = [file for file in (manifest.state, manifest.checkpoint, *manifest.boundaries) if file is not None]
    found = [check_tokens(folder, manifest), check_text(folder, manifest)]
    found += [check_file(folder, manifest, file, whole=file not in manifest.boundaries) for file in files]
    if manifest.state is not None and manifest.probe is None:
        found.append(f"{folder.manifest_path} records no probe, so the state cannot be proved.")
    return tuple(filter(None, found))


def check_tokens(folder: StateFolder, manifest: Manifest) -> str:
    """Return what is wrong with the token ids, or ""."""
    try:
        folder.checked_tokens(manifest)
    except StateDamaged as error:
        return error.message
    return ""


def check_text(folder: StateFolder, manifest: Manifest) -> str:
    """Return what is wrong with the book's text, or ""."""
    try:
        content = folder.book_path.read_bytes()
    except OSError as error:
        return f"{folder.book_path} cannot be read: {error.strerror}."
    if hashlib.sha256(content).hexdigest() != manifest.book.digest:
        return f"{folder.book_path} does not hold the text that was written."
    return ""


def check_file(folder: StateFolder, manifest: Manifest, file: StateFile, *, whole: bool) -> str:
    """Return what is wrong with a state, a checkpoint (both `whole`) or a boundary, or "": size, bytes, then header."""
    path = folder.path / file.name
    try:
        with map_existing(path, file.blob) as mapped, memoryview(mapped) as view:
            piece = first_difference(view, file.blob)
            if piece is not None:
                return damaged(path, file.blob, piece).message
            with view[: len(FAKE_MAGIC)] as magic:
                if magic == FAKE_MAGIC:
                    return ""
            return check_header(view, manifest, file, whole=whole)
    except StateDamaged as error:
        return error.message


def check_header(view: memoryview, manifest: Manifest, file: StateFile, *, whole: bool) -> str:
    """Return what is wrong with the layout that a file of llama.cpp describes, or ""."""
    table = blobs.FULL_PARTS if whole else blobs.BOUNDARY_PARTS
    kinds = next((kinds for memory, kinds in table.items() if memory == manifest.memory), None)
    if kinds is None:
        return f'{file.name} cannot be checked: the manifest names an unknown memory, "{manifest.memory}".'
    try:
        parts = parse_either(view, kinds, flash_attention=manifest.key.flash_attention)
        if whole:
            blobs.check_complete(parts)
        if parts != file.blob.parts or blobs.n_tokens(parts) != file.blob.n_tokens:
            return f"{file.name} does not have the layout that was recorded."
    except StateDamaged as error:
        return f"{file.name}: {error.message}"
    return ""


def parse_either(view: memoryview, kinds: tuple[blobs.PartKind, ...], *, flash_attention: bool) -> tuple[Part, ...]:
    """Parse a header whose cells have one or the other size; which one, only the loaded model knows."""
    try:
        return blobs.parse(view, kinds, extended_cells=False, flash_attention=flash_attention)
    except StateDamaged as plain:
        try:
            return blobs.parse(view, kinds, extended_cells=True, flash_attention=flash_attention)
        except StateDamaged:
            raise plain from None
