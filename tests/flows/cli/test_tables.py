"""Tables fit the terminal and lose nothing; JSON is one document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.report import run_row
from flows.cli.tables import cell, fit, print_json, table
from tests import REPOSITORY
from tests.flows.cli.running import command, document

PROCESS = {"id": 48213, "host": "research-node-07"}
RUN = {"language": "kinyarwanda-sample", "preset": "starter", "snapshot": "2026-11", "message": "", "process": PROCESS}
RUN |= {"started": "2026-11-21T14:03:12+00:00", "seconds": 4216.5, "stages": [{"reused": n > 5} for n in range(14)]}
RUNS = [
    RUN | {"status": "running", "stage": "pretrain.teacher", "stage_started": "2026-11-21T15:12:02+00:00"},
    RUN | {"status": "completed"},
    RUN | {"status": "interrupted", "stage": "crawl.common-crawl"},
    RUN | {"status": "killed", "stage": "duplicates"},
    RUN
    | {
        "status": "failed",
        "stage": "select",
        "message": "select: all 50,413 documents were dropped (language 50,413); check language, script and thresholds",
    },
]
CHECKS = [
    ("duplicate_paragraph_characters", 0.0132, "at most 0.2", ""),
    ("words", 812, "at least 20, at most 200,000", ""),
    ("affinity", None, "at least 0.05", "not asked from language_score 0.95 on"),
]
TABLES = {
    "status": (["language", "started", "status", "what"], [run_row(run) for run in RUNS]),
    "checks": (["signal", "value", "threshold", ""], CHECKS),
    "timing": (
        ["position", "label", "stage", "seconds", "peak memory bytes", "rows", "bytes"],
        [(1, "crawl.common-crawl", "crawl", 40213.7, 12_345_678_901, 1_234_567, 98_765_432_109)],
    ),
    "documents": (
        ["url", "n"],
        [("https://www.mwanzo.example.org/habari/2026/11/21/mvua-kubwa-yanyesha-pwani-ya-kaskazini", 3)],
    ),
}


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_fits_and_no_word_is_cut(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    columns, rows = TABLES[name]
    table(columns, rows)
    lines = capsys.readouterr().out.splitlines()
    words = {word for row in rows for value in row for word in cell(value).split()}
    assert words <= {word for line in lines for word in line.split()}
    if all(len(word) <= width // 2 for word in words):
        assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)


def test_what_is_wide_enough_stays_in_one_line_with_numbers_to_the_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table(["stage", "documents", "[what]"], [("clean", 1234567, "[bold]"), ("select", 12, "two words")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["stage   documents  [what]", "clean   1,234,567  [bold]", "select         12  two words"]


def test_without_room_each_row_is_a_block(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    table(*TABLES["timing"])
    assert capsys.readouterr().out.splitlines()[:3] == ["position: 1", "label: crawl.common-crawl", "stage: crawl"]


def test_the_words_of_a_head_are_whole_too() -> None:
    assert fit([["heading of much", "x y"], ["n", "1"]], 16) == [7, 1]
    assert fit([["heading of much", "x y"], ["n", "1"]], 40) == [15, 1]
    assert fit([["head", "x" * 200 + " y"], ["n", "1"]], 60) == [57, 1]  # an address among words may be folded
    assert fit([["head", "x" * 200], ["n", "1"]], 60) is None


def test_json_holds_what_json_has_a_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a/b"), "id": b"\x0f", "odd": [float("nan"), float("inf"), 3e-5], "text": "ñ"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"path": "a/b", "id": "0f", "odd": [None, None, 3e-5], "text": "ñ"}
    assert "ñ" in printed


def test_every_command_prints_one_document(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ("--workspace", built)
    tables = document(capsys, "stats", "swahili", *here)
    assert list(tables) == ["decisions", "corpus", "scores", "energy", "timing"]
    assert {row["language"] for rows in tables.values() for row in rows} == {"swahili"}
    assert document(capsys, "stats", "--sql", "SELECT 1 AS n UNION SELECT 2 ORDER BY n", *here) == [{"n": 1}, {"n": 2}]
    assert document(capsys, "status", *here)[-1]["status"] == "completed"
    assert len(document(capsys, "sample", "swahili", "-n", "3", *here)) == 3
    assert {"file", "name", "autonym", "label", "sources"} == set(document(capsys, "languages")[0])
    written = document(capsys, "generate", "swahili", "--prompt", "Habari", "--tokens", "3", *here)
    assert (written["prompt"], Path(written["model"]).is_dir(), bool(written["text"])) == ("Habari", True, True)
    told = document(capsys, "forget", "hausa", "--domain", "example.org", *here)
    assert (told["entry"]["domain"], told["blocked"]) == ("example.org", True)
    assert document(capsys, "ledger", "rebuild", *here)["read"] >= 15


def test_alone_it_says_what_to_do_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines() if line.startswith("  lugha")] == ["build", "stats", "generate"]
    assert "lugha --help" in said
    assert max(map(len, said.splitlines())) <= 80


def test_versions_and_presets_are_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    from lang_configs import presets

    assert command("--version") == 0
    said = capsys.readouterr().out
    assert f"Python {sys.version.split()[0]}" in said and f"torch {version('torch')}" in said
    assert command("build", "--help") == 0
    assert f"Sizes: {', '.join(presets())}." in " ".join(capsys.readouterr().out.split())


def test_help_is_whole_at_80_columns_and_needs_no_heavy_import() -> None:
    code = "import sys\nfrom flows.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "heavy = {'torch', 'transformers', 'prefect', 'datasets', 'duckdb', 'numba', 'pydantic'} & set(sys.modules)\n"
    code += "assert not heavy, heavy"
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert "..." not in done.stdout.partition("Commands:")[2]


@pytest.mark.parametrize("width", ["0", "1", "-5", "abc"])
def test_whatever_the_terminal_says_of_its_width(
    width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    table(*TABLES["status"])
    assert "kinyarwanda" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_letters_that_a_terminal_does_not_have_are_replaced(encoding: str) -> None:
    program = [sys.executable, "-c", "from flows.cli import main; main()", "languages"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(program, cwd=REPOSITORY, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "amharic" in done.stdout.decode(encoding)
