"""The whole pipeline on the starter site: built once, reused, planned, killed, and indexed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.flows.starter import TASKS, TINY, fingerprints, lugha, query


def test_the_exported_model_loads_and_writes(built: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (folder,) = (path.parent for path in built.glob("swahili/release/*/model/config.json"))
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer)
    ids = tokenizer("Habari za leo", return_tensors="pt")
    assert model.generate(**ids, max_new_tokens=3, do_sample=False).shape[1] > ids["input_ids"].shape[1]
    assert lugha(built, "generate", "swahili", "--prompt", "Hapo zamani", "--tokens", "5").stdout.startswith("Hapo zamani")


def test_a_second_build_reuses_every_stage(built: Path) -> None:
    lines = lugha(built, "build", "swahili", *TINY).stdout.splitlines()
    stages = [line for line in lines if len(line.split()) > 1 and line.split()[1] == "reused"]
    assert len(stages) == 15
    assert query(built, "SELECT stages_run, stages_reused FROM runs ORDER BY started DESC LIMIT 1") == [
        {"stages_run": 0, "stages_reused": 15}
    ]


def test_a_threshold_reruns_select_and_what_follows_and_the_plan_says_so(built: Path) -> None:
    steps = json.loads(lugha(built, "plan", "swahili", *TINY, "--set", "quality.min_words=40", "--no-measure", "--json").stdout)
    after = ["select", "corpus", "tokenizer", "tokens", "pretrain", "evaluate", *TASKS, "cards", "release"]
    assert [step["label"] for step in steps if not step["done"]] == after
    assert next(step["why"] for step in steps if step["label"] == "select") == "quality.min_words: 20 -> 40"
    assert next(step["why"] for step in steps if step["label"] == "corpus") == "select changed"


def test_what_changes_no_byte_reruns_nothing_and_is_shown_all_the_same(built: Path) -> None:
    changed = ("log_steps=3", "compile=true", "processes=2", "checkpoint_minutes=1", "checkpoint_steps=2", "workers=1")
    place = ("country=KE", "price_per_kwh=30", "currency=KES")
    settings = [part for key in (*changed, *place) for part in ("--set", f"runtime.{key}")]
    assert all(step["done"] for step in json.loads(lugha(built, "plan", "swahili", *TINY, *settings, "--json").stdout))
    (before,) = json.loads(lugha(built, "stats", "swahili", "--json").stdout)["energy"]
    printed = lugha(built, "build", "swahili", *TINY, *settings).stdout
    (after,) = json.loads(lugha(built, "stats", "swahili", "--json").stdout)["energy"]
    assert (before["grid"], after["grid"], before["kwh"]) == ("world average", "Kenya", after["kwh"])
    assert after["co2_grams"] < before["co2_grams"]
    assert (after["cost"], after["currency"]) == (pytest.approx(30 * after["kwh"]), "KES")
    assert "(Kenya 2025" in next(line for line in printed.splitlines() if line.startswith("energy"))
    lugha(built, "build", "swahili", *TINY)  # as the other tests expect it: the place is that of the last run


def test_every_document_is_accounted_for(built: Path) -> None:
    (given,) = query(built, "SELECT sum(count)::BIGINT AS n FROM sources WHERE outcome = 'written'")
    funnel = {row["decision"]: row["documents"] for row in query(built, "SELECT decision, documents FROM funnel")}
    assert sum(funnel.values()) == given["n"] > 150
    assert {"keep", "language", "exact_duplicate", "near_duplicate"} <= set(funnel)
    (closed,) = query(built, "SELECT count FROM sources WHERE outcome = 'disallowed_by_robots'")
    assert int(closed["count"]) == 1
    assert query(built, "SELECT url FROM decisions WHERE url LIKE '%faragha%'") == []


def test_the_cards_numbers_are_the_ledgers(built: Path) -> None:
    card = next(built.glob("swahili/release/*/corpus/README.md")).read_text()
    (kept,) = query(built, "SELECT count(*) AS n, sum(words)::BIGINT AS words FROM decisions WHERE decision = 'keep'")
    assert f"{kept['n']:,} documents, {kept['words']:,} words" in card
    model_card = next(built.glob("swahili/release/*/model/README.md")).read_text()
    (score,) = query(built, "SELECT round(value, 3) AS value FROM evaluations WHERE metric = 'bits_per_byte'")
    assert f"{score['value']:.3f}" in model_card


def test_a_deleted_ledger_is_rebuilt_identically(built: Path) -> None:
    from tasks import ledger

    tables = [row["table_name"] for row in query(built, "SELECT table_name FROM duckdb_tables() ORDER BY ALL")]
    tables += ["sources", "rules", "dates", "tokenizers", "energy", "evaluations", "releases"]  # views on the manifests
    before = {table: ledger.query(built, f"SELECT * FROM {table} ORDER BY ALL") for table in tables}
    (built / ledger.LEDGER).unlink()
    lugha(built, "ledger", "rebuild")
    assert {table: ledger.query(built, f"SELECT * FROM {table} ORDER BY ALL") for table in tables} == before
    assert all(
        before[table][1] for table in ("runs", "stages", "files", "sources", "decisions", "training", "evaluations", "releases")
    )


def test_a_stage_that_fails_is_recorded_with_its_sentence(tmp_path: Path) -> None:
    text = tmp_path / "english.jsonl"
    text.write_text(
        "".join(
            json.dumps({"text": f"The cat number {n} sat on the mat and looked at the moon all night."}) + "\n"
            for n in range(50)
        )
    )
    result = lugha(tmp_path / "w", "build", "swahili", *TINY, "--documents", str(text), check=False)
    assert result.returncode == 1
    assert "select: all 50 documents were dropped (language 50; labels found: eng_Latn 50); if one of these" in result.stderr
    (run,) = query(tmp_path / "w", "SELECT status, message FROM runs")
    assert run["status"] == "failed"
    assert run["message"] in result.stderr


def test_a_yaml_file_anywhere_needs_three_keys(tmp_path: Path) -> None:
    (tmp_path / "sheng.yaml").write_text("name: Sheng\ncode: swh\nscript: Latn\n")
    steps = json.loads(
        lugha(
            tmp_path / "w",
            "plan",
            str(tmp_path / "sheng.yaml"),
            "--documents",
            str(REPOSITORY / "README.md"),
            "--json",
            check=False,
        ).stdout
        or "[]"
    )
    assert steps == []  # a README is no document
    (tmp_path / "a.txt").write_text("Habari")
    (tmp_path / "a.txt").write_text("Habari")
    steps = json.loads(
        lugha(
            tmp_path / "w",
            "plan",
            str(tmp_path / "sheng.yaml"),
            "--documents",
            str(tmp_path / "a.txt"),
            "--no-measure",
            "--json",
        ).stdout
    )
    assert [step["label"] for step in steps][:2] == ["crawl.documents", "clean"]


@pytest.mark.slow
def test_killed_five_times_it_completes_with_the_same_corpus_tokenizer_and_tokens(built: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from flows.cli import main; main()",
        "build",
        "swahili",
        *TINY,
        "--workspace",
        str(tmp_path),
    ]
    generator = random.Random(20261121)
    seconds = sum(row["seconds"] for row in query(built, "SELECT seconds FROM stages WHERE stage <> 'evaluate'")) + 5
    kills = 0
    for _ in range(5):
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(timeout=generator.uniform(1.5, seconds / 3))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.5)
    assert kills >= 3
    lugha(tmp_path, "build", "swahili", *TINY)
    assert fingerprints(tmp_path) == fingerprints(built)
    from tasks import ledger

    before = ledger.query(tmp_path, "SELECT * FROM files ORDER BY ALL")
    (tmp_path / ledger.LEDGER).unlink()
    ledger.rebuild(tmp_path)
    assert ledger.query(tmp_path, "SELECT * FROM files ORDER BY ALL") == before
