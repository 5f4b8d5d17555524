"""Hand-made PDFs for tests: pages of lines at given places, in a font of fixed width, with whatever a test is about."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

WIDTH, HEIGHT = 612, 792
SIZE = 10.0
LEADING = 12.0
MARGIN = 72.0
# Each character of Courier takes 0.6 of the size: 78 of them fill a page of this width and these margins.
CHARACTERS = 78

_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
_FILE_ID = b"0123456789abcdef"


@dataclass(frozen=True)
class Ink:
    """A line of text at `x` from the left and `y` from the top; `turn` in degrees against the clock."""

    x: float
    y: float
    text: str
    size: float = SIZE
    turn: int = 0


@dataclass(frozen=True)
class Sheet:
    """One page; `image` covers it with a picture."""

    inks: tuple[Ink, ...] = ()
    rotate: int = 0
    image: bool = False


def real_pdfs() -> list[Path]:
    """Return the PDFs in the folder beside the checkout; none where there is no such folder."""
    return sorted((Path(__file__).resolve().parents[3] / "shared" / "documents").glob("*.pdf"))


def wrapped(text: str, characters: int = CHARACTERS) -> list[str]:
    """Break a paragraph into lines where the next word does not fit."""
    return textwrap.wrap(text, characters, break_long_words=False, break_on_hyphens=False)


def column(lines: Iterable[str], x: float = MARGIN, y: float = 100.0, size: float = SIZE) -> tuple[Ink, ...]:
    """Set lines below each other."""
    return tuple(Ink(x, y + LEADING * index, line, size) for index, line in enumerate(lines) if line)


def sheet(*paragraphs: str, indent: int = 2) -> Sheet:
    """Set paragraphs below each other, each with its first line indented."""
    lines = []
    for paragraph in paragraphs:
        first, *rest = wrapped(" " * indent + paragraph)
        lines += [first, *rest]
    inks = []
    for ink in column(lines):
        spaces = len(ink.text) - len(ink.text.lstrip())
        inks.append(Ink(ink.x + 0.6 * SIZE * spaces, ink.y, ink.text.lstrip()))
    return Sheet(tuple(inks))


def pdf(
    sheets: Sequence[Sheet],
    *,
    outline: Sequence[tuple[int, str, int]] = (),
    labels: str = "",
    title: str = "",
    author: str = "",
    password: str = "",
    circular: bool = False,
) -> bytes:
    """Return a PDF; `outline` has level, title and page index; `labels` is the inside of a /PageLabels dictionary.

    `circular` makes the last entry of the outline lead back to the first.
    """
    numbers = count(10)
    pages: list[tuple[int, bytes, bytes]] = []
    for each in sheets:
        page, stream = next(numbers), next(numbers)
        image = b"q 612 0 0 792 0 0 cm /I Do Q\n" if each.image else b""
        ink = b"".join(_ink(line) for line in each.inks)
        entry = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Rotate {each.rotate}"
            f" /Contents {stream} 0 R"
            " /Resources << /Font << /F 3 0 R >> /XObject << /I 4 0 R >> >> >>"
        )
        pages.append((page, entry.encode(), image + ink))
    objects: dict[int, bytes] = {
        2: f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{page} 0 R' for page, _, _ in pages)}] >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
    }
    key = _key(password)
    streams = {
        4: (b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8", b"\0")
    }
    for page, entry_bytes, content in pages:
        objects[page] = entry_bytes
        streams[page + 1] = (b"", content)
    for number, (entries, content) in streams.items():
        body = _rc4(_object_key(key, number), content) if password else content
        objects[number] = b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(body), body)
    marks = list(_outline(outline, [page for page, _, _ in pages], numbers, circular))
    objects.update(marks[1:])
    root = b"<< /Type /Catalog /Pages 2 0 R"
    if outline:
        root += b" /Outlines %d 0 R" % marks[0][0]
        objects[marks[0][0]] = marks[0][1]
    if labels:
        root += f" /PageLabels << /Nums [{labels}] >>".encode()
    objects[1] = root + b" >>"
    objects[5] = f"<< /Title ({title}) /Author ({author}) >>".encode("latin-1")
    encrypt = b""
    if password:
        owner, user = _secrets(password, key)
        objects[6] = b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (
            owner.hex().encode(),
            user.hex().encode(),
        )
        encrypt = b" /Encrypt 6 0 R"
    return _file(objects, encrypt)


def _ink(ink: Ink) -> bytes:
    """Return the operators that print a line."""
    text = ink.text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    turned = {0: "1 0 0 1", 90: "0 1 -1 0", 180: "-1 0 0 -1", 270: "0 -1 1 0"}[ink.turn]
    place = f"BT /F {ink.size} Tf {turned} {ink.x:.2f} {HEIGHT - ink.y:.2f} Tm".encode()
    return place + b" (" + text + b") Tj ET\n"


def _outline(
    entries: Sequence[tuple[int, str, int]], pages: Sequence[int], numbers: Iterator[int], circular: bool
) -> Iterator[tuple[int, bytes]]:
    """Yield the outline's root and its entries as objects."""
    root, first = next(numbers), [next(numbers) for _ in entries]
    children: dict[int, list[int]] = {}
    stack: list[tuple[int, int]] = [(0, root)]
    for number, (level, _, _) in zip(first, entries, strict=True):
        while stack[-1][0] >= level:
            stack.pop()
        children.setdefault(stack[-1][1], []).append(number)
        stack.append((level, number))
    following = {before: after for kids in children.values() for before, after in pairwise(kids)}
    if circular and first:
        following[first[-1]] = first[0]

    def ends(number: int) -> bytes:
        kids = children.get(number, [])
        return b" /First %d 0 R /Last %d 0 R /Count %d" % (kids[0], kids[-1], len(kids)) if kids else b""

    yield root, b"<< /Type /Outlines%s >>" % ends(root)
    for number, (_, title, page) in zip(first, entries, strict=True):
        sibling = b" /Next %d 0 R" % following[number] if number in following else b""
        words = b"\xfe\xff" + title.encode("utf-16-be")
        yield (
            number,
            b"<< /Title <%s> /Dest [%d 0 R /Fit]%s%s >>"
            % (
                words.hex().encode(),
                pages[page],
                ends(number),
                sibling,
            ),
        )


def _file(objects: dict[int, bytes], encrypt: bytes) -> bytes:
    """Write objects, cross-reference table and trailer."""
    out = bytearray(b"%PDF-1.5\n")
    places: dict[int, int] = {}
    for number, body in sorted(objects.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start, size = len(out), max(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    for number in range(1, size):
        out += b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n"
    identity = _FILE_ID.hex().encode()
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R /ID [<%s> <%s>]%s >>\n" % (size, identity, identity, encrypt)
    out += b"startxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def _key(password: str) -> bytes:
    """Return the file's key, by algorithm 2 of ISO 32000-1, for 40 bits."""
    padded = (password.encode("latin-1") + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    return hashlib.md5(padded + owner + (0xFFFFFFFC).to_bytes(4, "little") + _FILE_ID).digest()[:5]


def _secrets(password: str, key: bytes) -> tuple[bytes, bytes]:
    """Return the entries that a password is checked with, by algorithms 3 and 4."""
    padded = (password.encode("latin-1") + _PADDING)[:32]
    return _rc4(hashlib.md5(padded).digest()[:5], padded), _rc4(key, _PADDING)


def _object_key(key: bytes, number: int) -> bytes:
    """Return the key of one object, by algorithm 1."""
    return hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10]


def _rc4(key: bytes, content: bytes) -> bytes:
    """Encrypt: no library that is installed here still offers RC4."""
    box = list(range(256))
    j = 0
    for i in range(256):
        j = (j + box[i] + key[i % len(key)]) % 256
        box[i], box[j] = box[j], box[i]
    out = bytearray()
    i = j = 0
    for byte in content:
        i = (i + 1) % 256
        j = (j + box[i]) % 256
        box[i], box[j] = box[j], box[i]
        out.append(byte ^ box[(box[i] + box[j]) % 256])
    return bytes(out)
