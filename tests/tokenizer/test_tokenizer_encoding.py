"""The encoder gives exactly the ids of SentencePiece, whatever the text, the table's size and the kind of the model."""

from __future__ import annotations

import contextlib
import itertools
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.training import Tokenizer
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.tokenizer import tokenizer
from tasks.tokenizer.encoding import Encoder
from tasks.tokenizer.export import load
from tests.small_corpus import documents, write_corpus, write_split

BOS, EOS = 1, 2
HARD = ["", " ", "  ", "\n", "\n\n", "a ", " a", "a  b", "\na", "a\n", "a \n b", " \n ", "x" * 5_000, " " * 300, "habari" * 900]
HARD += [
    "\u2581",
    "a\u2581b \u2581",
    "\u2585",
    "\0",
    "\t\r\u2028\u00a0",
    "</s> <s>\n<0x41> <pad>",
    "ẹ̀kọ́ 😀 ሰላም፡ለዓለም",
    "ndani\u200bya",
]
WORDS = st.sampled_from(["habari", "za", "asubuhi,", " ", "\n", "  ", "\u2581", "ሰላም", "4,500", "ng'ombe", "😀", "\x85"])
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.lists(WORDS).map("".join))


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def model(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    corpus = write_corpus(folder / "corpus", "swahili", 100)
    tokenizer({"corpus": corpus}, Tokenizer(type=request.param, bytes_per_piece=20), folder, Work())
    return folder / "tokenizer.model"


def differing(encoder: Encoder, model: Path, texts: list[str]) -> list[str]:
    """Texts whose ids are not those of SentencePiece between BOS and EOS."""
    ids, offsets = encoder.encode(pa.array(texts, pa.string()))
    assert ids.dtype == np.int32
    assert len(offsets) == len(texts) + 1
    found = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    expected = load(model).encode(texts) if texts else []
    return [text for text, ours, theirs in zip(texts, found, expected, strict=True) if ours != [BOS, *theirs, EOS]]


@pytest.mark.parametrize("entries", [4, 50, 1 << 20])
def test_hard_and_plain_texts_have_the_ids_of_sentencepiece_with_any_table(model, entries):
    encoder = Encoder(model, entries=entries, bytes_per_entry=2)
    texts = HARD + documents("swahili", 50) + documents("amharic", 20) + documents("yoruba", 20)
    assert differing(encoder, model, texts) == []
    assert differing(encoder, model, texts[::-1]) == []  # what it remembers changes nothing


@pytest.fixture(scope="module")
def encoder(model) -> Encoder:
    return Encoder(model, entries=300)


@settings(deadline=None)
@given(texts=TEXTS)
def test_any_text_has_the_ids_of_sentencepiece(model, encoder, texts):
    assert differing(encoder, model, texts) == []


def test_a_slice_of_a_column_is_encoded_and_nothing_else(model):
    encoder, column = Encoder(model), pa.array(HARD, pa.large_string())
    whole, offsets = encoder.encode(column)
    ids, bounds = encoder.encode(column[3:9])
    assert ids.tolist() == whole[offsets[3] : offsets[9]].tolist()
    assert (bounds == offsets[3:10] - offsets[3]).all()
    assert [array.tolist() for array in encoder.encode(column[:0])] == [[], [0]]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["swahili", "amharic", "yoruba"])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_real_documents_have_the_ids_of_sentencepiece(bundle, tmp_path, language, kind):
    files = sorted((bundle / "raw" / language).glob("*.jsonl.zst"))
    write_split(tmp_path / "corpus", "train", [text for file in files for text in read(file)][::20])
    write_split(tmp_path / "corpus", "test", list(read(files[0]))[:20])
    model = tmp_path / "tokenizer.model"
    config = Tokenizer(type=kind, training_bytes=2_000_000)
    with contextlib.suppress(StageError):  # of its check: raw text, which nobody cleaned, need not come back
        tokenizer({"corpus": tmp_path / "corpus"}, config, tmp_path, Work())
    encoder = Encoder(model)
    for file in files:
        texts = list(read(file))[::10]
        for start in range(0, len(texts), 256):
            assert differing(encoder, model, texts[start : start + 256]) == []


def read(file: Path) -> Iterator[str]:
    """Texts of a file of the bundle in NFC, as a corpus is (SentencePiece's rules stop at two marks on a letter).

    A lone surrogate is no text that Arrow could hold.
    """
    with zstandard.open(file, "rt", encoding="utf-8") as rows:
        for row in rows:
            yield unicodedata.normalize("NFC", json.loads(row)["text"].encode("utf-8", "replace").decode())
