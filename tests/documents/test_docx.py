"""Loading Word documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.documents.document import Document
from cagchat.documents.docx import load_docx
from cagchat.errors import BookError
from tests.documents.document_mutations import mutations
from tests.documents.docx_files import STRICT, STYLES, TRANSITIONAL, docx, note_mark, notes, packed, paragraph

REAL = sorted((Path(__file__).resolve().parents[3] / "shared" / "documents").glob("*.docx"))
REAL_TEXTS = {
    "footnotes.docx": "Ouch[1].[2]\n\n[1] A tachyon walks into a bar.\n[2] Fin.\n",
    "simple-list.docx": "- Apple\n- Banana\n",
    "single-paragraph.docx": "Walking on imported air\n",
    "strict-format.docx": "Test\n",
    "tables.docx": "Above\n\nTop left | Top right\nBottom left | Bottom right\n\nBelow\n",
}
NUMBERING = (
    '<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl><w:lvl w:ilvl="1">'
    '<w:numFmt w:val="bullet"/></w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'
)


def load(body: str, **parts: str) -> Document:
    """Load a document with this body."""
    return load_docx(docx(body, **{"styles": STYLES, **parts}), "the_tower.docx")


def run(text: str, properties: str = "") -> str:
    """Return a run."""
    return f"<w:r><w:rPr>{properties}</w:rPr><w:t>{text}</w:t></w:r>"


def listed(text: str, level: int) -> str:
    """Return an item of a list."""
    return paragraph(text, "", f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="1"/></w:numPr>')


@pytest.mark.parametrize(
    ("style", "properties", "level"),
    [
        ("berschrift1", "", 1),
        ("berschrift2", "", 2),
        ("Kapitel", "", 1),
        ("P3", "", 3),
        ("Heading4", "", 4),
        ("", '<w:outlineLvl w:val="1"/>', 2),
        ("berschrift1", '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>', 1),
        ("berschrift1", '<w:outlineLvl w:val="9"/>', 0),
        ("A", "", 0),
        ("", "", 0),
    ],
)
def test_headings_are_found_in_any_language(style: str, properties: str, level: int) -> None:
    """Outline levels count first, of the paragraph, its style, or the style below; then names, then ids."""
    outer = "".join(paragraph(f"Outer {number}", "", f'<w:outlineLvl w:val="{number}"/>') for number in range(6))
    document = load(outer + paragraph("Tower", style, properties) + paragraph("text"), numbering=NUMBERING)
    found = [section.level for section in document.sections if section.title == "Tower"]
    assert found == ([level] if level else [])


def test_lists_are_read_with_markers() -> None:
    """Numbers and bullets stand before items, deeper ones are indented."""
    document = load(listed("one", 0) + listed("in", 1) + listed("two", 0), numbering=NUMBERING)
    assert document.text == "1. one\n  - in\n2. two\n"


def test_tables_are_rows() -> None:
    """Merged cells keep the others in their columns."""
    merged = '<w:tcPr><w:vMerge w:val="restart"/></w:tcPr>', "<w:tcPr><w:vMerge/></w:tcPr>"
    rows = "".join(
        f"<w:tr><w:tc>{merge}{paragraph('x')}</w:tc><w:tc>{paragraph(text)}</w:tc></w:tr>"
        for merge, text in zip(merged, "ab", strict=True)
    )
    assert load(f"<w:tbl>{rows}</w:tbl>").text == "x | a\nx | b\n"


@pytest.mark.parametrize("namespace", [TRANSITIONAL, STRICT])
def test_notes_stand_at_the_end_of_their_section(namespace: str) -> None:
    """Footnotes and endnotes keep their marks and come before the next heading."""
    marked = f"<w:p>{run('Text')}{note_mark(2)}{run(' goes on')}{note_mark(5, 'endnote')}</w:p>"
    content = docx(
        paragraph("One", "berschrift1")
        + marked
        + paragraph("more")
        + paragraph("Two", "berschrift1")
        + paragraph("end"),
        namespace=namespace,
        styles=STYLES,
        footnotes=notes({2: " Foot."}),
        endnotes=notes({5: " End."}, "endnote"),
    )
    expected = "One\n\nText[1] goes on[2]\n\nmore\n\n[1] Foot.\n[2] End.\n\nTwo\n\nend\n"
    assert load_docx(content, "x.docx").text == expected


def test_edits_count_as_accepted() -> None:
    """Deleted text is left out, inserted text is read."""
    deleted = "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
    assert load(f"<w:p>{run('kept')}{deleted}<w:ins>{run(' new')}</w:ins></w:p>").text == "kept new\n"


def test_what_is_not_read_is_left_out() -> None:
    """Comments, hidden text and the generated table of contents are no part of the book."""
    comment = '<w:r><w:commentReference w:id="1"/></w:r>'
    contents = (
        '<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val="Table of Contents"/></w:docPartObj></w:sdtPr>'
        f"<w:sdtContent>{paragraph('Contents')}</w:sdtContent></w:sdt>"
    )
    body = (
        contents
        + paragraph("One ... 3", "Verzeichnis1")
        + f"<w:p>{run('text')}{comment}{run('x', '<w:vanish/>')}</w:p>"
    )
    assert load(body, comments=f'<w:comment w:id="1">{paragraph("why?")}</w:comment>').text == "text\n"


def test_pictures_and_formulas_are_read() -> None:
    """A picture is its description, a formula its characters, a raised number raised."""
    picture = '<w:r><w:drawing><x:inline xmlns:x="urn:x"><x:docPr descr="A ship"/></x:inline></w:drawing></w:r>'
    formula = "<m:oMathPara><m:oMath><m:r><m:t>a+</m:t></m:r><m:r><m:t>b</m:t></m:r></m:oMath></m:oMathPara>"
    raised = run("2", '<w:vertAlign w:val="superscript"/>')
    assert load(f"<w:p>{picture}{run(' x')}{raised}{run(' ')}{formula}</w:p>").text == "[A ship] x² a+b\n"


def math(*pieces: str) -> str:
    """Return runs of a formula."""
    return "".join(f"<m:r><m:t>{piece}</m:t></m:r>" for piece in pieces)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (f"<m:f><m:num>{math('1')}</m:num><m:den>{math('n', '+1')}</m:den></m:f>", "1/(n+1)"),
        (f"<m:sSup><m:e>{math('x')}</m:e><m:sup>{math('12')}</m:sup></m:sSup>", "x^12"),
        (f"<m:sSubSup><m:e>{math('x')}</m:e><m:sub>{math('i')}</m:sub><m:sup>{math('2')}</m:sup></m:sSubSup>", "x_i^2"),
        (f"<m:rad><m:deg/><m:e>{math('a+b')}</m:e></m:rad>", "√(a+b)"),
        (f"{math('f')}<m:d><m:e>{math('x')}</m:e></m:d>", "f(x)"),
        (f"<m:d><m:dPr><m:begChr m:val='|'/><m:endChr m:val='|'/></m:dPr><m:e>{math('x')}</m:e></m:d>", "|x|"),
        (
            f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{math('i=1')}</m:sub><m:sup>{math('n')}</m:sup>"
            f"<m:e>{math('i')}</m:e></m:nary>",
            "∑_(i=1)^n i",
        ),
        (f"<m:func><m:fName>{math('sin')}</m:fName><m:e>{math('x')}</m:e></m:func>", "sin x"),
    ],
)
def test_formulas_are_written_on_a_line(formula: str, text: str) -> None:
    """Fractions, powers, roots and brackets keep their meaning: a half is not twelve."""
    assert load(f"<w:p><m:oMath>{formula}</m:oMath></w:p>").text == f"{text}\n"


def test_drawn_words_are_read() -> None:
    """Letters along a line are words of the text, not the description of a picture."""
    drawn = '<v:shape xmlns:v="urn:schemas-microsoft-com:vml" alt="art"><v:textpath string="THE KEEPER"/></v:shape>'
    assert load(f"<w:p><w:r><w:pict>{drawn}</w:pict></w:r></w:p>").text == "THE KEEPER\n"


MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
WPS = 'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
VML = 'xmlns:v="urn:schemas-microsoft-com:vml"'


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (f'{run("see")}<w:fldSimple w:instr="REF x">{run(" Chapter 3")}</w:fldSimple>{run(".")}', "see Chapter 3."),
        (f'{run("a")}<w:bdo w:val="rtl">{run(" b")}<w:dir w:val="rtl">{run(" c")}</w:dir></w:bdo>', "a b c"),
        ("<w:r><w:t>a</w:t><w:cr/><w:t>b</w:t><w:ptab/><w:t>c</w:t></w:r>", "a\nb c"),
        (
            f"<w:r><w:ruby><w:rubyPr/><w:rt>{run('かん')}</w:rt><w:rubyBase>{run('漢')}</w:rubyBase></w:ruby></w:r>"
            f"{run('字')}",
            "漢字",
        ),
    ],
)
@pytest.mark.parametrize("namespace", [TRANSITIONAL, STRICT])
def test_fields_directions_readings_and_line_ends_keep_their_text(namespace: str, inner: str, text: str) -> None:
    """A field's result, text against the direction of its line, and what a reading stands over are read."""
    document = load_docx(docx(f"<w:p>{inner}</w:p>", namespace=namespace), "x.docx")
    assert (document.text, document.notes) == (f"{text}\n", ())


@pytest.mark.parametrize("forms", ["choice", "fallback", "both", "choice with a picture to fall back on", "neither"])
def test_a_text_box_is_read_once(forms: str) -> None:
    """Whichever of its forms a file has, a box's text stands once, after the paragraph that it hangs on."""
    content = f"<w:txbxContent>{paragraph('boxed')}</w:txbxContent>"
    drawn = f"<w:drawing><wps:wsp {WPS}><wps:txbx>{content}</wps:txbx></wps:wsp></w:drawing>"
    oval = f"<w:pict><v:oval {VML}><v:textbox>{content}</v:textbox></v:oval></w:pict>"
    picture = f"<w:pict><v:shape {VML} alt='a picture'/></w:pict>"
    box = {
        "choice": f"<mc:AlternateContent {MC}><mc:Choice>{drawn}</mc:Choice></mc:AlternateContent>",
        "fallback": f"<mc:AlternateContent {MC}><mc:Fallback>{oval}</mc:Fallback></mc:AlternateContent>",
        "both": f"<mc:AlternateContent {MC}><mc:Choice>{drawn}</mc:Choice><mc:Fallback>{oval}</mc:Fallback>"
        "</mc:AlternateContent>",
        "choice with a picture to fall back on": f"<mc:AlternateContent {MC}><mc:Choice>{drawn}</mc:Choice>"
        f"<mc:Fallback>{picture}</mc:Fallback></mc:AlternateContent>",
        "neither": drawn,
    }[forms]
    assert load(f"<w:p><w:r>{box}</w:r>{run('after')}</w:p>{paragraph('next')}").text == "after\n\nboxed\n\nnext\n"


def test_what_is_not_understood_is_said_once() -> None:
    """Unknown elements with text, and documents inserted as files of their own, make one note; others make none."""
    unknown = f"<w:odd>{run('lost')}</w:odd><w:idle/>"
    document = load(f"<w:p>{run('text')}{unknown}{unknown}</w:p><w:altChunk/>")
    assert document.text == "text\n"
    assert document.notes == (
        "Some of the document was not understood (an inserted document, odd); text may be missing.",
    )
    assert load(f"<w:p>{run('text')}<w:idle/></w:p>").notes == ()
    sign = '<w:r><w:sym w:font="Odd" w:char="F0E0"/></w:r>'
    assert "signs of a symbol font" in load(f"<w:p>{run('text')}{sign}</w:p>").notes[0]


def test_properties_name_the_book() -> None:
    """Title and author come from the properties, the language from the styles."""
    document = load_docx(docx(paragraph("text"), title="The Tower", author="Ada Example", styles=STYLES), "x.docx")
    assert (document.title, document.author, document.language) == ("The Tower", "Ada Example", "de-DE")


def test_properties_that_programs_filled_in_do_not_count() -> None:
    """A title in the text, or the file's name, says more than "Microsoft Word - Document1"."""
    empty = {"title": "Microsoft Word - Document1", "author": "Windows User"}
    titled = load(paragraph("The Lamp", "Titel") + paragraph("text"), **empty)
    assert (titled.title, titled.author) == ("The Lamp", "")
    assert load(paragraph("text"), **empty).title == "The Tower"


def test_parts_are_found_by_their_relationships() -> None:
    """The main part may have any name and place."""
    files = {
        "_rels/.rels": '<Relationships><Relationship Type="x/officeDocument" Target="/a/b/main2.xml"/></Relationships>',
        "a/b/main2.xml": f'<w:document xmlns:w="{STRICT}"><w:body>{paragraph("text")}</w:body></w:document>',
    }
    assert load_docx(packed(files), "x.docx").text == "text\n"


def test_a_locked_document_is_refused_by_name() -> None:
    """Encryption puts the package into an old container; other old containers are old documents."""
    container = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    with pytest.raises(BookError, match="locked: Word has encrypted it"):
        load_docx(container + "EncryptedPackage".encode("utf-16-le"), "x.docx")
    with pytest.raises(BookError, match="old Office document"):
        load_docx(container, "x.docx")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        packed({"a.txt": "text"}),
        packed({"word/document.xml": ""}),
        packed({"word/document.xml": "<html/>"}),
        packed({"word/document.xml": "<w:document xmlns:w='urn:x'/>"}),
        docx(""),
        docx(paragraph("")),
        docx(paragraph("text"), numbering='<w:num w:numId="1"/>'),
        docx("<w:tbl><w:tr><w:tc>" * 60 + paragraph("text") + "</w:tc></w:tr></w:tbl>" * 60),
        docx('<w:p><w:r><w:sym w:char="zz" w:font="x"/></w:r></w:p>'),
    ],
)
def test_what_is_no_document_is_refused(content: bytes) -> None:
    """Missing parts, empty texts and broken structures are one error with a hint."""
    with pytest.raises(BookError) as caught:
        load_docx(content, "x.docx")
    assert "x.docx" in caught.value.message
    assert caught.value.hint


def test_entities_are_not_expanded() -> None:
    """What a document type declares is neither loaded nor multiplied."""
    bomb = '<!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]>'
    body = f"<w:body>{paragraph('x&b;y')}</w:body>"
    files = {"word/document.xml": f'{bomb}<w:document xmlns:w="{TRANSITIONAL}">{body}</w:document>'}
    assert "lol" not in load_docx(packed(files), "x.docx").text


@pytest.mark.parametrize("where", ["title", "author"])
def test_halves_of_characters_are_no_trap(where: str) -> None:
    """A reference to what is no character is left out, wherever it stands."""
    assert load(paragraph("te&#xD800;xt"), **{where: "a&#xDFFF;b"}).text == "text\n"


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_documents_are_read_whole(path: Path) -> None:
    """Documents beside the checkout have the text that Word shows."""
    document = load_docx(path.read_bytes(), str(path))
    assert document.text == REAL_TEXTS.get(path.name, document.text)


def test_damaged_documents_are_read_or_refused() -> None:
    """Of damaged copies every one is a document whose sections tile it, or a `BookError`."""
    whole = docx(
        paragraph("One", "berschrift1")
        + listed("a", 0)
        + f"<w:p>{run('b')}{note_mark(2)}</w:p>"
        + paragraph("c", "P3"),
        styles=STYLES,
        footnotes=notes({2: "note"}),
        numbering=NUMBERING,
    )
    read = 0
    for content in mutations(whole, 200, seed=5):
        try:
            document = load_docx(content, "x.docx")
        except BookError:
            continue
        assert "".join(document.text[part.start : part.end] for part in document.sections) == document.text
        read += 1
    print(f"{read} of 200 read")
    assert 0 < read < 200
