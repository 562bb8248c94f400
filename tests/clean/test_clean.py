from __future__ import annotations

from pathlib import Path

from lang_configs.schema import Clean
from tasks.clean import clean
from tasks.core.engines import Processes
from tasks.core.stage import Work
from tests.pipeline import rows, run, texts


def test_the_stage_keeps_ids_counts_masks_and_leaves_out_repeated_rows(tmp_path: Path) -> None:
    raw = texts(
        tmp_path / "raw", "Simu  0712 345 678", "barua: a@example.org", "\u200b", "ngâ€™ombe <br/> wawili", "neno " * 1100
    )
    copy = texts(tmp_path / "copy", "Simu  0712 345 678")
    out = tmp_path / "out"
    metrics = run(clean, out, Clean(phone_countries=[255]), {"a": raw, "b": copy})
    assert [row["text"] for row in rows(out)] == [
        "Simu [phone]", "barua: [email]", "", "ng’ombe\nwawili", ("neno " * 1100).strip(),
    ]  # fmt: skip
    assert [row["id"] for row in rows(out)] == [row["id"] for row in rows(raw)]
    assert [row["bytes"] for row in rows(out)] == [12, 14, 0, 16, 5499]
    expected = {"documents": 5, "empty": 1, "repeated": 1, "changed": 5, "repaired": 1, "markup": 1, "unbroken": 1}
    assert {key: metrics[key] for key in expected} == expected
    assert metrics["masked"] == {"email": 1, "phone": 1, "ip": 0, "card": 0, "id": 0, "mpesa": 0}


def test_masking_can_be_switched_off(tmp_path: Path) -> None:
    raw = texts(tmp_path / "raw", "0712 345 678 a@example.org")
    run(clean, tmp_path / "out", Clean(phone_countries=[255], mask=[]), {"a": raw})
    assert rows(tmp_path / "out")[0]["text"] == "0712 345 678 a@example.org"


def test_no_documents(tmp_path: Path) -> None:
    assert run(clean, tmp_path / "out", Clean(), {})["documents"] == 0


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    documents = [f"Habari ya {n} na simu 0712 345 {n:03}\nHaki zote zimehifadhiwa" for n in range(40)]
    raw = texts(tmp_path / "raw", *documents, shard_bytes=500)
    written = []
    for name, work in (("one", Work()), ("two", Work(Processes(2)))):
        metrics = run(clean, tmp_path / name, Clean(phone_countries=[255]), {"a": raw}, work)
        shards = {path.name: path.read_bytes() for path in sorted((tmp_path / name).glob("*.parquet"))}
        written.append((metrics, shards))
    assert written[0] == written[1]
    assert written[0][0]["boilerplate"]["lines"] == 40
