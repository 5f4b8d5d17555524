"""Tell from its bytes what a file is, when it is something other than plain text.

Whether cagchat can open it is not said here: a loader takes a kind, and what no loader takes is refused with the kind's
`command`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from struct import unpack_from

from cagchat.documents.encoding import mark_of


@dataclass(frozen=True, slots=True)
class Kind:
    """A file format: its name with an article, and the command that makes something of it that can be opened.

    `{source}` and `{target}` in `command` stand for the quoted file names, the target's with the suffix `becomes`.
    Where no command helps, `advice` is a sentence that does. `packed` files are unpacked, not converted.
    """

    name: str
    command: str = ""
    becomes: str = ".txt"
    advice: str = ""
    packed: bool = False


_OFFICE = "libreoffice --headless --convert-to docx {source}"
_SLIDES = "libreoffice --headless --convert-to pdf {source}"
_CALIBRE = "ebook-convert {source} {target}"

EPUB = Kind("an EPUB book")
DOCX = Kind("a Word document")
PDF = Kind("a PDF")
HTML = Kind("an HTML page")
ODT = Kind("an OpenDocument text", _OFFICE)
MOBI = Kind("a Kindle book", _CALIBRE, ".epub")
OLD_OFFICE = Kind("an old Office document", _OFFICE)
LOCKED_OFFICE = Kind(
    "an Office document with a password", advice="Open it in Word or LibreOffice and save a copy without the password."
)
RTF = Kind("an RTF document", _OFFICE)
DJVU = Kind("a DjVu book", "djvutxt {source} {target}")
FICTIONBOOK = Kind("a FictionBook", _CALIBRE, ".epub")
POSTSCRIPT = Kind("a PostScript file", "ps2pdf {source} {target}", ".pdf")
SPREADSHEET = Kind("a spreadsheet", _SLIDES)
SLIDES = Kind("a slide show", _SLIDES)
OLD_READER = Kind("a book for an old reader", _CALIBRE, ".epub")
WEB_ARCHIVE = Kind("a web archive", advice="Save the page again in the browser, as HTML only.")
PAGES = Kind("a Pages document", advice="Export it from Pages as EPUB, DOCX or PDF.")
ZIP = Kind("a ZIP archive", "unzip {source}", packed=True)
TAR = Kind("a tar archive", "tar -xf {source}", packed=True)
PROGRAM = Kind("a program")
IMAGE = Kind("an image", "tesseract {source} stdout > {target}")
SOUND = Kind("a sound recording")
VIDEO = Kind("a film")

_PREFIXES: tuple[tuple[bytes, Kind], ...] = (
    (b"{\\rtf", RTF),
    (b"AT&TFORM", DJVU),
    (b"%!PS", POSTSCRIPT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLD_OFFICE),
    (b"ITOLITLS", Kind("a Microsoft Reader book", _CALIBRE, ".epub")),
    (b"ITSF", Kind("a compiled help file", _CALIBRE, ".epub")),
    (b"L\0R\0F\0\0\0", OLD_READER),
    (b"TPZ0", Kind("a Kindle book that is locked to a device")),
    (b"\xeaDRMION\xee", Kind("a Kindle book that is locked to a device")),
    (b"CONT\x02\0", Kind("a Kindle book in the KFX format", advice="Buy or export it as EPUB.")),
    (b"\x1f\x8b", Kind("a gzip file", "gunzip --keep {source}", packed=True)),
    (b"BZh91AY&SY", Kind("a bzip2 file", "bunzip2 --keep {source}", packed=True)),
    (b"\xfd7zXZ\0", Kind("an xz file", "unxz --keep {source}", packed=True)),
    (b"\x28\xb5\x2f\xfd", Kind("a Zstandard file", "unzstd {source}", packed=True)),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", "7z x {source}", packed=True)),
    (b"Rar!\x1a\x07", Kind("a RAR archive", "unrar x {source}", packed=True)),
    (b"bplist00", WEB_ARCHIVE),
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

# What a damaged file of this name was meant to be, when its bytes no longer say it.
SUFFIXES: dict[str, Kind] = {
    ".epub": EPUB,
    ".docx": DOCX,
    ".pdf": PDF,
    ".mobi": MOBI,
    ".azw": MOBI,
    ".azw3": MOBI,
    ".doc": OLD_OFFICE,
    ".rtf": RTF,
    ".djvu": DJVU,
    ".odt": ODT,
}

# Names inside a ZIP archive that tell what the archive is; whole names, in lower case.
_MEMBERS: dict[str, Kind] = {"meta-inf/container.xml": EPUB, "word/document.xml": DOCX, "index/document.iwa": PAGES}
_FOLDERS: tuple[tuple[str, Kind], ...] = (("word/", DOCX), ("xl/", SPREADSHEET), ("ppt/", SLIDES))
_MIMETYPES: tuple[tuple[bytes, Kind], ...] = (
    (b"application/epub+zip", EPUB),
    (b"application/vnd.oasis.opendocument.text", ODT),
    (b"application/vnd.oasis.opendocument.spreadsheet", SPREADSHEET),
    (b"application/vnd.oasis.opendocument.presentation", SLIDES),
)

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCAL_BYTES, _CENTRAL_BYTES, _END_BYTES = 30, 46, 22
_MOST_MEMBERS = 20_000
_LONGEST_COMMENT = 1 << 16
_HEAD_BYTES = 4096
_LOCKED = "EncryptedPackage".encode("utf-16-le")

_PDF_LATE = re.compile(rb"[\r\n]%PDF-\d\.\d")
_PROLOGUE = re.compile(r"\s*(?:<\?[^>]*\?>\s*|<!--.*?-->\s*|<!doctype\s[^>]*>\s*)*", re.S | re.I)
_HTML = re.compile(r"<html[\s>]|<head[\s>]|<body[\s>]", re.I)
_HTML_TYPE = re.compile(r"<!doctype\s+html\b", re.I)
_WEB_ARCHIVE = re.compile(rb"(?i)\A(?:[\w-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*content-type:\s*multipart/related")


def recognise(content: bytes) -> Kind | None:
    """Return the format that the bytes belong to, or None for text and for what is not known."""
    head = content[:_HEAD_BYTES]
    for prefix, kind in _PREFIXES:
        # Short signatures are also letters: a text may begin with "ID3" or "GGUF".
        if head.startswith(prefix) and (_is_certain(prefix) or b"\0" in head):
            return LOCKED_OFFICE if kind is OLD_OFFICE and _LOCKED in content else kind
    if head.startswith((_LOCAL, _END)):
        return _archive(content)
    if _is_pdf(content):
        return PDF
    if head[60:68] in (b"BOOKMOBI", b"TEXtREAd"):
        return MOBI
    if head[60:68] == b"PNRdPPrs":
        return OLD_READER
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


def _is_pdf(content: bytes) -> bool:
    """Tell whether a PDF begins here, or after a little of something else, as servers and mail programs put it."""
    head = content[:_HEAD_BYTES]
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"%PDF-"):
        return True
    return bool(_PDF_LATE.search(head[:1024])) and b"endobj" in content


def _archive(content: bytes) -> Kind:
    """Name what a ZIP archive holds by its table of contents; by its members' headers when that is cut off."""
    for mimetype, kind in _MIMETYPES:
        # Both formats ask for this member first and stored, so that it stands here in plain letters.
        if content.startswith(b"mimetype" + mimetype, _LOCAL_BYTES):
            return kind
    names = list(islice(_listed(content), _MOST_MEMBERS)) or list(islice(_headed(content), _MOST_MEMBERS))
    for name in names:
        if name in _MEMBERS:
            return _MEMBERS[name]
    for folder, kind in _FOLDERS:
        if any(name.startswith(folder) for name in names):
            return kind
    return EPUB if any(name.endswith(".opf") for name in names) else ZIP


def _listed(content: bytes) -> Iterator[str]:
    """Yield the names in an archive's table of contents, lower case; none when its end is missing."""
    end = content.rfind(_END, max(0, len(content) - _LONGEST_COMMENT - _END_BYTES))
    if end < 0 or end + _END_BYTES > len(content):
        return
    (place,) = unpack_from("<I", content, end + 16)
    if not content.startswith(_CENTRAL, place):  # something was put before the archive, or it is a large one
        place = content.find(_CENTRAL)
    while place >= 0 and content.startswith(_CENTRAL, place) and place + _CENTRAL_BYTES <= end:
        name, extra, comment = unpack_from("<HHH", content, place + 28)
        yield _name(content, place + _CENTRAL_BYTES, name)
        place += _CENTRAL_BYTES + name + extra + comment


def _headed(content: bytes) -> Iterator[str]:
    """Yield the names in front of an archive's members, as far as their sizes lead from one to the next."""
    place = 0
    while content.startswith(_LOCAL, place) and place + _LOCAL_BYTES <= len(content):
        size, _, name, extra = unpack_from("<IIHH", content, place + 18)
        yield _name(content, place + _LOCAL_BYTES, name)
        place += _LOCAL_BYTES + name + extra + size


def _name(content: bytes, start: int, length: int) -> str:
    return content[start : start + length].decode("utf-8", "replace").replace("\\", "/").lower()


def _markup(head: bytes) -> Kind | None:
    """Recognise HTML and FictionBook by their first tag, behind comments and declarations."""
    if _WEB_ARCHIVE.match(head):
        return WEB_ARCHIVE
    encoding, length = mark_of(head) or ("latin-1", 0)
    text = head[length:].decode(encoding, "replace")
    prologue = _PROLOGUE.match(text)
    start = prologue.end() if prologue else 0
    if _HTML_TYPE.search(text, 0, start) or _HTML_TYPE.match(text, start) or _HTML.match(text, start):
        return HTML
    return FICTIONBOOK if text[start:].lower().startswith("<fictionbook") else None
