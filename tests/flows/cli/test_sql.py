"""`lugha stats --sql` reads the ledger and nothing else: no file, no address, no setting, and one question at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import ledger
from tests.flows.cli.running import command, document

VIEWS = (
    "sources rules dates tokenizers energy evaluations releases latest funnel corpus scores timing footprint"
    " runs run_stages stages files decisions training grids"
).split()

ATTACKS = [  # {x}: a file that can be read; {new}: one that must not come into being
    "COPY runs TO '{new}'",
    "COPY (SELECT 1) TO '{new}' (FORMAT parquet)",
    "EXPLAIN ANALYZE COPY runs TO '{new}'",
    "EXPORT DATABASE '{new}'",
    "IMPORT DATABASE '{x}'",
    "ATTACH '{new}'",
    "SELECT * FROM '{x}'",
    "FROM '{x}'",
    "SELECT * FROM read_text('{x}')",
    "SELECT * FROM read_blob('{x}')",
    "SELECT * FROM read_csv('{x}')",
    "SELECT * FROM read_csv_auto('{x}')",
    "SELECT * FROM read_json('{x}')",
    "SELECT * FROM read_parquet('{x}')",
    "SELECT * FROM parquet_metadata('{x}')",
    "SELECT * FROM sniff_csv('{x}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT (SELECT content FROM read_text('{x}'))",
    "WITH a AS (FROM read_text('{x}')) SELECT * FROM a",
    "SELECT * FROM runs UNION ALL BY NAME SELECT * FROM read_text('{x}')",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{x}')",
    "SELECT * FROM query('FROM read_text(''{x}'')')",
    "SELECT * FROM query('COPY runs TO ''{new}''')",
    "SELECT * FROM query_table('{x}')",
    "SELECT * FROM 'https://127.0.0.1:9/a.parquet'",
    "SELECT * FROM read_csv('s3://a/b.csv')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{x}'",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE TABLE a AS SELECT 1",
    "CREATE TEMP TABLE a AS SELECT 1",
    "CREATE OR REPLACE VIEW latest AS SELECT 1",
    "INSERT INTO runs SELECT * FROM runs",
    "WITH a AS (DELETE FROM runs RETURNING run) SELECT * FROM a",
    "EXPLAIN ANALYZE DELETE FROM runs",
    "UPDATE runs SET status = 'completed'",
    "DROP TABLE runs",
    "SELECT * FROM workspace",  # variables of the program are no tables
    "SELECT * FROM duckdb_secrets()",
    "SELECT 1; DROP TABLE runs",
    "SELECT 1; SELECT 2",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "PREPARE a AS SELECT 1",
]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    ledger.record(tmp_path / "w", [])
    return tmp_path / "w"


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_but_the_ledger_is_read_and_nothing_is_written(
    attack: str, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bait = tmp_path / "bait.csv"
    bait.write_text("secret\nmaneno ya siri\n")
    before, ledger_before = sorted(tmp_path.iterdir()), (workspace / ledger.LEDGER).read_bytes()
    sql = attack.format(x=bait, new=tmp_path / "new", folder=tmp_path)
    assert command("stats", "--sql", sql, "--workspace", workspace) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("--sql: ")
    assert len(printed.err.splitlines()) == 1
    assert "siri" not in printed.err
    assert (sorted(tmp_path.iterdir()), (workspace / ledger.LEDGER).read_bytes()) == (before, ledger_before)


def test_every_table_and_view_can_be_asked(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in VIEWS:
        assert isinstance(document(capsys, "stats", "--sql", f"SELECT * FROM {name}", "--workspace", workspace), list)
    asked = """SELECT timezone('Africa/Nairobi', now()) IS NOT NULL AS t, '{"a": 1}'::JSON->>'a' AS a"""
    assert document(capsys, "stats", "--sql", asked, "--workspace", workspace) == [{"t": True, "a": "1"}]


def test_columns_of_one_name_are_told_apart(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS b, 5 AS a"
    (row,) = document(capsys, "stats", "--sql", asked, "--workspace", workspace)
    assert row == {"a": 1, "a_3": 2, "a_2": 3, "b": 4, "a_4": 5}
