"""An invented relative of Swahili: words of syllables, a share of them Swahili's, used as often as Zipf's law says."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasks.annotate.language import PACKAGED
from tasks.annotate.language.own.reference import frequencies, frequencies_beside

SYLLABLES = [first + vowel + last for first in "bdfghjklmnprstvwyz" for vowel in "aeiou" for last in ("", "n", "k")]
RELATIVE = "swh_Latn"
SHARED = 0.4
"""Of its words that Swahili has, as often."""


@dataclass
class Language:
    """Words, and how often they are used."""

    seed: int

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        syllables = chance.sample(SYLLABLES, 60)
        relative, _ = frequencies(frequencies_beside(PACKAGED))[RELATIVE]
        made = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 3, 4)))) for _ in range(3000)]
        self.words = [other if chance.random() < SHARED else word for word, other in zip(made, relative, strict=False)]
        self.weights = [1 / (rank + 2.7) for rank in range(len(self.words))]

    def document(self, chance: random.Random) -> str:
        """Thirty to two hundred words, a tenth of them the document's own."""
        topic = chance.sample(self.words, 12)
        words = [
            chance.choice(topic) if chance.random() < 0.1 else word
            for word in chance.choices(self.words, self.weights, k=chance.randint(30, 200))
        ]
        return " ".join(words)
