"""Break PDFs in many ways, in a process of its own: PDFium is native code, and a crash must not end the tests."""

from __future__ import annotations

import random

from cagchat.documents.document import Document, Section
from cagchat.documents.pdf import load_pdf
from cagchat.errors import BookError

_TOKENS = (
    b"/Count 99999999",
    b"/Kids [2 0 R]",
    b"/Length -1",
    b"/MediaBox [0 0 0 0]",
    b"/MediaBox [-1e30 -1e30 1e30 1e30]",
    b"/Rotate 45",
    b"/UserUnit 1e9",
    b"1e38 Tf",
    b"0 0 0 0 0 0 Tm",
    b"/Parent 10 0 R",
    b"<FEFFD800>",
    b"\x00" * 40,
    b"[" * 400,
    b"<<" * 400,
)


def survive(content: bytes, name: str, password: str) -> Document:
    """Load as many mutations as `name` says, `seed:count`; return how many were read and how many refused.

    Anything but a document or a `BookError` goes on to the caller.
    """
    seed, count = map(int, name.split(":"))
    outcomes = {"read": 0, "refused": 0}
    for number in range(seed, seed + count):
        try:
            document = load_pdf(mutated(content, random.Random(number)), "mutated.pdf", password)
            assert document.sections[-1].end == len(document.text)
            outcomes["read"] += 1
        except BookError:
            outcomes["refused"] += 1
    text = f"{outcomes['read']} read, {outcomes['refused']} refused\n"
    return Document(name, text, (Section("", 0, len(text), 0),), "pdf")


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return the content with some bytes changed, cut, repeated or replaced by what a PDF may hold."""
    broken = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(max(1, len(broken)))
        end = at + chance.choice((1, 4, 20, 300))
        kind = chance.randrange(6)
        if kind == 0:
            broken[at:end] = chance.randbytes(end - at)
        elif kind == 1:
            del broken[at:end]
        elif kind == 2:
            broken[at:at] = broken[at:end]
        elif kind == 3:
            broken[at:at] = chance.choice(_TOKENS)
        elif kind == 4:
            digits = [index for index in range(at, min(len(broken), at + 400)) if 48 <= broken[index] <= 57]
            for index in digits[: chance.choice((1, 8))]:
                broken[index] = chance.choice(b"0123456789-.")
        elif chance.random() < 0.2:
            del broken[at:]
    return bytes(broken)
