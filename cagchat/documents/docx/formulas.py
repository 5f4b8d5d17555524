"""Write a formula of a Word document (OMML) on one line: fractions, powers, roots and brackets as one types them."""

from __future__ import annotations

from lxml import etree

from cagchat.documents.xml import attribute, children, local

_SCRIPTS = {"sup": "^", "sub": "_"}


def linear(element: etree._Element) -> str:
    """Return what stands in a formula or a part of it; what has no form of its own is read piece by piece."""
    match local(element):
        case "t":
            return element.text or ""
        case "f":
            return f"{_grouped(_part(element, 'num'))}/{_grouped(_part(element, 'den'))}"
        case "sSup" | "sSub" | "sSubSup":
            return _part(element, "e") + _scripts(element)
        case "rad":
            return f"{_part(element, 'deg')}√{_grouped(_part(element, 'e'))}"
        case "nary":
            return f"{_character(element, 'naryPr', 'chr', '∫')}{_scripts(element)} {_part(element, 'e')}"
        case "d":
            begin, between, end = (
                _character(element, "dPr", name, usual)
                for name, usual in (("begChr", "("), ("sepChr", "|"), ("endChr", ")"))
            )
            return begin + between.join(linear(inner) for inner in children(element, "e")) + end
        case "func":
            return f"{_part(element, 'fName')} {_part(element, 'e')}"
        case "mr":
            return f"{', '.join(linear(inner) for inner in children(element, 'e'))}; "
        case _:
            return "".join(linear(child) for child in element)


def _part(element: etree._Element, name: str) -> str:
    """Return what stands in the child of this name, "" without one."""
    return "".join(linear(child) for child in children(element, name))


def _scripts(element: etree._Element) -> str:
    """Return what is lowered and raised, `_1^n`."""
    found = ((sign, _part(element, name)) for name, sign in reversed(_SCRIPTS.items()))
    return "".join(sign + _grouped(text) for sign, text in found if text)


def _grouped(text: str) -> str:
    """Put brackets around what would be read otherwise."""
    return text if len(text) < 2 or text.isalnum() else f"({text})"


def _character(element: etree._Element, properties: str, name: str, usual: str) -> str:
    """Return a sign that an element's properties name; the usual one where they do not, which may be none at all."""
    for found in children(element, properties):
        for sign in children(found, name):
            return attribute(sign, "val")
    return usual
