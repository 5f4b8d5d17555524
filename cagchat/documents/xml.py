"""Parse XML that comes with books: no entity is expanded, nothing outside is loaded, damage is mended where possible.

EPUB packages and Office files are written by many hands; what a strict parser refuses is often readable all the same.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator

from lxml import etree

from cagchat.documents.encoding import decode, mark_of
from cagchat.errors import BookError

MAX_BYTES = 16 << 20

_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([A-Za-z0-9._:-]{1,40})["']""")
_XML_DECLARATION = re.compile(r"\s*<\?xml\b[^>]{0,400}\?>")
_NOT_BLANK = re.compile(r"\S")
_DOCTYPE = "<!doctype"
_DECLARATION_BYTES = 500
# Python knows these as encodings; no file is written in them, and a declaration must not bring them in.
_NOT_FOR_FILES = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape"})
# Encodings that write everything in ASCII: their files pass for UTF-8.
_SEVEN_BITS = ("iso2022", "hz", "utf-7")
_AS_BROWSERS_DO = {"iso8859-1": "cp1252", "ascii": "cp1252"}
# XML 1.0 has no place for these; one of them would end the parse.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
# In recovery libxml2 takes a reference to half a character for one, as bytes that no string can hold.
_HALF = re.compile(
    "&#(?:x0*d[89a-f][0-9a-f]{2}|0*(?:5529[6-9]|55[3-9][0-9]{2}|56[0-9]{3}|57[0-2][0-9]{2}|573[0-3][0-9]|5734[0-3]))"
    "(?:;|(?![0-9a-f]))",
    re.I,
)


def decode_xml(content: bytes) -> str:
    """Return the text of an XML or XHTML file, without byte order mark, XML declaration and document type.

    Entities are declared in the document type; without it there are none that could grow or lead outside.
    The mark counts first, then UTF-8 and the declared encoding if the bytes fit, then what they look like.
    """
    text = _decode_declared(content)
    if text is None:
        text, _ = decode(content)
    return _without_doctype(_HALF.sub("", _FORBIDDEN.sub("", text)).lstrip("\ufeff"))


def parse_xml(content: bytes, name: str, *, max_bytes: int = MAX_BYTES) -> etree._Element:
    """Return the root element; `name` says in messages which file it is.

    Raises `BookError` when there is no XML in it or it is larger than `max_bytes`. Elements deeper than libxml2's own
    limit of 256 are left out.
    """
    if len(content) > max_bytes:
        raise BookError(
            f"{name} is {len(content) >> 20} MiB of XML, which no book needs.", "Give a file from a source you trust."
        )
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        recover=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(decode_xml(content).encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise _no_xml(name) from error
    # In recovery, lxml answers None for a file without a single element, which its types do not say.
    if not isinstance(root, etree._Element):
        raise _no_xml(name)
    return root


def local(element: etree._Element) -> str:
    """Return an element's name without its namespace or prefix; "" for entities and the like."""
    return _bare(element.tag) if isinstance(element.tag, str) else ""


def attribute(element: etree._Element, name: str) -> str:
    """Return the attribute of that local name, whatever its namespace, without blanks around it; "" without one."""
    if (plain := element.get(name)) is not None:
        return str(plain).strip()
    return next((value.strip() for key, value in _attributes(element) if _bare(key) == name), "")


def descendants(element: etree._Element, *names: str) -> Iterator[etree._Element]:
    """Yield the elements below (and with) `element` that have one of these local names, in document order.

    Here and in `children` capitals make no difference: old books write `dc:Title`.
    """
    wanted = frozenset(name.lower() for name in names)
    return (found for found in element.iter() if local(found).lower() in wanted)


def children(element: etree._Element, *names: str) -> Iterator[etree._Element]:
    """Yield the child elements that have one of these local names."""
    wanted = frozenset(name.lower() for name in names)
    return (child for child in element if local(child).lower() in wanted)


def text_of(element: etree._Element) -> str:
    """Return all text inside an element on one line; characters by their HTML names (`&eacute;`) are resolved."""
    pieces: list[str] = []
    for found in element.iter():
        if found.tag is etree.Entity:
            # An entity that the file itself declares stays unresolved, and is left out.
            named = html.unescape(found.text or "")
            pieces.append(named if "&" not in named or named == "&" else "")
        else:
            pieces.append(found.text or "")
        if found is not element:
            pieces.append(found.tail or "")
    return " ".join("".join(pieces).split())


def _bare(name: str) -> str:
    """Take namespace and prefix from a name."""
    return name.rpartition("}")[2].rpartition(":")[2]


def _attributes(element: etree._Element) -> list[tuple[str, str]]:
    """Return the attributes as text."""
    return [(str(key), str(value)) for key, value in element.attrib.items()]


def _decode_declared(content: bytes) -> str | None:
    """Decode by the byte order mark or the declaration; None when neither is there, or the bytes do not fit."""
    if mark := mark_of(content):
        name, length = mark
        return content[length:].decode(name, "replace")
    declared = _DECLARED.search(content[:_DECLARATION_BYTES])
    if not declared:
        return None
    try:
        encoding = codecs.lookup(declared[1].decode("ascii")).name
        if encoding in _NOT_FOR_FILES:
            return None
        # Text in another encoding is never UTF-8 by chance; declarations are left over from conversions.
        if not encoding.startswith(_SEVEN_BITS) and _is_utf8(content):
            return content.decode("utf-8")
        return content.decode(_AS_BROWSERS_DO.get(encoding, encoding))
    except (LookupError, UnicodeError, ValueError):
        return None


def _is_utf8(content: bytes) -> bool:
    """Tell whether the bytes are UTF-8, with no NUL in them as UTF-16 has."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def _without_doctype(text: str) -> str:
    """Take the XML declaration and the document type from the front of the text; comments before it go with them."""
    declaration = _XML_DECLARATION.match(text)
    start = position = declaration.end() if declaration else 0
    while True:
        if (begins := _NOT_BLANK.search(text, position)) is None:
            return text[start:]
        position = begins.start()
        if text.startswith("<!--", position):
            end = text.find("-->", position) + 3
        elif text.startswith("<?", position):
            end = text.find("?>", position) + 2
        elif text[position : position + len(_DOCTYPE)].lower() == _DOCTYPE:
            return text[_end_of_doctype(text, position) :]
        else:
            return text[start:]
        if end <= position:
            return text[start:]
        position = end


def _end_of_doctype(text: str, start: int) -> int:
    """Return where the document type that begins at `start` ends, with the declarations inside it."""
    end = text.find(">", start)
    subset = text.find("[", start, end) if end >= 0 else -1
    if subset >= 0:
        closing = text.find("]", subset)
        end = text.find(">", closing) if closing >= 0 else -1
    return end + 1 if end >= 0 else len(text)


def _no_xml(name: str) -> BookError:
    """Describe a file that should be XML."""
    return BookError(f"{name} is damaged: there is no XML in it.", "Download or export the book again.")
