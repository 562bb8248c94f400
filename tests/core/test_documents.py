from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.artifacts import Documents
from tasks.core.documents import SCHEMA, Document, batches
from tests.pipeline import rows, write_documents

any_text = st.text(alphabet=st.characters(exclude_categories=[]), max_size=50)


@given(any_text, st.none() | any_text, any_text)
def test_the_id_is_a_function_of_source_url_and_text(source: str, url: str | None, text: str) -> None:
    document = Document(text, source, url, title="t", license="CC0-1.0", fetched_at=datetime.now(UTC))
    assert document.id == Document(text, source, url).id
    assert len(document.id) == 16
    assert document.id != Document(text + "a", source, url).id
    assert document.id != Document(text, source + "a", url).id


def test_shards_hold_every_document_once_in_order(tmp_path: Path) -> None:
    documents = [Document(f"hati namba {n} " * 20, "test", f"https://example.org/{n}") for n in range(100)]
    folder = write_documents(tmp_path / "a", [*documents, *documents[:5]], shard_bytes=4000)
    assert len(Documents(folder).shards()) > 3
    assert [row["text"] for row in rows(folder)] == [document.text for document in documents]
    assert all(pq.read_schema(path).equals(SCHEMA) for path in Documents(folder).shards())
    assert sum(len(batch) for path in Documents(folder).shards() for batch in batches(path, ["id"], rows=7)) == 100


def test_the_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    documents = [Document(f"neno {n}", "test", published_at=datetime(2026, 1, 1, tzinfo=UTC)) for n in range(50)]
    digests = [
        [
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in Documents(write_documents(tmp_path / name, documents)).shards()
        ]
        for name in "ab"
    ]
    assert digests[0] == digests[1]


def test_lone_surrogates_do_not_break_a_shard(tmp_path: Path) -> None:
    folder = write_documents(tmp_path / "a", [Document("nusu \ud83d herufi", "test")])
    assert rows(folder)[0]["text"] == "nusu ? herufi"
