"""datatrove's verdict from our signals, and the comparison of verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from quality import Texts, agreement
from quality_ours import main

from tests.junk import SENTENCES
from tests.pipeline import texts

GOOD = " ".join(SENTENCES)


def test_the_verdict_of_datatrove_from_our_signals(tmp_path: Path) -> None:
    documents = [
        GOOD,
        " ".join(SENTENCES[:2]),
        GOOD.replace(".", ""),
        GOOD.replace(" ", "\n"),
        f"{SENTENCES[0]} " * 9,
        "# " * 90,
    ]
    shards = texts(tmp_path / "shards", *documents)
    (tmp_path / "language").mkdir()
    for shard in shards.glob("*.parquet"):
        ids = pq.read_table(shard, columns=["id"])
        labels = ids.append_column("label", pa.array(["swh_Latn"] * len(ids)))
        pq.write_table(labels.append_column("score", pa.array([1.0] * len(ids))), tmp_path / "language" / shard.name)
    (tmp_path / "out").mkdir()
    main(shards, tmp_path / "language", tmp_path / "out", workers=1)
    # short; no line ends a sentence; a line for each word; the same sentence again and again; no words
    dropped = (tmp_path / "out" / "dropped.txt").read_text().split()
    assert dropped == [f"https://example.org/{number}" for number in range(1, len(documents))]


def test_agreement_counts_documents_with_the_same_verdict(tmp_path: Path) -> None:
    urls = ["https://a/1", "https://a/2", "https://b/1", "https://b/2"]
    (tmp_path / "documents.jsonl").write_text("\n".join(json.dumps({"url": url}) for url in urls))
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "ours" / "dropped.txt").write_text("\n".join(urls[:2]))
    (tmp_path / "theirs" / "reasons.json").write_text(json.dumps({urls[1]: "list_ratio", urls[2]: "top_2_gram"}))
    given = Texts("four", tmp_path, tmp_path / "documents.jsonl", tmp_path, 4)
    said = agreement(given, tmp_path / "ours", tmp_path / "theirs")
    assert said.startswith(
        "four: same verdict for 0.5000 of 4 documents; ours drops 2, datatrove 2\na 0.500 of 2, b 0.500 of 2"
    )
    assert "{'only ours drops (a)': 1, 'only datatrove: top_2_gram': 1}" in said
