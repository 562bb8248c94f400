"""What `thresholds.py` mixes: good text of a language by genre, and junk in the words of the same language by kind.

Junk is of three origins. Real: what pages of the bundle hold beside their paragraphs, and text of other languages that the
packaged identifier takes for this one. Written: the kinds of `tests/junk.py`. Pages and written junk are Swahili; for another
language each word is exchanged for the one of the same rank of frequency, so that layout, signs, numbers, capitals and what
repeats stay. Generated: from documents of the language that are in no mix.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import lxml.html
import regex
import xxhash
import zstandard
from extraction_labels import pages

from tasks.annotate.language import identify
from tasks.clean import clean_text
from tests.junk import variety

GENRES = {
    "MasakhaNEWS": "news", "igihe": "news", "Bukedde": "news", "Walta": "news", "Zindi": "news", "VOA": "news",
    "Iroyin": "news", "lafand": "translated news", "TICO": "health", "tory": "stories", "Pratham": "stories",
    "ible": "scripture", "UDHR": "law", "TyDiQA": "encyclopedia", "Wikipedia": "encyclopedia", "YorubaBlog": "collection",
}  # fmt: skip
"""What a source's name holds -> genre; other sources are none of the text."""
FOLDERS = {"swh_Latn": "swahili", "hau_Latn": "hausa", "yor_Latn": "yoruba", "amh_Ethi": "amharic"}
SPARED = 4
"""Of so many documents one is in no mix: junk is made from these."""
LEAST_WORDS, LONGEST = 20, 6_000
"""Words and characters of a document: fewer words are dropped by a stated threshold, which nothing here can move."""
FURNITURE_LINES, FURNITURE_WORDS = 60, 30
FUNCTION_WORDS = 100
_WORD = regex.compile(r"https?://\S+|[\p{L}\p{M}'’]+")


class Text(NamedTuple):
    """A document: `junk` or `text`, and of which genre or kind."""

    source: str
    kind: str
    text: str


@lru_cache(maxsize=2)
def language(bundle: Path, label: str) -> tuple[list[Text], list[Text]]:
    """The good text of a language that is mixed, in an order by chance that is always the same, and the text that is spared."""
    folder = FOLDERS.get(label)
    names = (
        sorted((bundle / "raw" / folder).glob("*.zst")) if folder else [bundle / "raw" / "confusable" / f"{label}.jsonl.zst"]
    )
    found: dict[str, Text] = {}
    for name in names:
        for source, text in _rows(name):
            genre = next((genre for part, genre in GENRES.items() if part in source), None)
            if genre and len(text.split()) >= LEAST_WORDS:
                found.setdefault(text, Text("text", genre, text))
    chance = random.Random(label)
    chosen = chance.sample(list(found.values()), len(found))
    return [one for i, one in enumerate(chosen) if i % SPARED], chosen[::SPARED]


@lru_cache(maxsize=1)
def junk(bundle: Path, label: str, number: int) -> list[Text]:
    """So many different documents of junk, as many of each kind as can be had."""
    chance = random.Random(f"junk of {label}")
    spared = [one.text for one in language(bundle, label)[1]]
    sources = [_exchanged(bundle, label, spared), _generated(spared, chance)]
    let_through = _let_through(bundle).get(label, [])
    by_kind: dict[str, dict[str, None]] = defaultdict(dict)
    for kind, text in itertools.chain(*(itertools.islice(source, 2 * number) for source in sources)):
        by_kind[kind][text] = None
    by_kind["other language"] = dict.fromkeys(chance.sample(let_through, len(let_through)))
    queues = [[Text("junk", kind, text) for text in found] for kind, found in sorted(by_kind.items())]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*queues))
    return list(itertools.islice((one for one in turns if one), number))


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        for row in itertools.islice(map(json.loads, lines), 4000):
            if text := clean_text(row["text"])[0]:
                yield row["source"], text[:LONGEST]


def _generated(spared: Sequence[str], chance: random.Random) -> Iterator[tuple[str, str]]:
    """Kind and text, without end; the kinds take turns."""
    lists = [words for text in spared if len(words := text.split()) > 40]
    counts = Counter(word for words in lists for word in words)
    frequent = {word for word, _ in counts.most_common(FUNCTION_WORDS)}
    rare = [word for word in counts if word not in frequent]
    followers: dict[str, list[str]] = defaultdict(list)
    letters: dict[str, list[str]] = defaultdict(list)
    for words in lists:
        for one, two in itertools.pairwise(words):
            followers[one].append(two)
    for word in counts:
        for i in range(len(word)):
            letters[word[max(0, i - 2) : i] if i else "^"].append(word[i])
    kinds: tuple[tuple[str, Callable[[], str]], ...] = (
        ("shuffled words", lambda: " ".join(chance.sample(words := _excerpt(lists, chance), len(words)))),
        ("without function words", lambda: " ".join(word for word in _excerpt(lists, chance) if word not in frequent)),
        (
            "words by frequency",
            lambda: " ".join(chance.choices(list(counts), list(counts.values()), k=chance.randrange(60, 250))),
        ),
        ("invented words", lambda: " ".join(_invented(letters, chance) for _ in range(chance.randrange(60, 250)))),
        ("chain of word pairs", lambda: " ".join(_chain(followers, chance))),
        ("sentences with slots", lambda: _slots(_excerpt(lists, chance), rare, chance)),
        (
            "repeated lines",
            lambda: "\n".join(chance.choices(_lines(_excerpt(lists, chance), chance), k=chance.randrange(12, 40))),
        ),
    )
    while True:
        for kind, make in kinds:
            yield kind, make()


def _excerpt(lists: Sequence[list[str]], chance: random.Random) -> list[str]:
    words = chance.choice(lists)
    start = chance.randrange(max(1, len(words) - 250))
    return words[start : start + 250]


def _invented(letters: dict[str, list[str]], chance: random.Random) -> str:
    word, length = chance.choice(letters["^"]), min(14, max(2, round(chance.gauss(6, 2.5))))
    while len(word) < length and (following := letters.get(word[-2:])):
        word += chance.choice(following)
    return word


def _chain(followers: dict[str, list[str]], chance: random.Random) -> Iterator[str]:
    word = chance.choice(list(followers))
    for _ in range(chance.randrange(60, 250)):
        yield word
        word = chance.choice(followers.get(word) or list(followers))


def _slots(words: list[str], rare: Sequence[str], chance: random.Random) -> str:
    """One sentence again and again with other words in two places: weather, results, tickets."""
    sentence = words[: chance.randrange(7, 14)]
    places = chance.sample(range(len(sentence)), 2)
    lines = []
    for _ in range(chance.randrange(10, 25)):
        line = list(sentence)
        line[places[0]], line[places[1]] = chance.choice(rare).capitalize(), str(chance.randrange(2000))
        lines.append(" ".join(line))
    return "\n".join(lines)


def _lines(words: list[str], chance: random.Random) -> list[str]:
    return [" ".join(words[start : start + 8]) for start in range(0, min(len(words), 8 * chance.randrange(1, 6)), 8)]


def _exchanged(bundle: Path, label: str, spared: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Page furniture, one for three written documents, without end but for the furniture."""
    target = [word for word, _ in Counter(_words(spared)).most_common()]
    ranks = _swahili_ranks(bundle)

    def exchange(match: regex.Match[str]) -> str:
        word = match.group()
        if label == "swh_Latn" or word.startswith("http"):
            return str(word)
        hashed = xxhash.xxh32_intdigest(word.lower().encode())
        rank = ranks.get(word.lower(), FUNCTION_WORDS + hashed % len(target))
        other = target[rank] if rank < len(target) else target[FUNCTION_WORDS + hashed % (len(target) - FUNCTION_WORDS)]
        return other.upper() if word.isupper() and len(word) > 1 else other.capitalize() if word[0].isupper() else other

    furniture = [("page furniture", text) for text in _furniture(bundle)]
    real = iter(random.Random(4).sample(furniture, len(furniture)))
    written = variety()
    for place in itertools.count():
        kind, text = next(written) if place % 4 else next(real, ("", ""))
        if text:
            yield kind, _WORD.sub(exchange, text)


def _words(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        yield from (word for word in _WORD.findall(text.lower()) if not word.startswith("http"))


@lru_cache(maxsize=1)
def _swahili_ranks(bundle: Path) -> dict[str, int]:
    good, _ = language(bundle, "swh_Latn")
    return {word: rank for rank, (word, _) in enumerate(Counter(_words([one.text for one in good])).most_common())}


@lru_cache(maxsize=1)
def _furniture(bundle: Path) -> list[str]:
    found = {}
    for page in pages(bundle):
        tree = lxml.html.fromstring(page["html"].encode(), parser=lxml.html.HTMLParser(encoding="utf-8"))
        for element in tree.xpath("//script|//style|//noscript|//p|//article"):
            element.drop_tree()
        lines = [line for piece in tree.itertext() if (line := " ".join(piece.split()))]
        for start in range(0, len(lines), FURNITURE_LINES):
            if len(" ".join(block := lines[start : start + FURNITURE_LINES]).split()) >= FURNITURE_WORDS:
                found["\n".join(block)] = None
    return list(found)


@lru_cache(maxsize=1)
def _let_through(bundle: Path) -> dict[str, list[str]]:
    """Label -> documents of other languages that the packaged identifier gives it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((bundle / "raw" / "confusable").glob("*.zst")):
        with zstandard.open(path, "rt", encoding="utf-8") as lines:
            rows = list(map(json.loads, lines))
        answers = identify([row["text"][:LONGEST] for row in rows])
        for row, answer in zip(rows, answers, strict=True):
            if answer.label.partition("_")[0] != row["lang_hint"].partition("_")[0]:
                found[answer.label].append(clean_text(row["text"])[0][:LONGEST])
    return found
