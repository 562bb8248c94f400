"""A corpus with planted duplicates whose truth is known, and how well a tool that removes duplicates does on it.

70 % of the documents are unique (real sentences in a new order, 30 % of their words exchanged), 20 % are near-duplicates of one
of them (2-10 % of the words edited), 10 % exact ones. No document has two copies: each planted pair is found or not, by itself.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import xxhash
import zstandard

from tasks.core.documents import Document, ShardWriter

RECIPE = 1
"""Raise when the same bundle gives another corpus."""
SOURCES = ("masakhanews", "lafand_mt_train", "zindi_news", "bible_nt", "african_storybook")
EXCHANGED = 0.3
EDIT_RATES = (0.02, 0.10)
SHINGLE_WORDS = 5
THRESHOLD = 0.7
BINS = ((0.0, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 1.01))


@dataclass(frozen=True)
class Pair:
    """A planted duplicate: the numbers of the two documents, and the Jaccard similarity of their word 5-grams."""

    kind: str
    source: int
    copy: int
    edit_rate: float
    jaccard: float


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk: `documents.jsonl` (id, text, url), the same as document shards, and `truth.jsonl`."""

    folder: Path
    documents: int

    @property
    def jsonl(self) -> Path:
        return self.folder / "documents.jsonl"

    @property
    def shards(self) -> Path:
        return self.folder / "shards"

    def truth(self) -> list[Pair]:
        return [Pair(**json.loads(line)) for line in (self.folder / "truth.jsonl").read_text().splitlines()]


def build(bundle: Path, scratch: Path, documents: int, seed: int = 1) -> Corpus:
    """The corpus of this size below `scratch`, made unless it is there; the same bundle and seed give the same bytes."""
    manifest = xxhash.xxh3_64_hexdigest((bundle / "MANIFEST.json").read_bytes())[:8]
    corpus = Corpus(scratch / f"corpus-{documents}-{seed}-{RECIPE}-{manifest}", documents)
    if corpus.folder.exists():
        return corpus
    texts, truth = plant(sentences(bundle), documents, seed)
    partial = corpus.folder.with_name(f".{corpus.folder.name}")
    (partial / "shards").mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(partial / "shards", "part")
    with open(partial / "documents.jsonl", "w", encoding="utf-8") as lines:
        for number, text in enumerate(texts):
            url = f"https://example.org/{number}"
            writer.add(Document(text, "benchmark", url))
            lines.write(json.dumps({"id": str(number), "text": text, "url": url}, ensure_ascii=False) + "\n")
    writer.close()
    (partial / "truth.jsonl").write_text("".join(json.dumps(asdict(pair)) + "\n" for pair in truth))
    partial.rename(corpus.folder)
    return corpus


def sentences(bundle: Path) -> list[list[str]]:
    """The words of each sentence of the bundle's Swahili news, Bible and stories, in a fixed order and without repetition."""
    found: dict[str, None] = {}
    for path in sorted((bundle / "raw" / "swahili").glob("*.jsonl.zst")):
        if any(name in path.name for name in SOURCES):
            for text in _texts(path):
                found.update(dict.fromkeys(re.split(r"(?<=[.!?])\s+|\n+", text)))
    return [words for words in (sentence.split() for sentence in found) if 4 <= len(words) <= 60]


def plant(pool: list[list[str]], documents: int, seed: int) -> tuple[list[str], list[Pair]]:
    """The texts, shuffled, and the truth about their duplicates."""
    rng = random.Random(seed)
    vocabulary = [word for sentence in pool for word in sentence]
    unique, near = round(documents * 0.7), round(documents * 0.2)
    words = [_mixed(pool, vocabulary, rng) for _ in range(unique)]
    places = list(range(documents))
    rng.shuffle(places)
    texts = [""] * documents
    for number, one in enumerate(words):
        texts[places[number]] = _text(one)
    truth = []
    for number, source in enumerate(rng.sample(range(unique), documents - unique), unique):
        rate = rng.uniform(*EDIT_RATES) if number < unique + near else 0.0
        copy = words[source]
        while rate and copy == words[source]:  # a short text may get away without an edit
            copy = _edited(words[source], vocabulary, rate, rng)
        texts[places[number]] = _text(copy)
        similarity = jaccard(texts[places[source]], texts[places[number]]) if rate else 1.0
        truth.append(Pair("near" if rate else "exact", places[source], places[number], rate, similarity))
    return texts, truth


def jaccard(first: str, second: str) -> float:
    """Jaccard similarity of the sets of word 5-grams, lower-cased."""
    one, two = _shingles(first), _shingles(second)
    return len(one & two) / len(one | two)


@dataclass(frozen=True)
class Score:
    """What a tool found: recall of the exact and of the near pairs of each bin, and removals without grounds in the truth."""

    exact: float
    near: tuple[float, ...]
    below: int


def score(truth: Collection[Pair], removed: set[int]) -> Score:
    """Compare the documents that a tool removed with the planted pairs.

    A pair is found if one of its two documents is removed; every removal beyond one for each pair at the threshold counts
    as `below` (of a document with no duplicate, of one whose duplicate is less similar, or of both documents of a pair).
    """
    found = {pair: pair.source in removed or pair.copy in removed for pair in truth}
    near = [pair for pair in truth if pair.kind == "near"]
    return Score(
        _share([found[pair] for pair in truth if pair.kind == "exact"]),
        tuple(_share([found[pair] for pair in near if low <= pair.jaccard < high]) for low, high in BINS),
        len(removed) - sum(hit for pair, hit in found.items() if pair.jaccard >= THRESHOLD),
    )


def _share(hits: list[bool]) -> float:
    return sum(hits) / len(hits) if hits else float("nan")


def _texts(path: Path) -> Iterator[str]:
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def _mixed(pool: list[list[str]], vocabulary: list[str], rng: random.Random) -> list[str]:
    """Words of a new document; a line break is the end of the word before it, so that edits keep lines."""
    draw, many, out = rng.random, len(vocabulary), []
    for number in range(1, rng.randint(4, 29) + 1):
        for word in pool[int(draw() * len(pool))]:
            out.append(vocabulary[int(draw() * many)] if draw() < EXCHANGED else word)  # noqa: PERF401
        if number % 4 == 0:
            out[-1] += "\n"
    return out


def _edited(words: list[str], vocabulary: list[str], rate: float, rng: random.Random) -> list[str]:
    """70 % of the edits substitute a word, 15 % delete one, 15 % insert one."""
    out = []
    for word in words:
        if rng.random() >= rate:
            out.append(word)
        elif (kind := rng.random()) < 0.7:
            out.append(rng.choice(vocabulary))
        elif kind >= 0.85:
            out += [word, rng.choice(vocabulary)]
    return out


def _text(words: list[str]) -> str:
    return " ".join(words).replace("\n ", "\n").rstrip()


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return set(zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)) or {tuple(words)}
