"""Word documents built in memory, a part at a time."""

from __future__ import annotations

import io
import zipfile

TRANSITIONAL = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
_MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
_RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_OUTER = "http://schemas.openxmlformats.org/package/2006/relationships"

STYLES = """
<w:docDefaults><w:rPrDefault><w:rPr><w:lang w:val="de-DE"/></w:rPr></w:rPrDefault></w:docDefaults>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/><w:pPr><w:outlineLvl w:val="0"/></w:pPr>
</w:style>
<w:style w:type="paragraph" w:styleId="berschrift2"><w:name w:val="heading 2"/></w:style>
<w:style w:type="paragraph" w:styleId="Kapitel"><w:name w:val="Kapitel"/><w:basedOn w:val="berschrift1"/></w:style>
<w:style w:type="paragraph" w:styleId="P3"><w:name w:val="Titre 3"/></w:style>
<w:style w:type="paragraph" w:styleId="Titel"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="Verzeichnis1"><w:name w:val="toc 1"/></w:style>
<w:style w:type="paragraph" w:styleId="A"><w:name w:val="A"/><w:basedOn w:val="B"/></w:style>
<w:style w:type="paragraph" w:styleId="B"><w:name w:val="B"/><w:basedOn w:val="A"/></w:style>
"""


def paragraph(text: str, style: str = "", properties: str = "") -> str:
    """Return a paragraph with one run."""
    named = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f'<w:p><w:pPr>{named}{properties}</w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def note_mark(number: int, kind: str = "footnote") -> str:
    """Return a run with the mark of a note."""
    return f'<w:r><w:{kind}Reference w:id="{number}"/></w:r>'


def notes(texts: dict[int, str], kind: str = "footnote") -> str:
    """Return the content of the part that holds footnotes or endnotes."""
    return "".join(f'<w:{kind} w:id="{number}">{paragraph(text)}</w:{kind}>' for number, text in texts.items())


def docx(body: str, *, namespace: str = TRANSITIONAL, title: str = "", author: str = "", **parts: str) -> bytes:
    """Return a Word document; `parts` hold the content of "styles", "footnotes", "endnotes", "numbering"."""
    files = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{_OUTER}"><Relationship Id="a" Type="{_RELATED}/officeDocument" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": _part("document", f"<w:body>{body}</w:body>", namespace),
        "docProps/core.xml": '<cp:coreProperties xmlns:cp="urn:cp" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>{title}</dc:title><dc:creator>{author}</dc:creator></cp:coreProperties>",
    }
    for name, content in parts.items():
        files[f"word/{name}.xml"] = _part(name, content, namespace)
    return packed(files)


def packed(files: dict[str, str]) -> bytes:
    """Return a ZIP archive of these files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(zipfile.ZipInfo(name), content)
    return archive.getvalue()


def _part(root: str, content: str, namespace: str) -> str:
    """Return the XML of one part."""
    return f'<w:{root} xmlns:w="{namespace}" xmlns:m="{_MATH}">{content}</w:{root}>'
