"""Make one document of a book in several files: a part for each, with the file's own sections inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from cagchat.documents.document import Document, Page, Section
from cagchat.documents.registry import parse
from cagchat.documents.source import Source

KIND = "parts"


def compose(source: Source, password: str = "") -> Document:
    """Parse what was gathered. Raises `BookError` for the first file that cannot be used; `password` is for all."""
    if source.document is not None:
        return source.document
    volumes = [parse(file.content, file.name, password) for file in source.files]
    if len(volumes) == 1:
        return replace(volumes[0], notes=(*source.notes, *volumes[0].notes))
    names = [PurePath(file.name).name for file in source.files]
    notes = [f"{name}: {note}" for name, volume in zip(names, volumes, strict=True) for note in volume.notes]
    return replace(join(volumes, source.title), notes=(*source.notes, *notes))


def join(volumes: Sequence[Document], title: str) -> Document:
    """Return one document: a section of level 1 with each volume's title, its sections one level deeper.

    The title stands in the text, above the volume, unless the volume begins with it. Where the volumes agree on title,
    author or language, the book has them too.
    """
    texts: list[str] = []
    sections: list[Section] = []
    pages: list[Page] = []
    start = 0
    paged = any(volume.pages for volume in volumes)
    for index, volume in enumerate(volumes):
        name = _name(volume)
        heading = "" if _begins_with(volume.text, name) else f"{name}\n\n"
        text = f"{heading}{volume.text}" + ("\n" if index < len(volumes) - 1 else "")
        sections += _placed(volume, name, start, len(heading), start + len(text))
        if paged:
            # Without it the last page of the volume before would go on.
            pages.append(Page("", start))
        pages += [Page(page.label, page.start + start + len(heading)) for page in volume.pages]
        texts.append(text)
        start += len(text)
    return Document(
        title=_shared([volume.title for volume in volumes]) or title,
        text="".join(texts),
        sections=tuple(sections),
        kind=KIND,
        author=_shared([volume.author for volume in volumes]),
        language=_shared([volume.language for volume in volumes]),
        pages=tuple(pages),
    )


def _name(volume: Document) -> str:
    """Return what a volume is called: its only chapter's heading when it is one chapter, else its title."""
    return (volume.sections[0].title if len(volume.sections) == 1 else "") or volume.title


def _placed(volume: Document, name: str, start: int, heading: int, end: int) -> list[Section]:
    """Return a volume's sections in the joined text, from its own at `start` to `end`."""
    if len(volume.sections) == 1:
        return [Section(name, start, end)]
    moved = [
        Section(part.title, part.start + start + heading, part.end + start + heading, max(1, part.level) + 1)
        for part in volume.sections
    ]
    moved[-1] = replace(moved[-1], end=end)
    if heading:
        return [Section(name, start, start + heading), *moved]
    return [replace(moved[0], title=name, level=1), *moved[1:]]


def _begins_with(text: str, name: str) -> bool:
    """Tell whether a text's first line is its title."""
    return _plain(text.partition("\n")[0]) == _plain(name)


def _plain(line: str) -> str:
    return "".join(character for character in line.casefold() if character.isalnum())


def _shared(words: Sequence[str]) -> str:
    """Return what all say, "" when they differ."""
    return words[0] if len(set(words)) == 1 else ""
