"""The text that nothing was chosen on: the documents of the split that evaluate reports, as text and as tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.core.artifacts import Corpus, TokenFiles
from tasks.core.characters import count_words
from tasks.core.documents import batches
from tasks.core.errors import StageError

HELD_OUT_SPLIT = "test"
"""The split that is measured; whatever is chosen on the way (weights, sizes, regularisation) is chosen on another."""


@dataclass(frozen=True)
class TokenizedDocuments:
    """Documents by memory map: each is BOS, tokens, EOS of `tokens` from its offset to the next; `bytes` of UTF-8 text."""

    tokens: np.ndarray
    offsets: np.ndarray
    bytes: np.ndarray


def read_documents(folder: Path, split: str = HELD_OUT_SPLIT) -> TokenizedDocuments:
    """The documents of a split in a folder of token files; raises StageError when the files do not fit together."""
    try:
        files = TokenFiles(folder)
        meta = json.loads(files.meta.read_text())
        tokens = np.memmap(files.ids(split), np.dtype(meta["dtype"]).newbyteorder("<"), "r")
        offsets, sizes = np.load(files.offsets(split)), np.load(files.sizes(split))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(f"{folder}: the {split} tokens cannot be read: {error}; run the stage tokens again") from error
    if len(offsets) != len(sizes) + 1 or offsets[-1] != len(tokens):
        raise StageError(f"{folder}: {split}.bin, .offsets.npy and .bytes.npy do not fit together; run the stage tokens again")
    return TokenizedDocuments(tokens, offsets, sizes)


def read_texts(corpus: Path) -> Iterator[str]:
    """The texts of the held-out documents, in the order of the corpus."""
    for shard in Corpus(corpus).shards(HELD_OUT_SPLIT):
        for batch in batches(shard, ["text"], rows=64):
            yield from batch.column("text").to_pylist()


def read_held_out(tokens: Path, corpus: Path) -> tuple[TokenizedDocuments, int]:
    """The held-out documents, and their number of words (`count_words`); raises StageError if the folders disagree."""
    documents, sizes, words = read_documents(tokens), [], 0
    for text in read_texts(corpus):
        sizes.append(len(text.encode()))
        words += int(count_words(pa.array([text], pa.string()))[0])
    if sizes != documents.bytes.tolist():
        raise StageError(f"{tokens}: its {HELD_OUT_SPLIT} documents are not those of {corpus}; run the stage tokens again")
    return documents, words
