"""Invented languages: words of syllables, used as often as Zipf's law says, in documents with words of their own."""

from __future__ import annotations

import random
from dataclasses import dataclass

SYLLABLES = [first + vowel + last for first in "bdfghjklmnprstvwyz" for vowel in "aeiou" for last in ("", "n", "k")]


@dataclass
class Language:
    """A language of some words; `kin` of another shares that part of its words."""

    seed: int
    kin: Language | None = None
    shared: float = 0.0

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        syllables = chance.sample(SYLLABLES, 60)
        made = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 3, 4)))) for _ in range(3000)]
        self.words = list(dict.fromkeys(made))
        if self.kin:
            self.words = [
                other if chance.random() < self.shared else word
                for word, other in zip(self.words, self.kin.words, strict=False)
            ]
        self.weights = [1 / (rank + 2.7) for rank in range(len(self.words))]

    def document(self, chance: random.Random) -> str:
        """Sentences of some hundred words, a tenth of them the document's own."""
        topic = chance.sample(self.words, 12)
        words = [
            chance.choice(topic) if chance.random() < 0.1 else word
            for word in chance.choices(self.words, self.weights, k=chance.randint(30, 200))
        ]
        return " ".join(words)
