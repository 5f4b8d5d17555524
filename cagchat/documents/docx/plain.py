"""Make a document's XML plain before it is converted: headings marked, and nothing left that is not read.

Pictures become their descriptions and formulas their characters; hidden text, generated tables of contents, links to
other parts and the looks of characters go. What mammoth does not know, and would leave out with the text inside, is
written as what it knows.
"""

from __future__ import annotations

from itertools import takewhile

from lxml import etree

from cagchat.documents.docx.formulas import linear
from cagchat.documents.docx.styles import Styles, level_by_name, outline_level
from cagchat.documents.xml import attribute, children, descendants, local

HEADING_STYLE = "cagchat-heading-{level}"
_DEEPEST_HEADING = 6

_IDLE = (
    "proofErr lastRenderedPageBreak bookmarkStart bookmarkEnd commentRangeStart commentRangeEnd commentReference "
    "imagedata blip sectPr permStart permEnd rsids"
)
# Around runs: a field's result, text that is written against the direction of its line. Over them: readings.
_WRAPPERS = ("fldSimple", "bdo", "dir")
_READINGS = ("rt", "rubyPr")
_USUAL_NAMES = {"cr": "br", "ptab": "tab"}
_CONTENTS_GALLERY = "table of contents"
_LONGEST_DESCRIPTION = 1000


def make_plain(root: etree._Element, styles: Styles) -> str:
    """Change a part in place; return the text of its first paragraph in the style of a book's title, "" without one."""
    etree.strip_elements(root, *(f"{{*}}{name}" for name in _IDLE.split()), with_tail=False)
    _write_usually(root)
    for element in list(root.iter("{*}sdt")):
        if _is_contents(element):
            _remove(element)
    for run in list(root.iter("{*}r")):
        _plain_run(run)
    for formula in list(root.iter("{*}oMath")):
        _write_out(formula, linear(formula))
    for drawing in list(root.iter("{*}drawing", "{*}pict")):
        _describe(drawing)
    for link in root.iter("{*}hyperlink"):
        for key in [key for key in link.attrib if str(key).endswith("}id")]:
            del link.attrib[key]
    title = ""
    for paragraph in list(root.iter("{*}p")):
        title = _plain_paragraph(paragraph, styles, title)
        _join_runs(paragraph)
    return title


def _write_usually(root: etree._Element) -> None:
    """Write what the converter does not know as what it knows."""
    for alternatives in reversed(list(root.iter("{*}AlternateContent"))):  # innermost first: one may hold others
        _choose(alternatives)
    etree.strip_elements(root, *(f"{{*}}{name}" for name in _READINGS), with_tail=False)
    unwrapped = ("AlternateContent", "Choice", "Fallback", "ruby", "rubyBase", *_WRAPPERS)
    etree.strip_tags(root, *(f"{{*}}{name}" for name in unwrapped))
    for name, usual in _USUAL_NAMES.items():
        for element in list(root.iter(f"{{*}}{name}")):
            element.tag = _sibling(element, usual)
    for drawing in list(root.iter("{*}drawing", "{*}pict")):
        if boxes := _text_boxes(drawing):
            drawing.tag = _sibling(boxes[0], "pict")  # whose text is put after the paragraph that it hangs on
            drawing[:] = boxes


def _choose(alternatives: etree._Element) -> None:
    """Leave one form of a content: the one for older programs, which is the plainest, unless only another has text."""
    forms = [*children(alternatives, "Fallback"), *children(alternatives, "Choice")]
    kept = next((form for form in forms if _has_text(form)), None)
    if kept is None:
        kept = next((form for form in forms if len(form)), None)
    for form in list(alternatives):
        if form is not kept:
            alternatives.remove(form)


def _has_text(element: etree._Element) -> bool:
    """Tell whether there is text anywhere inside."""
    return any((found.text or "").strip() for found in descendants(element, "t"))


def _text_boxes(drawing: etree._Element) -> list[etree._Element]:
    """Return the boxes with text in a drawing, without those inside another box."""
    return [
        box
        for box in descendants(drawing, "txbxContent")
        if not any(
            local(outer) == "txbxContent"
            for outer in takewhile(lambda outer: outer is not drawing, box.iterancestors())
        )
    ]


def _plain_run(run: etree._Element) -> None:
    """Drop a hidden run; of another's looks keep whether it is raised."""
    properties = next(children(run, "rPr"), None)
    if properties is None or etree.QName(run).namespace != etree.QName(properties).namespace:
        return
    if any(attribute(hidden, "val") not in ("0", "false", "off") for hidden in children(properties, "vanish")):
        _remove(run)
        return
    for child in list(properties):
        if local(child) != "vertAlign":
            properties.remove(child)
    if not len(properties):
        run.remove(properties)


def _join_runs(paragraph: etree._Element) -> None:
    """Make one run of neighbours that hold nothing but text: Word cuts them at every edit, and each takes its time."""
    before: etree._Element | None = None
    pieces: list[str] = []
    for run in list(paragraph):
        text = run[0] if local(run) == "r" and len(run) == 1 and local(run[0]) == "t" else None
        if text is not None and before is not None:
            pieces.append(text.text or "")
            paragraph.remove(run)
            continue
        if before is not None:
            before.text = "".join(pieces)
        before = text
        pieces = [text.text or ""] if text is not None else []
    if before is not None:
        before.text = "".join(pieces)


def _plain_paragraph(paragraph: etree._Element, styles: Styles, title: str) -> str:
    """Mark a heading as one, drop a line of the contents, return the book's title once it is found."""
    properties = next(children(paragraph, "pPr"), None)
    if properties is None:
        return title
    for child in list(properties):
        if local(child) not in ("pStyle", "numPr", "outlineLvl", "rPr"):
            properties.remove(child)
    style = next(children(properties, "pStyle"), None)
    identifier = attribute(style, "val") if style is not None else ""
    if identifier in styles.contents:
        _remove(paragraph)
        return title
    level = outline_level(properties)
    if level is None:
        level = styles.levels.get(identifier) or level_by_name(identifier)
    if level:
        if style is None:
            style = etree.SubElement(properties, _sibling(paragraph, "pStyle"))
        style.set(_sibling(paragraph, "val"), HEADING_STYLE.format(level=min(level, _DEEPEST_HEADING)))
        # Numbered headings would be converted to items of a list.
        etree.strip_elements(properties, "{*}numPr", with_tail=False)
    elif style is not None and (identifier in styles.levels or level_by_name(identifier)):
        properties.remove(style)
    if not title and identifier in styles.titles:
        title = " ".join("".join(found.text or "" for found in descendants(paragraph, "t")).split())
    return title


def _is_contents(element: etree._Element) -> bool:
    """Tell whether a control holds the table of contents that Word generates."""
    properties = next(children(element, "sdtPr"), None)
    if properties is None:
        return False
    return any(
        attribute(found, "val").lower() == _CONTENTS_GALLERY for found in descendants(properties, "docPartGallery")
    )


def _describe(drawing: etree._Element) -> None:
    """Put a picture's description in its place, and drawn words as they are; text inside drawings stays."""
    if next(descendants(drawing, "txbxContent"), None) is not None:
        return
    named = next(descendants(drawing, "docPr", "shape"), None)
    text = (attribute(named, "descr") or attribute(named, "alt")) if named is not None else ""
    drawn = next(descendants(drawing, "textpath"), None)  # letters that are drawn along a line
    parent = drawing.getparent()
    if parent is None:
        return
    words = attribute(drawn, "string") if drawn is not None else ""
    if words or text:
        shown = " ".join((words or text)[:_LONGEST_DESCRIPTION].split())
        written = etree.Element(_sibling(parent, "t"))
        written.text = shown if words else f"[{shown}]"
        parent.replace(drawing, written)
    else:
        _remove(drawing)


def _write_out(formula: etree._Element, text: str) -> None:
    """Put a formula's characters into a run in its place."""
    paragraph = next(formula.iterancestors("{*}p"), None)
    parent = formula.getparent()
    if paragraph is None or parent is None:
        return
    run = etree.Element(_sibling(paragraph, "r"))
    etree.SubElement(run, _sibling(paragraph, "t")).text = text
    if local(parent) == "oMathPara" and (outer := parent.getparent()) is not None:
        # Where formulas stand on a line of their own, their wrapper is nothing that is read.
        outer.insert(outer.index(parent), run)
        parent.remove(formula)
    else:
        run.tail = formula.tail
        parent.replace(formula, run)


def _sibling(element: etree._Element, name: str) -> str:
    """Return a name in the namespace of `element`: strict and transitional documents have different ones."""
    namespace = etree.QName(element).namespace
    return f"{{{namespace}}}{name}" if namespace else name


def _remove(element: etree._Element) -> None:
    """Take an element out of its tree."""
    if (parent := element.getparent()) is not None:
        parent.remove(element)
