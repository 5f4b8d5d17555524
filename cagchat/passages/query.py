"""Turn a question into what is searched for: its words without those of grammar, names and phrases, misspelt or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from cagchat.passages.forms import FORMS
from cagchat.passages.index import PassageIndex
from cagchat.passages.languages import ASKING_WORDS, DEFAULT, PRONOUNS, STOP_WORDS, guess
from cagchat.passages.words import is_run

MAX_CHARACTERS = 20_000  # of a question, half from either end: a pasted chapter is not a question
MAX_WORDS = 48
MAX_PHRASES, MAX_PHRASE_WORDS = 8, 16
MAX_GUESSED = 8  # words that the book does not have and that are looked for under another spelling
MAX_CARRIED = 4

NAME, NUMBER, OTHER, CARRIED, PHRASE, PAIR = 1.6, 1.6, 1.0, 0.7, 2.0, 0.6
NEAR, ENDING = 0.8, 0.6  # how much another spelling, or another ending, counts beside the word itself
LEAST_NEAR, LEAST_TWO_APART = 5, 8  # characters: of shorter words too many are alike
LEAST_ALIKE = 0.3  # of the trigrams of two words; below, the edit distance is not worth computing
PREFIX_LEAST, PREFIX_CUT = 4, 3

_QUOTED = re.compile(r"[\"“”„«»「」『』]([^\"“”„«»「」『』]{2,400})[\"“”„«»「」『』]")
_WORD = re.compile(r"[^\W_]+")
_SENTENCE_STARTS = re.compile(r"(?:^|[.!?…:]\s+|[\"“„«(\[]\s*)$")
_SOUNDS = str.maketrans("kqzyjwfx", "ccsiivvh")  # first letters that transliterations use for one another
# Characters that ask or join in Chinese and Japanese; a pair of them says nothing.
_ASKING_CHARACTERS = frozenset(
    "的了是在嗎吗呢吧誰谁什甚么麼怎样樣何哪里裡个個这這那有和与與都也不のはがをにへとでもかだれなどこいつうしたてるす"
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word as the question has it, and what it is worth."""

    text: str
    weight: float
    is_name: bool
    follows: bool = False  # the word before it in the question is the one before it in the list


@dataclass(frozen=True, slots=True)
class Term:
    """What is looked for: words of the index's vocabulary that all stand for it, each with how well (0 to 1)."""

    text: str
    weight: float
    variants: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. A phrase is vocabulary words one after another, with its weight."""

    terms: tuple[Term, ...]
    phrases: tuple[tuple[tuple[str, ...], float], ...] = ()


def query(index: PassageIndex, question: str, earlier: Sequence[str] = ()) -> Query:
    """Return what a question looks for in a book.

    `earlier` holds what was said before, the newest last: where the question speaks of "him" or names nobody, the
    names of the newest text that has any are looked for too.
    """
    question = _bounded(question)
    language = guess(question) or index.language or DEFAULT
    quoted = _QUOTED.findall(question)[:MAX_PHRASES]
    words = meaningful(question, language)
    if earlier and refers_back(question, words, language):
        words += carried(earlier, {word.text.casefold() for word in words}, index.language or DEFAULT)
    words = words[:MAX_WORDS]
    stems = index.stems([word.text for word in words] + quoted)
    terms = _terms(index, words, stems[: len(words)])
    phrases = [(stem[:MAX_PHRASE_WORDS], PHRASE) for stem in stems[len(words) :] if len(stem) > 1]
    phrases += _pairs(words, stems)
    return Query(terms, tuple(dict(reversed(phrases)).items()))


def meaningful(text: str, language: str, *, is_prose: bool = False) -> list[Word]:
    """Return the words of a question that say what is asked, each once; names and numbers weigh more.

    A capital letter makes a name, except in prose where a sentence begins; German names weigh no more than its nouns.
    """
    grammar = STOP_WORDS.get(language, frozenset())
    asking = ASKING_WORDS.get(language, frozenset())
    found: dict[str, Word] = {}
    before = -1
    for number, match in enumerate(_WORD.finditer(text)):
        word = match.group()
        folded = word.casefold()
        if _is_empty(word, folded, grammar, asking):
            continue
        begins = is_prose and _SENTENCE_STARTS.search(text[max(0, match.start() - 8) : match.start()])
        is_name = word[0].isupper() and not begins
        if folded not in found:
            weight = NUMBER if word[0].isdigit() else NAME if is_name and language != "de" else OTHER
            found[folded] = Word(word, weight, is_name, follows=bool(found) and number == before + 1)
        before = number
    return list(found.values())


def refers_back(question: str, words: Sequence[Word], language: str) -> bool:
    """Tell whether a question can only be understood from what was said before: it names nobody, or says "him"."""
    pronouns = PRONOUNS.get(language, frozenset())
    has_pronoun = any(word.casefold() in pronouns for word in _WORD.findall(question))
    return has_pronoun or not any(word.is_name for word in words)


def carried(earlier: Sequence[str], known: set[str], language: str) -> list[Word]:
    """Return the names in the newest text that has any besides those known."""
    for text in reversed(earlier):
        words = meaningful(_bounded(text), language, is_prose=True)
        names = [word for word in words if word.is_name and word.text.casefold() not in known]
        if names:
            return [replace(name, weight=CARRIED, follows=False) for name in names[:MAX_CARRIED]]
    return []


def near(word: str, vocabulary: Sequence[str]) -> list[str]:
    """Return the words that may be meant by a misspelt one: a letter or two apart, the nearest only.

    The first letter must sound the same; a short word has no other spelling.
    """
    if len(word) < LEAST_NEAR:
        return []
    allowed = 1 if len(word) < LEAST_TWO_APART else 2
    wanted = _trigrams(word)
    alike = [other for other in vocabulary if _sound(other) == _sound(word) and _alike(wanted, other) >= LEAST_ALIKE]
    distances = {other: edit_distance(word, other, allowed) for other in alike}
    best = min(distances.values(), default=allowed + 1)
    return sorted(other for other, distance in distances.items() if distance == best <= allowed)


def edit_distance(first: str, second: str, most: int) -> int:
    """Return how many letters must be changed, added, left out or swapped with the next; `most` + 1 when more."""
    if abs(len(first) - len(second)) > most:
        return most + 1
    above: list[int] = []
    row = list(range(len(second) + 1))
    for y, letter in enumerate(first, 1):
        older, above, row = above, row, [y]
        for x, other in enumerate(second, 1):
            cost = min(above[x] + 1, row[x - 1] + 1, above[x - 1] + (letter != other))
            if x > 1 and y > 1 and letter == second[x - 2] and first[y - 2] == other:
                cost = min(cost, older[x - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


def _bounded(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[: MAX_CHARACTERS // 2]} {text[-MAX_CHARACTERS // 2 :]}"


def _is_empty(text: str, folded: str, grammar: frozenset[str], asking: frozenset[str]) -> bool:
    if is_run(text):
        return _ASKING_CHARACTERS.issuperset(text)
    if text.isdigit():
        return False
    return len(text) < 2 or folded in grammar or folded in asking


def _terms(index: PassageIndex, words: Sequence[Word], stems: Sequence[tuple[str, ...]]) -> tuple[Term, ...]:
    """Return one term for every vocabulary word of the question: what the book does not have stays, with no variants.

    A word that the tokenizer cuts up (Chinese, say) becomes several terms.
    """
    guesses = 0
    terms: dict[str, Term] = {}
    forms = _forms(index, words)
    for word, parts in zip(words, stems, strict=True):
        for stem in parts:
            if stem in terms or (len(parts) > 1 and _ASKING_CHARACTERS.issuperset(stem)):
                continue
            variants = {stem: 1.0} if index.frequency(stem) else {}
            for other in forms.get(word.text.casefold(), ()) if index.language == "en" else _endings(index, stem):
                variants.setdefault(other, ENDING)
            if not variants and guesses < MAX_GUESSED and not stem.isdigit():
                guesses += 1
                variants = dict.fromkeys(near(stem, index.vocabulary(len(stem) - 2, len(stem) + 2)), NEAR)
            terms[stem] = Term(stem, word.weight, tuple(variants.items()))
    return tuple(list(terms.values())[: 2 * MAX_WORDS])


def _forms(index: PassageIndex, words: Sequence[Word]) -> dict[str, set[str]]:
    """Return the vocabulary words of the other forms that the question's words have."""
    asked = [(word.text.casefold(), form) for word in words for form in FORMS.get(word.text.casefold(), ())]
    found: dict[str, set[str]] = {}
    for (text, _), stem in zip(asked, index.stems([form for _, form in asked]), strict=True):
        found.setdefault(text, set()).update(part for part in stem if index.frequency(part))
    return found


def _endings(index: PassageIndex, stem: str) -> list[str]:
    """Return words that differ in their last letters only: FTS5 has stems for English alone."""
    kept = max(PREFIX_LEAST, len(stem) - PREFIX_CUT)
    if len(stem) < PREFIX_LEAST or is_run(stem) or stem.isdigit():
        return []
    return index.beginning(stem[:kept], len(stem) + PREFIX_CUT)


def _pairs(words: Sequence[Word], stems: Sequence[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield words that stand side by side in the question, and the parts of one that was cut up."""
    for word, parts in zip(words, stems, strict=False):
        if len(parts) > 1:
            yield from ((pair, PAIR * word.weight) for pair in pairwise(parts))
    for (_, before), (word, after) in pairwise(zip(words, stems, strict=False)):
        if word.follows and before and after:
            yield (before[-1], after[0]), PAIR * word.weight


def _sound(word: str) -> str:
    return word[:1].translate(_SOUNDS)


def _trigrams(word: str) -> frozenset[str]:
    padded = f" {word} "
    return frozenset(padded[at : at + 3] for at in range(len(padded) - 2))


def _alike(wanted: frozenset[str], word: str) -> float:
    trigrams = _trigrams(word)
    return 2 * len(wanted & trigrams) / (len(wanted) + len(trigrams))
