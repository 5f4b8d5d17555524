"""Load plain text: decode, clean, take off a Project Gutenberg frame, find a title and the chapters."""

from __future__ import annotations

from cagchat.documents.chapters import find_sections
from cagchat.documents.cleaning import clean
from cagchat.documents.document import Document
from cagchat.documents.encoding import decode, notes_on
from cagchat.documents.gutenberg import unframe
from cagchat.documents.headings import label_of
from cagchat.documents.titles import TitlePage, title_from_name, title_page
from cagchat.errors import BookError

KIND = "text"


def load_text(content: bytes, name: str) -> Document:
    """Return the document in `content`; `name` is the file's path, the last resort for a title."""
    decoded, encoding = decode(content)
    framed = unframe(clean(decoded))
    if not framed.text:
        raise no_text(name)
    opens_with_heading = label_of(framed.text.partition("\n")[0]) is not None
    page = TitlePage() if framed.title or opens_with_heading else title_page(framed.text)
    return Document(
        title=framed.title or page.title or title_from_name(name),
        text=framed.text,
        sections=find_sections(framed.text),
        kind=KIND,
        author=framed.author or page.author,
        language=framed.language,
        notes=(*notes_on(framed.text, encoding), *framed.notes),
    )


def no_text(name: str) -> BookError:
    """Describe a file in which nothing is left after cleaning."""
    return BookError(f"{name} holds no text, only blanks.", "Give a file with text in it; a download may have failed.")
