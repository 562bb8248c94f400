"""The tokenizer benchmark trains, measures and times every system, and ours has SentencePiece's ids."""

from __future__ import annotations

import pyarrow as pa
import pytest
from tokenizer import WordsBySentencePiece, compare, conversions, speed_table, training_table

from tasks.tokenizer.encoding import Encoder
from tests.small_corpus import documents


@pytest.mark.slow
def test_every_system_is_trained_measured_and_timed(tmp_path):
    learned, speeds, differing = compare(documents("swahili", 150), documents("swahili", 20, seed=2), 384, 1, tmp_path)
    assert differing == 0
    rows = {row.name: row for row in learned}
    assert len(rows) == 5
    assert all((row.seconds > 0 and 250 < row.pieces <= 400) or row.name == "tokenizers, Unigram" for row in learned)
    assert all(1 < row.fertility < 8 and 1 < row.bytes_per_token < 10 for row in learned)
    assert rows["ours, BPE"].fertility == rows["ours, BPE, whole stage"].fertility  # one sample, one model
    assert all(speed.rate > 0 for speed in speeds)
    assert len({speed.name for speed in speeds}) == len(speeds) >= 10
    assert training_table(learned).count("\n") == len(learned) + 1
    assert "| 1.00 |" in speed_table(speeds)
    assert "our export 0 and 0 of " in conversions(tmp_path, documents("swahili", 20, seed=2))
    texts = pa.array([*documents("swahili", 20, seed=2), "ngombe\nwetu  wawili ", "\n", ""])
    model = tmp_path / "bpe.model"
    (ids, offsets), (by_library, same) = (encoder(model).encode(texts) for encoder in (Encoder, WordsBySentencePiece))
    assert ids.tolist() == by_library.tolist()
    assert offsets.tolist() == same.tolist()
