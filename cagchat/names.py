"""The names that a book uses most: capitalised words that begin no sentence, as a reader may want to ask about."""

from __future__ import annotations

import re
from collections import Counter

LEAST_USES = 2
RARELY = 0.2  # of its uses a name may be written small: "Rose" may, "Prince" is a word
MOSTLY = 0.6  # of its uses a title stands before another name: "Mrs", and "Anna" where it is always "Anna Petrovna"
NOUNS = 0.15  # of all words: where so many are capitalised, nouns are, as in German, and names cannot be told apart
SHORT = 3  # letters of an abbreviation after which a stop ends no sentence: "Mrs."

_WORD = re.compile(r"[^\W\d_]+(?:[’'-][^\W\d_]+)*")
_I = re.compile("I[’']")  # "I'll" is English for somebody else
_CLOSERS = " \t\n”’»)]*_"
_OPENERS = frozenset("“„«‘\"'([—–")
_ENDS = frozenset(".!?…:;")


def frequent_names(text: str, most: int = 12) -> list[str]:
    """Return the names that a text uses most, the most frequent first; none where every noun is capitalised."""
    inside: Counter[str] = Counter()  # capitalised, not at the beginning of a sentence
    anywhere: Counter[str] = Counter()
    before_another: Counter[str] = Counter()
    small: Counter[str] = Counter()
    n_words = 0
    last, last_end, last_named = "", 0, False
    for match in _WORD.finditer(text):
        word = match[0].removesuffix("’s").removesuffix("'s")
        gap = text[last_end : match.start()]
        n_words += 1
        named = False
        if word[0].islower():
            small[word] += 1
        elif len(word) > 1 and not word.isupper() and not _I.match(word):
            if gap in (" ", ". ", "\n") and last_named and (gap != ". " or len(last) <= SHORT):
                before_another[last] += 1
            named = True
            anywhere[word] += 1
            if not begins(gap, last):
                inside[word] += 1
        last, last_end, last_named = word, match.end(), named
    if sum(inside.values()) > NOUNS * n_words:
        return []
    names = [
        word
        for word, uses in inside.most_common()
        if uses >= LEAST_USES
        and small[word.lower()] <= RARELY * anywhere[word]
        and before_another[word] <= MOSTLY * anywhere[word]
    ]
    return names[:most]


def begins(gap: str, last: str) -> bool:
    """Tell whether a word begins a sentence after `last` and a gap."""
    if not last or "\n\n" in gap or not _OPENERS.isdisjoint(gap):
        return True
    end = gap.strip(_CLOSERS)
    if end == "." and last[0].isupper() and len(last) <= SHORT:
        return False
    return not _ENDS.isdisjoint(end)
