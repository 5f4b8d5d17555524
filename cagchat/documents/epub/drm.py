"""Tell whether an EPUB is locked, and by whose scheme. Fonts that are merely obfuscated do not count.

The schemes are told apart by the files they put into META-INF (EPUB Open Container Format, "Encryption" and "Rights
management") and by the names in those files.
"""

from __future__ import annotations

from cagchat.documents.archive import Archive
from cagchat.documents.xml import attribute, descendants, parse_xml
from cagchat.errors import BookError

_ENCRYPTION = "META-INF/encryption.xml"
_RIGHTS = "META-INF/rights.xml"
_FAIRPLAY = "META-INF/sinf.xml"
_LCP = "META-INF/license.lcpl"

_OBFUSCATED_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_NOT_READ = (
    ".otf .ttf .ttc .woff .woff2 .eot .dfont .css .js .jpg .jpeg .png .gif .webp .svg .mp3 .mp4 .m4a .ogg .opus .webm"
)

# What stands in a scheme's files, in the order in which it is looked for.
_SIGNS = (
    (b"readium.org/2014/01/lcp", "Readium LCP"),
    (b"ns.adobe.com/adept", "Adobe ADEPT"),
    (b"ns.adobe.com/digitaleditions", "Adobe ADEPT"),
    (b"itunes.apple.com", "Apple FairPlay"),
    (b"marlin", "Marlin"),
    (b"kobobooks.com", "Kobo"),
    (b"barnesandnoble", "Barnes & Noble"),
)


def refuse_locked(archive: Archive, book: str) -> None:
    """Raise `BookError`, naming the scheme, when pages of the book are encrypted or a licence lies beside them."""
    if scheme := _scheme(archive):
        raise BookError(
            f"{book} is locked by {scheme}: only its own reading app can open it.",
            "Ask the seller for a copy without DRM; many offer one, and public-domain books are free of it.",
        )


def _scheme(archive: Archive) -> str:
    """Name what locks the book; "" when nothing does."""
    files = b"".join(archive.read(name) for name in (_RIGHTS, _ENCRYPTION) if archive.find(name)).lower()
    named = next((name for sign, name in _SIGNS if sign in files), "")
    if archive.find(_LCP):
        return "Readium LCP"
    if archive.find(_FAIRPLAY):
        return "Apple FairPlay"
    if archive.find(_RIGHTS) and named:
        return named
    if archive.find(_ENCRYPTION) and _locks_pages(archive):
        return named or "DRM of an unknown kind"
    return ""


def _locks_pages(archive: Archive) -> bool:
    """Tell whether anything that is read is encrypted."""
    try:
        root = parse_xml(archive.read(_ENCRYPTION), _ENCRYPTION)
    except BookError:
        return False  # a list of nothing; pages that are locked all the same are no text and left out
    for data in descendants(root, "EncryptedData"):
        methods = [attribute(method, "Algorithm") for method in descendants(data, "EncryptionMethod")]
        if methods and all(method in _OBFUSCATED_FONTS for method in methods):
            continue
        names = [attribute(reference, "URI") for reference in descendants(data, "CipherReference")]
        if any(not name.partition("?")[0].lower().endswith(tuple(_NOT_READ.split())) for name in names):
            return True
    return False
