"""Parsing XML that others wrote: what is mended, and what is not followed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from cagchat.documents.xml import attribute, children, decode_xml, descendants, local, parse_xml, text_of
from cagchat.errors import BookError


@pytest.mark.parametrize(
    "content",
    [
        "<?xml version='1.0' encoding='UTF-8'?><a>é</a>".encode(),
        b"\xef\xbb\xbf" + "<a>é</a>".encode(),
        "<?xml version='1.0' encoding='utf-16'?><a>é</a>".encode("utf-16"),
        "<?xml version='1.0' encoding='utf-16'?><a>é</a>".encode(),
        "<?xml version='1.0' encoding='iso-8859-1'?><a>é</a>".encode(),
        "<?xml version='1.0' encoding='iso-8859-1'?><a>é</a>".encode("latin-1"),
        "<?xml version='1.0' encoding='no-such-thing'?><a>é</a>".encode(),
        "\n <?xml version='1.0'?>\n<a>é</a>".encode(),
        "<a>é".encode(),
        "<a>\0é\1</a>".encode(),
        b"<a>&eacute;</a>",
        b"<!DOCTYPE a SYSTEM 'x.dtd'><a>&eacute;</a>",
    ],
)
def test_wrong_declarations_and_small_damage_are_mended(content: bytes) -> None:
    """Marks, wrong or unknown encodings, control characters, missing ends and HTML's entities do no harm."""
    assert text_of(parse_xml(content, "x.xml")) == "é"


def test_encodings_of_other_scripts_are_taken_as_declared() -> None:
    """What is declared counts where the bytes fit it, also when they pass for ASCII."""
    for encoding, text in (
        ("shift_jis", "山路を登りながら"),
        ("iso-2022-jp", "山路を登りながら"),
        ("koi8-r", "Война и мир"),
    ):
        content = f"<?xml version='1.0' encoding='{encoding}'?><a>{text}</a>".encode(encoding)
        assert text_of(parse_xml(content, "x.xml")) == text


def test_declared_latin_1_is_read_as_browsers_read_it() -> None:
    """Typographic quotes of Windows stand where Latin-1 has control characters."""
    assert decode_xml(b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\x93x\x94 \xe9</a>") == "<a>“x” é</a>"


@pytest.mark.parametrize("encoding", ["punycode", "idna", "unicode_escape", "rot13", "zlib"])
def test_encodings_that_are_no_files_are_not_followed(encoding: str) -> None:
    """A declaration cannot make Python run what it has under "encodings"."""
    assert decode_xml(f"<?xml version='1.0' encoding='{encoding}'?><a>\\u0041</a>".encode()) == "<a>\\u0041</a>"


def test_entities_are_not_expanded() -> None:
    """Entities that the file declares, in text and in attributes, are left out: they cannot grow."""
    layers = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    content = f'<!DOCTYPE a [<!ENTITY e0 "ha">{layers}]><a b="&e9;">x&e9;y</a>'
    root = parse_xml(content.encode(), "x.xml")
    assert (text_of(root), attribute(root, "b")) == ("xy", "")


def test_nothing_outside_is_read(tmp_path: Path) -> None:
    """External entities, DTDs and inclusions stay where they are."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    for content in (
        f'<!DOCTYPE a [<!ENTITY e SYSTEM "{secret.as_uri()}">]><a>x&e;</a>',
        f'<!-- c --><?p?> <!DOCTYPE a [<!ENTITY % e SYSTEM "{secret.as_uri()}"> %e;]><a>x</a>',
        f'<a>x<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{secret.as_uri()}" parse="text"/></a>',
    ):
        assert text_of(parse_xml(content.encode(), "x.xml")) == "x"


def test_names_are_compared_without_namespace() -> None:
    """Prefixes may be declared, undeclared or absent."""
    for content in ('<a xmlns:d="urn:d"><d:t d:k="v"/></a>', '<a><d:t d:k="v"/></a>', '<a><t k="v"/></a>'):
        root = parse_xml(content.encode(), "x.xml")
        assert [attribute(found, "k") for found in descendants(root, "t")] == ["v"]
        assert [local(child) for child in children(root, "t")] == ["t"]


def test_depth_is_bounded() -> None:
    """A hundred thousand levels give a tree that can be walked."""
    root = parse_xml(b"<a>" * 100_000, "x.xml")
    assert sum(1 for _ in root.iter()) < 1000


def test_size_is_bounded() -> None:
    """More than a book's package needs is refused before it is parsed."""
    with pytest.raises(BookError, match="MiB of XML"):
        parse_xml(b"<a>" + b" " * (2 << 20), "x.xml", max_bytes=1 << 20)


@pytest.mark.parametrize("content", [b"", b"\0\0", b"plain words", b"<", b"\xff\xfe", b"<!DOCTYPE a [", b"<!--"])
def test_what_is_no_xml_is_refused(content: bytes) -> None:
    """Without an element there is nothing to read."""
    with pytest.raises(BookError, match="no XML"):
        parse_xml(content, "x.xml")


def test_damage_is_one_error_or_none() -> None:
    """Two thousand damaged files are parsed or refused, and never crash."""
    random = Random(7)
    head = '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE a [<!ENTITY b "c">]>'
    good = f'{head}<a d="e"><!-- f --><b>é &b;</b></a>'.encode()
    parsed = 0
    for _ in range(2000):
        content = bytearray(good)
        for _ in range(random.randint(1, 6)):
            content[random.randrange(len(content))] = random.choice(b"<>&;![]'\"?-\0\xff\xe9 a")
        with suppress(BookError):
            text_of(parse_xml(bytes(content), "x.xml"))
            parsed += 1
    print(f"{parsed} of 2000 parsed")
    assert parsed > 100
