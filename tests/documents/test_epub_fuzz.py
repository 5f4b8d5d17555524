"""Damaged EPUBs are read or refused with one `BookError`, and never crash."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from random import Random

from cagchat.documents.cleaning import clean
from cagchat.documents.epub import load_epub
from cagchat.errors import BookError
from tests.documents.invented_epub import Epub, chapter, nav, ncx, pack, page, point, real_epubs

# CAGCHAT_FUZZ_ROUNDS=100000 runs them for hours.
ROUNDS = int(os.environ.get("CAGCHAT_FUZZ_ROUNDS", "250"))

WORDS = (
    *(b"<", b">", b"&", b'"', b"/", b"#", b"%", b"%2e%2e/", b"../", b"..\\", b"]]>", b"<!--", b"<![CDATA[", b"<?xml"),
    *(b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"&#0;", b"&#x110000;", b"\0", b"\xff", b"\xff\xfe", b"\xed\xa0\x80"),
    *(b"<ol>", b"<li>", b"</body>", b"<table>", b"<tr>", b"<td colspan='99999999'>", b"<pre>", b"<ruby>", b"<rt>"),
    *(b"<h1>", b"<h7>", b' id="top"', b' href="#"', b' href=""', b' linear="no"', b' xmlns="x"', b"encoding='utf-16'"),
)

FULL = Epub(
    {
        "cover.xhtml": page('<img src="c.jpg" alt="A cover"/>'),
        "one.xhtml": chapter("One"),
        "two.xhtml": page(
            '<h2 id="top">Two</h2><p>山<ruby>路<rt>じ</rt></ruby><a epub:type="noteref" href="#n">1</a></p><ul><li>a'
            '</li></ul><table><tr><td>b</td><td>c</td></tr></table><span epub:type="pagebreak" title="2"/>'
            "<p>d<br/>e</p>"
            '<aside epub:type="footnote" id="n">f</aside><pre> g\n h</pre>'
        ),
        "three.xhtml": chapter("Three"),
    },
    nav=nav('<li><a href="one.xhtml">One</a><ol><li><a href="two.xhtml#top">Two</a></li></ol></li>'),
    ncx=ncx(point("One", "one.xhtml", point("Two", "two.xhtml#top")) + point("Three", "three.xhtml")),
    guide='<reference type="cover" href="cover.xhtml"/>',
    others={"META-INF/encryption.xml": "<encryption><EncryptedData/></encryption>"},
)


def changed(content: bytes, random: Random) -> bytes:
    """Return the bytes with a few of them changed, cut out, doubled, or replaced by words that parsers look for."""
    result = bytearray(content)
    for _ in range(random.randint(1, 5)):
        place, length = random.randrange(len(result) + 1), random.choice((1, 2, 8, 60))
        match random.randrange(6):
            case 0:
                result[place : place + 1] = random.randbytes(1)
            case 1:
                del result[place : place + length]
            case 2:
                result[place:place] = result[place : place + length] * random.randint(1, 20)
            case 3:
                result[place:place] = random.choice(WORDS) * random.choice((1, 1, 1, 300))
            case 4:
                result[place : place + length] = random.choice(WORDS)
            case _:
                del result[place:]
    return bytes(result)


def outcomes(make: Callable[[Random], bytes], rounds: int, seed: int) -> Counter[str]:
    """Load as many variants and count what came of them; whatever is read must tile."""
    random = Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(rounds):
        content = make(random)
        try:
            document = load_epub(content, "x.epub")
        except BookError as error:
            counts["refused" if error.hint and error.message.endswith(".") else error.message] += 1
            continue
        text = document.text
        assert "".join(text[part.start : part.end] for part in document.sections) == text
        assert all(0 <= found.start < len(text) for found in document.pages)
        assert clean(text) == text
        counts["read"] += 1
    assert set(counts) <= {"read", "refused"}
    return counts


def test_damaged_members() -> None:
    """Every member is damaged in turn and packed whole: the package, the contents and the pages hold."""
    members = {
        name: content.encode() if isinstance(content, str) else content for name, content in FULL.members().items()
    }
    counts: Counter[str] = Counter()
    for seed, (name, content) in enumerate(members.items()):

        def damaged(random: Random, name: str = name, content: bytes = content) -> bytes:
            return pack(members | {name: changed(content, random)})

        counts += outcomes(damaged, ROUNDS // 4, seed)
    print(dict(counts))
    assert counts["read"] > ROUNDS // 4


def test_damaged_archives() -> None:
    """The bytes of the file itself are damaged."""
    content = FULL.packed()
    counts = outcomes(lambda random: changed(content, random), ROUNDS, 1)
    print(dict(counts))
    assert counts["refused"] > ROUNDS // 10


def test_real_books_with_a_damaged_member() -> None:
    """The package or a page of each real book beside the checkout is damaged; without them there is no more."""
    for seed, path in enumerate(real_epubs()):
        members = read_members(path.read_bytes())

        def damaged(random: Random, members: dict[str, bytes] = members) -> bytes:
            name = random.choice(list(members))
            return pack(members | {name: changed(members[name], random)})

        print(path.name, dict(outcomes(damaged, max(2, ROUNDS // 100), seed)))


def read_members(content: bytes) -> dict[str, bytes]:
    """Return the members that a loader looks at, at most thirty."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        names = [name for name in file.namelist() if name.endswith(("html", "opf", "ncx", "xml"))]
        # The package and the contents stand at the ends or are short; thirty pages are as good as all.
        wanted = sorted(names, key=lambda name: (name.endswith("html"), name))[:30]
        return {name: file.read(name) for name in wanted}
