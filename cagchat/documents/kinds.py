"""Tell from its first bytes what a file is, when it is something other than plain text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A file format: its name with an article, and the command that makes a text file of it ("" when there is none).

    `{source}` and `{target}` in `command` stand for the quoted file names.
    """

    name: str
    command: str = ""


EPUB = Kind("an EPUB book", "pandoc -t plain {source} -o {target}")
DOCX = Kind("a Word document", "pandoc -t plain {source} -o {target}")
ODT = Kind("an OpenDocument text", "pandoc -t plain {source} -o {target}")
PDF = Kind("a PDF", "pdftotext -layout {source} {target}")
MOBI = Kind("a Kindle book", "ebook-convert {source} {target}")
OLD_OFFICE = Kind("an old Office document", "libreoffice --headless --convert-to txt:Text {source}")
HTML = Kind("an HTML page", "pandoc -f html -t plain {source} -o {target}")
FICTIONBOOK = Kind("a FictionBook", "pandoc -f fb2 -t plain {source} -o {target}")
ZIP = Kind("a ZIP archive", "unzip {source}")
TAR = Kind("a tar archive", "tar -xf {source}")
PROGRAM = Kind("a program")
IMAGE = Kind("an image", "tesseract {source} stdout > {target}")
SOUND = Kind("a sound recording")
VIDEO = Kind("a film")

_PREFIXES: tuple[tuple[bytes, Kind], ...] = (
    (b"{\\rtf", Kind("an RTF document", "pandoc -f rtf -t plain {source} -o {target}")),
    (b"AT&TFORM", Kind("a DjVu book", "djvutxt {source} {target}")),
    (b"%!PS", Kind("a PostScript file", "ps2ascii {source} {target}")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLD_OFFICE),
    (b"ITOLITLS", Kind("a Microsoft Reader book", "ebook-convert {source} {target}")),
    (b"ITSF", Kind("a compiled help file", "ebook-convert {source} {target}")),
    (b"\xeaDRMION\xee", Kind("a Kindle book that is locked to a device")),
    (b"\x1f\x8b", Kind("a gzip file", "gunzip --keep {source}")),
    (b"BZh91AY&SY", Kind("a bzip2 file", "bunzip2 --keep {source}")),
    (b"\xfd7zXZ\0", Kind("an xz file", "unxz --keep {source}")),
    (b"\x28\xb5\x2f\xfd", Kind("a Zstandard file", "unzstd {source}")),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", "7z x {source}")),
    (b"Rar!\x1a\x07", Kind("a RAR archive", "unrar x {source}")),
    (b"\x89PNG\r\n\x1a\n", IMAGE),
    (b"\xff\xd8\xff", IMAGE),
    (b"GIF87a", IMAGE),
    (b"GIF89a", IMAGE),
    (b"II*\0", IMAGE),
    (b"MM\0*", IMAGE),
    (b"ID3", SOUND),
    (b"OggS", SOUND),
    (b"fLaC", SOUND),
    (b"\x1aE\xdf\xa3", VIDEO),
    (b"\x7fELF", PROGRAM),
    (b"\0asm", PROGRAM),
    (b"\xfe\xed\xfa\xce", PROGRAM),
    (b"\xfe\xed\xfa\xcf", PROGRAM),
    (b"\xce\xfa\xed\xfe", PROGRAM),
    (b"\xcf\xfa\xed\xfe", PROGRAM),
    (b"\xca\xfe\xba\xbe", PROGRAM),
    (b"GGUF", Kind("a language model (GGUF)")),
    (b"SQLite format 3\0", Kind("an SQLite database")),
)

# Names in a ZIP archive's local headers that tell what the archive is.
_ZIP_MEMBERS: tuple[tuple[bytes, Kind], ...] = (
    (b"mimetypeapplication/epub+zip", EPUB),
    (b"META-INF/container.xml", EPUB),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", ODT),
    (b"word/", DOCX),
    (b"xl/", Kind("a spreadsheet")),
    (b"ppt/", Kind("a slide show", "libreoffice --headless --convert-to pdf {source}")),
)

_ZIP_SIGNATURE = b"PK\x03\x04"
_HEAD_BYTES = 4096


def recognise(content: bytes) -> Kind | None:
    """Return the format that the bytes belong to, or None for text and for what is not known."""
    head = content[:_HEAD_BYTES]
    for prefix, kind in _PREFIXES:
        # Short signatures are also letters: a text may begin with "ID3" or "GGUF".
        if head.startswith(prefix) and (_is_certain(prefix) or b"\0" in head):
            return kind
    if head.startswith(_ZIP_SIGNATURE):
        return _archive(content)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"%PDF-"):
        return PDF
    if head[60:68] in (b"BOOKMOBI", b"TEXtREAd"):
        return MOBI
    if head[257:262] == b"ustar":
        return TAR
    if head.startswith(b"MZ") and b"\0" in head:
        return PROGRAM
    if head.startswith(b"BM") and b"\0" in head[:32]:
        return IMAGE
    if head.startswith(b"RIFF") and b"\0" in head:
        return IMAGE if head[8:12] == b"WEBP" else SOUND if head[8:12] == b"WAVE" else VIDEO
    if head[4:8] == b"ftyp":
        return IMAGE if head[8:12] in (b"heic", b"avif", b"mif1") else VIDEO
    return _markup(head)


def _is_certain(prefix: bytes) -> bool:
    """Tell whether no text begins like this: a byte outside ASCII, a control character, or enough letters."""
    return (
        not prefix.isascii() or len(prefix) >= 6 or prefix in (b"{\\rtf", b"%!PS") or not prefix.decode().isprintable()
    )


def _archive(content: bytes) -> Kind:
    """Name what a ZIP archive holds by the first names in it, then by its table of contents at the end."""
    for name, kind in _ZIP_MEMBERS:
        if content.find(name, 0, 1 << 16) >= 0:
            return kind
    return DOCX if b"word/document.xml" in content[-(1 << 16) :] else ZIP


def _markup(head: bytes) -> Kind | None:
    """Recognise HTML and FictionBook by their first tag."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return HTML
    if start.startswith(b"<?xml"):
        if b"<fictionbook" in start:
            return FICTIONBOOK
        if b"<html" in start:
            return HTML
    return None
