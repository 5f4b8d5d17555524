"""Questions about four novels and where the answer stands, by chapter and by words that one passage must have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from unicodedata import combining, normalize

from cagchat.documents import Document
from cagchat.passages.choose import Passage


@dataclass(frozen=True, slots=True)
class Known:
    """A question; `chapters` are numbers, after those of their book where the novel has books; none means any.

    `is_missed` marks those that a search for words does not find within 2,000 tokens: the book words it otherwise.
    """

    question: str
    chapters: tuple[str, ...]
    words: tuple[str, ...] = ()
    is_missed: bool = False


KNOWN = {
    "war_and_peace": (
        Known("Who dances with Natasha at her first ball?", ("6.16", "6.17"), ("waltz",), is_missed=True),
        Known("What does Pierre do to Dolokhov in the duel?", ("4.5",), ("fired",), is_missed=True),
        Known("What is the comet of 1812?", ("8.22",), ("comet",)),
        Known("Why was Vereshchagin killed by the mob?", ("11.25",), ("vereshchagin",)),
        Known("Who tied a policeman to a bear?", ("1.10",), ("bear",)),
        Known("How does Pierre find the number 666 in Napoleon's name?", ("9.19",), ("666",)),
        Known("How much does Nicholas lose to Dolokhov at cards?", ("4.13", "4.14"), ("forty",)),
        Known("What does Prince Andrew think when he sees the old oak?", ("6.1", "6.3"), ("oak",)),
        Known("Who is Platon Karataev?", ("12.12", "12.13"), ("karataev",)),
        Known("How does Petya Rostov die?", ("14.11",), ("petya",), is_missed=True),
        Known("Where does Natasha dance to Uncle's guitar?", ("7.7",), ("guitar",)),
        Known(
            "What did Prince Andrew see when he lay wounded at Austerlitz under the sky?", ("3.16", "3.19"), ("sky",)
        ),
        Known(
            "Who tries to elope with Natasha?", ("8.16", "8.17", "8.18", "8.13", "8.12"), ("anatole",), is_missed=True
        ),
    ),
    "pride_and_prejudice": (
        Known("What does Mr. Darcy say about Elizabeth at the first assembly?", ("3",), ("tolerable",)),
        Known("How does Mr. Collins propose to Elizabeth?", ("19",), ("clergyman",), is_missed=True),
        Known("Why does Jane fall ill at Netherfield?", ("7",), ("jane",), is_missed=True),
        Known("What does Darcy's letter reveal about Wickham and Georgiana?", ("35",), ("ramsgate",)),
        Known("Where did Lydia elope with Wickham?", ("46", "47"), ("brighton",), is_missed=True),
        Known("What does Lady Catherine demand of Elizabeth about being engaged to her nephew?", ("56",), ("nephew",)),
        Known("What does Elizabeth feel when she first sees Pemberley?", ("43",), ("pemberley",)),
        Known("Who paid Wickham's debts?", ("49", "50", "51", "52"), ("debts",)),
        Known("Whom does Charlotte Lucas marry?", ("22", "23"), ("collins",)),
        Known("What does Mr. Bennet tell Lizzy about an unhappy alternative?", ("20",), ("alternative",)),
    ),
    "moby-dick": (
        Known("What does Ahab nail to the mast for whoever raises the white whale?", ("36",), ("ounce",)),
        Known("Whose coffin becomes the life-buoy?", ("126", "127"), ("coffin",)),
        Known("How does Ishmael first meet Queequeg at the Spouter-Inn?", ("3",), ("tomahawk",)),
        Known("What does Father Mapple preach about?", ("8", "9"), ("mapple",)),
        Known("What happened to Pip when he jumped from the boat?", ("93",), ("pip",)),
        Known("Why is the whiteness of the whale so terrible?", ("42",), ("whiteness",)),
        Known("Whom is the Rachel searching for?", ("128",), ("son",)),
        Known("What does Fedallah prophesy about hearses and hemp?", ("117",), ("hemp",)),
        Known("Who was Steelkilt in the Town-Ho's story?", ("54",), ("lakeman",)),
        Known("How does Ahab die?", ("135",), ("ahab",)),
        Known("How did Ahab lose his leg?", ("41", "16", "28", "106"), ("leg",)),
    ),
    "ulysses": (
        Known("Which kidney does Bloom buy for breakfast?", ("4",), ("kidney",)),
        Known("Who came to Paddy Dignam's funeral?", ("6",), ("dignam",), is_missed=True),
        Known("What does Stephen ask the boys about Pyrrhus?", ("2",), ("pyrrhus",)),
        Known("What is the advertisement for Plumtree's potted meat?", (), ("plumtree", "meat")),
        Known("Which horse won the Gold Cup?", (), ("throwaway",)),
        Known("What does the citizen throw at Bloom?", ("12",), ("citizen",)),
        Known("What does Molly remember of the Moorish wall in Gibraltar?", ("18",), ("moorish",)),
        Known("What does Gerty MacDowell watch on the strand?", ("13",), ("gerty",)),
        Known("Where does Buck Mulligan shave?", ("1",), ("razor",)),
        Known("What does Stephen say of Shakespeare's wife Ann Hathaway?", ("9",), ("hathaway",)),
        Known("How does Bloom make cocoa for Stephen?", ("17",), ("cocoa",)),
    ),
}

_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}


def number(numeral: str) -> int:
    """Return what a Roman numeral below forty-nine says."""
    values = [_ROMAN[letter] for letter in numeral]
    return sum(-value if value < after else value for value, after in zip(values, [*values[1:], 0], strict=True))


def chapter_names(document: Document) -> list[str]:
    """Return the name of each section as the table above has it: "6.16", "42"; "6" and "6." for what is none."""
    books = list(accumulate(section.title.startswith(("BOOK", "FIRST", "SECOND")) for section in document.sections))
    names = []
    for book, section in zip(books, document.sections, strict=True):
        found = re.search(r"\d+|(?<=CHAPTER )[IVXL]+\b", section.title)
        name = found.group() if found else ""
        names.append(f"{book}.{number(name) if name and not name.isdigit() else ''}" if books[-1] else name)
    return names


def folded(text: str) -> str:
    """Return text without case and accents."""
    return "".join(c for c in normalize("NFD", text.casefold()) if not combining(c))


def hits(document: Document, known: Known, found: tuple[Passage, ...]) -> bool:
    """Tell whether one of the passages is where the answer stands."""
    names = dict(zip((section.start for section in document.sections), chapter_names(document), strict=True))
    return any(
        all(word in folded(passage.text) for word in known.words)
        and (not known.chapters or names[document.section_at(passage.start).start] in known.chapters)
        for passage in found
    )
