import json
from pathlib import Path

import pytest

from lang_configs.evaluation import Evaluate, EvaluationSet
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.evaluation_sets import EvaluationData
from tests.evaluate.tiny_world import World, write_tokens

SETS = [
    EvaluationSet(name="topics", task="classification", format="sections", source="starter"),
    EvaluationSet(name="news", task="classification", format="tsv", files={"train": "a.tsv", "test": "b.tsv"}),
    EvaluationSet(name="names", format="conll", files={"test": "c.txt"}),
]
CONFIG = EvaluateConfig(rule=Evaluate(seeds=2, bootstrap=100, samples=3, sample_tokens=5), data=EvaluationData(sets=SETS))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".units" not in path.parts}


def test_everything_is_measured_once_and_written(world: World, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        metrics = evaluate(world.inputs, CONFIG, folder, Work())
    assert files(one) == files(two)
    assert set(files(one)) == {"evaluation.json", "samples.json", "topics.parquet"}
    written = json.loads((one / "evaluation.json").read_text())
    assert {key: written[key] for key in metrics} == metrics
    assert metrics["skipped"] == [{"task": "news", "reason": "not at hand: a.tsv"}]
    assert metrics["test_documents"] == 13
    assert [score["task"] for score in metrics["scores"]] == 3 * ["held-out text"] + 3 * 4 * ["topics"]
    assert metrics["scores"][0]["value"] == metrics["bits_per_byte"]
    assert [len(sample["prompt"].split()) for sample in metrics["samples"]] == [5, 5, 5]
    assert written["details"]["topics"]["train"] == {"kilimo": 45, "michezo": 45}
    assert written["details"]["bits_per_byte"]["eos"] == "not scored"


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
    monkeypatch.setattr("tasks.evaluate.bits_per_byte", power_cut)
    monkeypatch.setattr("tasks.evaluate.run_task", power_cut)
    evaluate(world.inputs, CONFIG, resumed, Work())
    assert files(resumed) == files(reference)


def test_tokens_of_another_corpus_are_refused(world: World, tmp_path: Path) -> None:
    write_tokens(tmp_path / "tokens", world.tokenizer, ["Habari ya leo"])
    with pytest.raises(StageError, match="not those of"):
        evaluate({**world.inputs, "tokens": tmp_path / "tokens"}, CONFIG, tmp_path, Work())
