"""Known passages of the four novels, where a folder of them stands beside the checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cagchat.documents import parse
from cagchat.passages.choose import Passage, passages
from cagchat.passages.index import PassageIndex, open_index
from cagchat.passages.render import quoted
from tests.documents.invented_text import novels
from tests.passages.invented_book import four_a_token
from tests.passages.known_passages import KNOWN, hits

BUDGET_TOKENS = 2000
MOST_MISSED = 1 / 3


@pytest.fixture(scope="module", params=[path for path in novels() if path.stem in KNOWN], ids=lambda path: path.stem)
def novel(request: pytest.FixtureRequest) -> Iterator[tuple[str, PassageIndex]]:
    path: Path = request.param
    with open_index(parse(path.read_bytes(), path.name)) as index:
        yield path.stem, index


def found(index: PassageIndex, question: str, until: int | None = None) -> tuple[Passage, ...]:
    return passages(index, question, budget_tokens=BUDGET_TOKENS, count=four_a_token, until=until, render=quoted)


def test_known_passages_are_found(novel: tuple[str, PassageIndex]) -> None:
    """Every question whose words the book shares finds its passage; those that it words otherwise are few."""
    stem, index = novel
    missed = [known for known in KNOWN[stem] if not hits(index.document, known, found(index, known.question))]
    print(f"{stem}: {len(KNOWN[stem]) - len(missed)} of {len(KNOWN[stem])} within {BUDGET_TOKENS} tokens")
    for known in missed:
        print(f"  missed: {known.question}")
    assert [known.question for known in missed if not known.is_missed] == []
    assert len(missed) <= MOST_MISSED * len(KNOWN[stem])


def test_passages_keep_to_budget_order_and_limit(novel: tuple[str, PassageIndex]) -> None:
    """In the middle of a novel too, passages are in order, within the budget and before the limit."""
    stem, index = novel
    until = len(index.document.text) // 2
    for known in KNOWN[stem]:
        chosen = found(index, known.question, until)
        starts = [passage.start for passage in chosen]
        assert starts == sorted(starts)
        assert all(passage.end <= until for passage in chosen)
        assert not chosen or len(quoted(chosen)) <= 4 * BUDGET_TOKENS
