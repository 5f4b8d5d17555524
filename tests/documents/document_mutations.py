"""Small books of every kind, and seeded ways to damage them: bytes anywhere, and inside the members of an archive."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from random import Random

from cagchat.bench.made_books import made_epub, made_pdf, made_text

HTML = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><title>The Light</title></head><body><nav>Home</nav><main>"
    "<h1>The Light</h1><h2 id=a>One</h2><p>The <ruby>lamp<rt>lamp</rt></ruby> was lit.<ul><li>a<li>b</ul>"
    "<table><tr><th>x<td>y</table><h2>Two</h2><pre>  one\n  two</pre><p>It went out.&nbsp;<img alt='a ship' src=s.png>"
    "</main><footer>2001</footer></body></html>"
)
MARKDOWN = (
    "---\ntitle: The Light\n---\n\n# One\n\nThe *lamp* was lit.\n\n## Two\n\n```\n# not a heading\n```\n\n- a\n- b\n"
)
W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def made_docx() -> bytes:
    """Return a Word document with headings, a table and a footnote."""
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>'
    paragraph = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"
    cell = "<w:tc>" + paragraph + "</w:tc>"
    note = '<w:p><w:r><w:t>Lit.</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r></w:p>'
    table = f"<w:tbl><w:tr>{cell.format('x')}{cell.format('y')}</w:tr></w:tbl>"
    body = f"{heading.format('One')}{paragraph.format('The lamp.')}{note}{heading.format('Two')}{table}"
    members = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType='
        f'"application/xml"/><Override PartName="/word/document.xml" ContentType="{WORD}.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{RELATIONS}/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{RELATIONS}/footnotes" Target="footnotes.xml"/><Relationship Id="r2" Type="{RELATIONS}/styles" '
        'Target="styles.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>',
        "word/styles.xml": f'<w:styles xmlns:w="{W}"><w:style w:type="paragraph" w:styleId="Heading1"><w:name '
        'w:val="heading 1"/></w:style></w:styles>',
        "word/footnotes.xml": f'<w:footnotes xmlns:w="{W}"><w:footnote w:id="2">{paragraph.format("By hand.")}'
        "</w:footnote></w:footnotes>",
    }
    return zipped({name: f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode() for name, text in members.items()})


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a ZIP archive, the first member stored, the others compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (name, content) in enumerate(members.items()):
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if index else zipfile.ZIP_STORED)
    return buffer.getvalue()


def unzipped(content: bytes) -> dict[str, bytes]:
    """Return the members of a ZIP archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


BOOKS: dict[str, bytes] = {
    "book.epub": made_epub(3000, 3),
    "book.pdf": made_pdf(3),
    "book.docx": made_docx(),
    "book.html": HTML.encode(),
    "book.md": MARKDOWN.encode(),
    "book.txt": made_text(3000, 3),
}


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged copies; of an archive, every other one is whole and holds a damaged member."""
    members = unzipped(content) if content.startswith(b"PK") else {}
    for number in range(count):
        random = Random(f"{seed}/{number}")
        if members and number % 2:
            name = random.choice([name for name in members if members[name]])
            yield zipped({**members, name: damaged(members[name], random)})
        else:
            yield damaged(content, random)


def damaged(content: bytes, random: Random) -> bytes:
    """Return the content after one to four kinds of damage."""
    for _ in range(random.randint(1, 4)):
        content = random.choice(DAMAGES)(content, random) or b"\0"
    return content


def _flipped(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 4, 64))):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def _taken_out(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content))
    return content[:start] + content[start + random.randint(1, 200) :]


def _repeated(content: bytes, random: Random) -> bytes:
    start = random.randrange(len(content))
    part = content[start : start + random.randint(1, 200)]
    return content[:start] + part * random.choice((2, 3, 1000)) + content[start:]


def _blanked(content: bytes, random: Random) -> bytes:
    start, length = random.randrange(len(content)), random.randint(1, 100)
    return content[:start] + random.choice((b"\0", b"\xff", b"<", b" ")) * length + content[start + length :]


def _number(content: bytes, random: Random) -> bytes:
    """Put another number where a number stands."""
    digits = [index for index, byte in enumerate(content) if 48 <= byte <= 57]
    if not digits:
        return content
    place = random.choice(digits)
    return content[:place] + random.choice((b"0", b"-1", b"99999999999", b"4294967295", b"1e9")) + content[place + 1 :]


_WORDS = (b"<b>" * 500, b"]]>", b"<!--", b"&x;", b"&#0;", b"&#xD800;", b"</p></div>", b"../", b"\r", b"\xed\xa0\x80")


def _inserted(content: bytes, random: Random) -> bytes:
    """Put in something that means something to a parser."""
    place = random.randrange(len(content) + 1)
    words = (
        b"<b>" * 500,
        b"]]>",
        b"<!--",
        b"&x;",
        b"&#0;",
        b"&#xD800;",
        b"</p></div>",
        b"../",
        b"\r",
        b"\xed\xa0\x80",
        b"R ",
    )
    return content[:place] + random.choice(words) + content[place:]


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flipped,
    _cut,
    _taken_out,
    _repeated,
    _blanked,
    _number,
    _inserted,
)
