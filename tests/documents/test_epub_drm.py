"""Locked EPUBs are refused by the name of what locks them; obfuscated fonts are no lock."""

from __future__ import annotations

import pytest

from cagchat.documents.epub import load_epub
from cagchat.errors import BookError
from tests.documents.invented_epub import Epub, chapter, real_epubs

AES = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
FONTS = "http://www.idpf.org/2008/embedding"
ADOBE_FONTS = "http://ns.adobe.com/pdf/enc#RC"


def encryption(*locked: tuple[str, str], key: str = "") -> str:
    """Return an encryption.xml: (algorithm, file) for each locked file."""
    data = "".join(
        f'<enc:EncryptedData><enc:EncryptionMethod Algorithm="{algorithm}"/><KeyInfo>{key}</KeyInfo><enc:CipherData>'
        f'<enc:CipherReference URI="{name}"/></enc:CipherData></enc:EncryptedData>'
        for algorithm, name in locked
    )
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container" '
        f'xmlns:enc="http://www.w3.org/2001/04/xmlenc#">{data}</encryption>'
    )


PAGE = (AES, "OPS/a.xhtml")


@pytest.mark.parametrize(
    ("members", "scheme"),
    [
        (
            {
                "META-INF/encryption.xml": encryption(PAGE, key='<resource xmlns="http://ns.adobe.com/adept"/>'),
                "META-INF/rights.xml": '<adept:rights xmlns:adept="http://ns.adobe.com/adept"/>',
            },
            "Adobe ADEPT",
        ),
        ({"META-INF/rights.xml": '<rights xmlns="http://ns.adobe.com/adept"/>'}, "Adobe ADEPT"),
        ({"META-INF/encryption.xml": encryption(("http://itunes.apple.com/dataenc", "a.xhtml"))}, "Apple FairPlay"),
        ({"META-INF/sinf.xml": "<fairplay:sinf/>"}, "Apple FairPlay"),
        ({"META-INF/license.lcpl": "{}", "META-INF/encryption.xml": encryption(PAGE)}, "Readium LCP"),
        (
            {
                "META-INF/encryption.xml": encryption(
                    PAGE, key='<RetrievalMethod Type="http://readium.org/2014/01/lcp#EncryptedContentKey"/>'
                )
            },
            "Readium LCP",
        ),
        ({"META-INF/encryption.xml": encryption((FONTS, "OPS/f.otf"), PAGE)}, "DRM of an unknown kind"),
        ({"meta-inf/Encryption.xml": encryption((AES, "OPS/package.opf"))}, "DRM of an unknown kind"),
    ],
)
def test_locked_books_are_refused_by_name(members: dict[str, str], scheme: str) -> None:
    """The message says whose lock it is, the hint where a free copy may be had."""
    epub = Epub({"a.xhtml": chapter("One")}, others=members)
    with pytest.raises(BookError, match=f"locked by {scheme}") as raised:
        load_epub(epub.packed(), "x.epub")
    assert "without DRM" in raised.value.hint


@pytest.mark.parametrize(
    "members",
    [
        {"META-INF/encryption.xml": encryption((FONTS, "OPS/f.otf"), (ADOBE_FONTS, "OPS/g.ttf"))},
        {"META-INF/encryption.xml": encryption((AES, "OPS/f.otf"), (AES, "OPS/picture.jpg"))},
        {"META-INF/encryption.xml": encryption()},
        {"META-INF/rights.xml": "<rights>Public domain.</rights>"},
        {"META-INF/signatures.xml": "<signatures/>"},
    ],
)
def test_what_leaves_the_text_readable_is_no_lock(members: dict[str, str]) -> None:
    """Obfuscated fonts, encrypted pictures and plain statements of rights do not matter."""
    assert load_epub(Epub({"a.xhtml": chapter("One")}, others=members).packed(), "x.epub").text.startswith("One")


def test_a_real_book_with_obfuscated_fonts_is_read() -> None:
    """As one of the real books beside the checkout has them, where they are."""
    for path in real_epubs():
        if path.stem == "wasteland-otf-obf":
            assert "April is the cruellest month" in load_epub(path.read_bytes(), str(path)).text
