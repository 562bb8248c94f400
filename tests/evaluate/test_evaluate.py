import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lang_configs.evaluation import Evaluate, EvaluationSet
from tasks.core.documents import write_table
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.evaluate import EvaluateConfig, TaskConfig, evaluate, task
from tasks.evaluate.held_out import read_held_out
from tasks.evaluation_sets import EvaluationData
from tests.evaluate.tiny_world import World

TOPICS = EvaluationSet(name="topics", task="classification", format="sections", source="starter")
NEWS = EvaluationSet(name="news", task="classification", format="tsv", files={"train": "a.tsv", "test": "b.tsv"})
CONFIG = EvaluateConfig(**Evaluate(bootstrap=100, samples=3, sample_tokens=5).model_dump())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".units" not in path.parts}


def test_held_out_text_is_measured_and_written(world: World, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        metrics = evaluate(world.inputs, CONFIG, folder, Work())
    assert files(one) == files(two)
    assert set(files(one)) == {"evaluation.json", "samples.json", "documents.parquet"}
    written = json.loads((one / "evaluation.json").read_text())
    assert {key: written[key] for key in metrics} == metrics
    assert metrics["test_documents"] == 13
    assert [score["task"] for score in metrics["scores"]] == 3 * ["held-out text"]
    assert metrics["scores"][0]["value"] == metrics["bits_per_byte"]
    assert [len(sample["prompt"].split()) for sample in metrics["samples"]] == [5, 5, 5]
    assert written["details"]["bits_per_byte"]["eos"] == "not scored"
    rows = pq.read_table(one / "documents.parquet").to_pylist()
    assert sum(row["bits"] for row in rows) / sum(row["bytes"] for row in rows) == pytest.approx(
        metrics["bits_per_byte"], abs=1e-6
    )


def test_each_source_has_its_own_score(world: World, tmp_path: Path) -> None:
    [shard] = world.inputs["corpus"].glob("test-*.parquet")
    table = pq.read_table(shard)
    sources = ["starter"] * 9 + ["radio"] * 4
    (tmp_path / "corpus").mkdir()
    table = table.set_column(table.schema.get_field_index("source"), "source", [sources])
    write_table(table, tmp_path / "corpus" / shard.name)
    metrics = evaluate({**world.inputs, "corpus": tmp_path / "corpus"}, CONFIG, tmp_path, Work())
    rows = pq.read_table(tmp_path / "documents.parquet").to_pylist()
    for name in ("radio", "starter"):
        [score] = [score for score in metrics["scores"] if score["task"] == f"held-out text: {name}"]
        part = [row for row in rows if row["source"] == name]
        assert score["n"] == len(part) == sources.count(name)
        assert score["value"] == pytest.approx(sum(row["bits"] for row in part) / sum(row["bytes"] for row in part), abs=1e-6)
        assert score["low"] <= score["value"] <= score["high"]


def test_a_task_is_measured_by_itself_and_one_without_its_files_says_so(world: World, tmp_path: Path) -> None:
    def measured(entry: EvaluationSet) -> tuple[dict[str, object], dict[str, object]]:
        folder = tmp_path / entry.name
        folder.mkdir()
        config = TaskConfig(data=EvaluationData(sets=[entry]), seeds=2, bootstrap=100)
        return task(world.inputs, config, folder, Work()), json.loads((folder / "evaluation.json").read_text())

    metrics, written = measured(TOPICS)
    assert {key: written[key] for key in metrics} == metrics
    assert written["details"]["train"] == {"kilimo": 45, "michezo": 45}  # type: ignore[index]
    assert len(metrics["scores"]) == 3 * 4 and metrics["skipped"] is None  # type: ignore[arg-type]
    assert (tmp_path / "topics" / "predictions.parquet").is_file()
    metrics, written = measured(NEWS)
    assert metrics == {"task": "news", "scores": [], "skipped": "not at hand: a.tsv"}
    without = {role: folder for role, folder in world.inputs.items() if role != "corpus"}
    config = TaskConfig(data=EvaluationData(sets=[TOPICS]), seeds=2, bootstrap=100)
    assert "made of the corpus of a run" in task(without, config, tmp_path, Work())["skipped"]


def test_finished_parts_are_not_measured_again(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    reference, resumed = tmp_path / "reference", tmp_path / "resumed"
    reference.mkdir()
    resumed.mkdir()
    evaluate(world.inputs, CONFIG, reference, Work())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tasks.evaluate.generate", power_cut)
        evaluate(world.inputs, CONFIG, resumed, Work())
    monkeypatch.setattr("tasks.evaluate.causal.bits_per_byte", power_cut)
    evaluate(world.inputs, CONFIG, resumed, Work())
    assert files(resumed) == files(reference)


def test_a_corpus_that_holds_out_no_text_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"holds out no text; raise select\.test"):
        read_held_out(tmp_path, world.tokenizer)
