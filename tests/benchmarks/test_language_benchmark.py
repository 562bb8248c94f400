"""The language benchmark compares the label of each document of the peer with ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data import Cost
from data_corpus import build
from language import agreement, stage, table


@pytest.mark.slow
def test_agreement_is_the_share_of_the_peer_s_documents_with_our_label(bundle: Path, tmp_path: Path) -> None:
    corpus = build(bundle, tmp_path, 300)
    out = tmp_path / "ours"
    stage(corpus.shards, out, workers=1)
    (tmp_path / "labels.jsonl").write_text(
        "\n".join(json.dumps([str(number), "eng_Latn" if number % 10 == 0 else "swh_Latn", 0.9]) for number in range(200))
    )
    assert 0.85 <= agreement(out, corpus, tmp_path / "labels.jsonl") <= 0.9
    line = table([("ours", corpus, Cost(2.0, 3.0, 5 * 10**6)), ("theirs", corpus, Cost(8.0, 9.0, 10**6))]).splitlines()[-1]
    assert line == "| theirs | 300 | 8.0 | 38 | 4.0 | 9.0 | 3.0 | 1 |"
