"""The text that nothing was chosen on: the documents of the split that evaluate reports, as the model's own tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.artifacts import Corpus
from tasks.core.characters import count_words
from tasks.core.documents import batches
from tasks.core.errors import StageError
from tasks.evaluate.model import boundaries

HELD_OUT_SPLIT = "test"
"""The split that is measured; whatever is chosen on the way (weights, sizes, regularisation) is chosen on another."""


@dataclass(frozen=True)
class TokenizedDocuments:
    """Each document is BOS, tokens, EOS of `tokens` from its offset to the next; `bytes` of UTF-8 text."""

    tokens: np.ndarray
    offsets: np.ndarray
    bytes: np.ndarray


@dataclass(frozen=True)
class HeldOut:
    """Held-out documents as tokens, with the source of each, and their number of words (`count_words`)."""

    documents: TokenizedDocuments
    sources: list[str]
    words: int


def read_held_out(corpus: Path, tokenizer: Any) -> HeldOut:
    """The held-out documents of a corpus, encoded by a tokenizer; raises StageError if there are none."""
    texts, sources, words = [], [], 0
    for batch in _rows(corpus, ["text", "source"]):
        words += int(count_words(batch.column("text")).sum())
        texts += batch.column("text").to_pylist()
        sources += batch.column("source").to_pylist()
    if not texts:
        raise StageError(f"{corpus}: the corpus holds out no text; raise select.{HELD_OUT_SPLIT}")
    return HeldOut(tokenize(texts, tokenizer), sources, words)


def read_texts(corpus: Path) -> Iterator[str]:
    """The texts of the held-out documents, in the order of the corpus."""
    for batch in _rows(corpus, ["text"]):
        yield from batch.column("text").to_pylist()


def tokenize(texts: Sequence[str], tokenizer: Any) -> TokenizedDocuments:
    """Texts as tokens, between the marks that the tokenizer has for the begin and the end of a text."""
    begin, end = boundaries(tokenizer)
    rows = [[begin, *ids, end] for ids in _encoded(texts, tokenizer)]
    tokens = np.fromiter((token for row in rows for token in row), np.int64)
    offsets = np.cumsum([0, *map(len, rows)])
    return TokenizedDocuments(tokens, offsets, np.array([len(text.encode()) for text in texts], np.int64))


def _rows(corpus: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for shard in Corpus(corpus).shards(HELD_OUT_SPLIT):
        yield from batches(shard, columns, rows=256)


def _encoded(texts: Sequence[str], tokenizer: Any) -> Iterator[list[int]]:
    for first in range(0, len(texts), 256):
        yield from tokenizer(list(texts[first : first + 256]), add_special_tokens=False, verbose=False)["input_ids"]
