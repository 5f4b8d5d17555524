"""Tell which of a document's paragraph styles are headings: by outline level, and by the names they have in Word."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lxml import etree

from cagchat.documents.xml import attribute, children, descendants

# A style may be based on another; longer chains are circles.
_LONGEST_CHAIN = 20
_BODY_TEXT = 9
# Word keeps English names in its files; other programs write what their menus say.
_NAMES = (
    "heading|überschrift|ueberschrift|titre|título|titulo|titolo|intestazione|заголовок|rubrik|overskrift|kop|otsikko|"
    "nagłówek|nadpis|címsor|naslov|başlık|antraštė|virsraksts|επικεφαλίδα|כותרת|عنوان|見出し|标题|標題|제목"
)
_HEADING = re.compile(rf"(?:{_NAMES})[ _-]?([1-9])(?!\d)", re.I)
_TITLE = re.compile(r"title|titel|titre|título|titulo|titolo|название|tytuł|otsikko|표제|タイトル|標題|标题", re.I)
_CONTENTS = re.compile(r"toc[ _-]?\d|(?:contents|verzeichnis|tm|tdc|índice|sommario)[ _-]?\d", re.I)


@dataclass(frozen=True, slots=True)
class Styles:
    """What the ids of paragraph styles stand for: levels of headings, the book's title, lines of its contents."""

    levels: dict[str, int] = field(default_factory=dict)
    titles: frozenset[str] = frozenset()
    contents: frozenset[str] = frozenset()
    language: str = ""


def read_styles(root: etree._Element | None) -> Styles:
    """Read the styles of a document; without any, nothing is a heading by its style but what is named like one."""
    if root is None:
        return Styles()
    found = {
        identifier: style
        for style in descendants(root, "style")
        if attribute(style, "type") in ("paragraph", "") and (identifier := attribute(style, "styleId"))
    }
    names = {identifier: _value(style, "name") or identifier for identifier, style in found.items()}
    levels = {identifier: _level(identifier, found, names) for identifier in found}
    return Styles(
        levels={identifier: level for identifier, level in levels.items() if level},
        titles=frozenset(identifier for identifier, name in names.items() if _TITLE.fullmatch(name)),
        contents=frozenset(identifier for identifier, name in names.items() if _CONTENTS.fullmatch(name)),
        language=next((attribute(language, "val") for language in descendants(root, "lang")), ""),
    )


def level_by_name(name: str) -> int:
    """Return the level of a heading that a style's name or id tells; 0 for other styles."""
    match = _HEADING.fullmatch(name)
    return int(match[1]) if match else 0


def outline_level(properties: etree._Element | None) -> int | None:
    """Return the level that a paragraph's properties give: 1 to 9, 0 for body text, None when they give none."""
    if properties is None:
        return None
    for outline in children(properties, "outlineLvl"):
        value = attribute(outline, "val")
        if value.isascii() and value.isdecimal() and len(value) == 1:
            return 0 if int(value) == _BODY_TEXT else int(value) + 1
    return None


def _level(identifier: str, styles: dict[str, etree._Element], names: dict[str, str]) -> int:
    """Return a style's level: its own outline level or name, else that of the style it is based on."""
    for _ in range(_LONGEST_CHAIN):
        style = styles.get(identifier)
        if style is None:
            break
        level = outline_level(next(children(style, "pPr"), None))
        if level is not None:
            return level
        if level := level_by_name(names[identifier]) or level_by_name(identifier):
            return level
        identifier = _value(style, "basedOn")
    return 0


def _value(element: etree._Element, name: str) -> str:
    """Return the `val` of a child."""
    return next((attribute(child, "val") for child in children(element, name)), "")
