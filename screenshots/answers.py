"""What is asked about the demonstration's story in the pictures, and what the engine without a model answers."""

from __future__ import annotations

from cagchat.demo import questions

WEIGHT, TERRACE, LAKE, CLAUSE = (question.text for question in questions())
TOLL = "Who let the cart pass free of toll, and why?"
EARTH = "Why did Osk carry eleven pounds and never more?"
PEAR = "What did the pencil mark in the margin mean?"
PRICE = "What did Ilva charge for the pears?"
DAM = "Who drew the plans of the dam?"
SOIL = "Why did Osk's mother ask for the soil?"

ANSWERS = {
    **{question.text: question.fake for question in questions()},
    TOLL: """\
Inspector Crimmond, by clause ninety-three: the household goods of those removed from Little Senn pass free until all
have been brought away. He wrote "Nothing is owed" into the ledger, in red ink.
""",
    EARTH: """\
The first load was as much as his **mother** could have carried; she was very small. After that he kept to it:

> If I had come with a wagon, it would have been taking something away. Like this it is only coming home.
""",
    PEAR: """\
It was a **pear**, drawn beside every one of those weighings:

1. *Fenwick Dray* drew it for four years and never said a word.
2. *Inspector Crimmond* saw by it that Dray had read clause ninety-three.
3. *Ilva* went on drawing it, every Thursday.
""",
    DAM: "An engineer of the city: “Matthias Holm drew the whole of it in a single night”.",
    SOIL: """\
Because it was her family's work, and nothing grows where they had to go: “it had taken her family two hundred years to
make, and there is only rock in Brack”. She was paid for it in the end: “the city sent her one silver coin for every
basket”.
""",
    PRICE: "One penny: they weighed eleven pounds, and they were goods, grown in Brack.",
}
