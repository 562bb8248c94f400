"""`lugha evaluate` on a built language and on a model that transformers alone made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.evaluate.stock_models import save
from tests.flows.starter import lugha, query


@pytest.fixture(scope="module")
def workspace(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(built, tmp_path_factory.mktemp("evaluated") / "w")


def test_models_stand_beside_each_other_and_are_measured_once(workspace: Path, tmp_path: Path) -> None:
    [corpus] = workspace.glob("swahili/corpus/[!.]*")
    stock = save("gpt2", tmp_path / "gpt2", pq.read_table(next(corpus.glob("train-*.parquet")))["text"].to_pylist())
    command = ["evaluate", "swahili", "--compare", str(stock), "--tasks", "starter-topics"]
    ours, theirs = json.loads(lugha(workspace, *command, "--json").stdout)
    assert (ours["model"], theirs["model"]) == ("swahili", str(stock))
    bits = [next(s["value"] for s in one["scores"] if s["metric"] == "bits_per_byte") for one in (ours, theirs)]
    difference = next(row for row in ours["differences"][str(stock)] if row["metric"] == "bits_per_byte")
    assert difference["difference"] == pytest.approx(bits[0] - bits[1], abs=1e-5)
    assert {row["task"] for row in ours["differences"][str(stock)]} == {"held-out text", "starter-topics"}
    [held] = query(workspace, "SELECT value FROM scores WHERE label = 'evaluate' AND metric = 'bits_per_byte'")
    assert held["value"] == bits[0]  # the build's own, reused
    count = "SELECT count(*) AS n FROM stages WHERE stage IN ('pretrained', 'evaluate', 'task')"
    [before] = query(workspace, count)
    printed = lugha(workspace, *command).stdout
    assert "swahili less it" in printed and "(tfidf)" in printed
    assert query(workspace, count) == [before]
    [latest] = query(workspace, "SELECT count(*) AS n FROM latest WHERE stage = 'release'")
    assert latest["n"] == 1  # what was measured afterwards is no run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "swahili", "--tasks", "starter-topic"], 'there is no such task, did you mean "starter-topics"?'),
        (["evaluate", "nowhere/at/all"], "whose held-out text and sets are read, --language says"),
        (["evaluate", "nowhere/at/all", "--language", "swahili"], "no model is there: give a language that was built"),
        (["evaluate", "hausa"], "no build reached its end"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(workspace: Path, arguments: list[str], said: str) -> None:
    done = lugha(workspace, *arguments, check=False)
    assert done.returncode in (1, 2) and said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
