"""Markdown as rows of a width, drawn by rich: one widget can show an answer of any length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, Paragraph, TableElement
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.theme import Theme
from textual.strip import Strip

GOES_ON = "goes_on"
CODE_INDENT = 2
# What rich calls the parts of a text, by what we call them.
NAMES = {
    "heading": ("h1", "h2", "h3", "h4", "h5", "h6"),
    "code": ("code",),
    "quote": ("block_quote",),
    "mark": ("item.bullet", "item.number", "hr", "table.border", "link_url"),
    "head": ("table.header",),
}


class FilledParagraph(Paragraph):
    """A paragraph that remembers where a row ends only because there was no more room."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the rows; those that go on are marked for who copies them."""
        self.text.justify = "default"  # the other ways fill the rows with blanks
        for line in self.text.split("\n", allow_blank=True) or [Text()]:
            rows = line.wrap(console, options.max_width)
            for row in rows[:-1]:
                row.rstrip()
                row.stylize(Style(meta={GOES_ON: True}))
            yield from rows


class PlainHeading(Heading):
    """A heading at the left, whatever its level."""

    LEVEL_ALIGN: ClassVar = {}


class IndentedCode(CodeBlock):
    """Code in the terminal's own colours, on its own background."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the code."""
        shown = Syntax("", self.lexer_name, theme=self.theme, background_color="default").highlight(self.text.plain)
        shown.rstrip()
        shown.no_wrap = False
        yield Padding(shown, (0, 0, 0, CODE_INDENT))


class PlainTable(TableElement):
    """A table without blank rows around it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table."""
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            table.show_edge = False
            yield table


class AnswerMarkdown(Markdown):
    """Markdown in which HTML and definitions of links are text like any other: nothing of an answer is hidden."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "paragraph_open": FilledParagraph,
        "heading_open": PlainHeading,
        "fence": IndentedCode,
        "code_block": IndentedCode,
        "table_open": PlainTable,
    }

    def __init__(self, text: str, *, dark: bool) -> None:
        # A link shows where it leads: the model wrote it.
        super().__init__("", code_theme="ansi_dark" if dark else "ansi_light", hyperlinks=False)
        rules = MarkdownIt().enable(["strikethrough", "table"]).disable(["html_block", "html_inline", "reference"])
        self.markup = text
        self.parsed = rules.parse(text)


def rows_of(text: str, width: int, console: Console, styles: Mapping[str, Style], *, dark: bool) -> list[Strip]:
    """Return Markdown as rows; `styles` are those of headings, code, quotes, marks (bullets, borders) and heads."""
    named = {f"markdown.{name}": styles[ours] for ours, names in NAMES.items() for name in names}
    options = console.options.update(width=max(1, width), height=None, highlight=False)
    with console.use_theme(Theme(named)):
        lines = console.render_lines(AnswerMarkdown(text, dark=dark), options, pad=False)
    return [Strip(line) for line in lines]


def goes_on(row: Iterable[Segment]) -> bool:
    """Tell whether a row ends only because there was no more room."""
    return any(segment.style is not None and GOES_ON in segment.style.meta for segment in row)
