"""A run may hold several models: each stands under a label of its own, in ledger, plan and card."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from flows.dag import Given, Made, Run, build_corpus, tokenize, train, write_cards
from flows.run.build import Build
from flows.run.plan import Plan
from flows.run.request import Request
from lang_configs import ConfigError, LanguageConfig
from tasks import ledger
from tasks.core.artifacts import Cards
from tests.flows.starter import TINY, lugha, query

MODELS = ["pretrain", "evaluate", "pretrain.teacher", "evaluate.teacher"]


def two_models(config: LanguageConfig, given: Given, run: Run) -> Made:
    """Two trainings and two evaluations on one corpus."""
    made = dict(build_corpus(config, given, run))
    made |= tokenize(config, run, made)
    made |= train(config.pretrain, config, given, run, made)
    made |= train(config.pretrain.model_copy(update={"seed": 2}), config, given, run, made, "teacher")
    return made | {"cards": write_cards(config, given, run, made)}


def request(workspace: Path, **more: str) -> Request:
    overrides = [value for value in TINY[2:] if value != "--set"]
    return Request("swahili", "starter", overrides=overrides, workspace=workspace, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def workspace(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the built starter, in which the run with two models ran, too."""
    import shutil

    copy = tmp_path_factory.mktemp("labels") / "w"
    shutil.copytree(built, copy)
    Build(request(copy), lambda label: contextlib.nullcontext(lambda done, total, unit: None), two_models).all()
    return copy


def test_the_ledger_holds_each_model_under_its_label(workspace: Path) -> None:
    latest = query(workspace, "SELECT label, stage, fingerprint FROM latest WHERE language = 'swahili' ORDER BY position")
    held = {row["label"]: row for row in latest}
    assert [label for label in held if held[label]["stage"] in ("pretrain", "evaluate")] == MODELS
    assert held["pretrain"]["fingerprint"] != held["pretrain.teacher"]["fingerprint"]
    scores = query(workspace, "SELECT label, value FROM scores WHERE metric = 'bits_per_byte' ORDER BY label")
    assert [row["label"] for row in scores] == ["evaluate", "evaluate.teacher"]
    for row in scores:
        (measured,) = query(
            workspace,
            f"SELECT metrics->>'bits_per_byte' AS b FROM stages WHERE fingerprint = '{held[row['label']]['fingerprint']}'",
        )
        assert float(measured["b"]) == row["value"]
    assert query(workspace, "SELECT stages_run, stages_reused FROM runs ORDER BY started DESC LIMIT 1") == [
        {"stages_run": 4, "stages_reused": 13}  # what the first model shares with the run before it is not done again
    ]
    labels = query(workspace, "SELECT label FROM timing WHERE language = 'swahili' ORDER BY position")
    assert [row["label"] for row in labels] == [row["label"] for row in latest]


def test_the_plan_tells_the_models_apart(workspace: Path) -> None:
    again = Plan(request(workspace), None, two_models).all()
    assert {step.label for step in again} >= set(MODELS)
    assert all(step.done for step in again)

    def other_seed(config: LanguageConfig, given: Given, run: Run) -> Made:
        changed = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"bootstrap": 200})})
        return two_models(changed, given, run)

    waiting = [step for step in Plan(request(workspace), None, other_seed).all() if not step.done]
    tasks = ["task.starter-topics"]
    measured = ["evaluate", *tasks, "evaluate.teacher", *(f"{label}.teacher" for label in tasks)]
    assert [step.label for step in waiting] == [*measured, "cards"]
    assert waiting[0].why == "bootstrap: 1000 -> 200"


def test_the_card_is_of_the_first_model_and_names_the_other(workspace: Path) -> None:
    outputs = {row["label"]: row["fingerprint"] for row in query(workspace, "SELECT label, fingerprint FROM latest")}
    cards = Cards(workspace / "swahili" / "cards" / outputs["cards"])
    facts = {name: fact["value"] for name, fact in json.loads(cards.facts.read_text())["facts"].items()}
    manifests = {
        label: json.loads((workspace / "swahili" / label.split(".")[0] / outputs[label] / "manifest.json").read_text())
        for label in MODELS
    }
    assert facts["held_out"]["bits_per_byte"] == manifests["evaluate"]["metrics"]["bits_per_byte"]
    (other,) = facts["other_models"]
    assert (other["label"], other["value"]) == ("pretrain.teacher", manifests["evaluate.teacher"]["metrics"]["bits_per_byte"])
    assert f"| `pretrain.teacher` | qwen3 | {other['parameters']:,} |" in cards.model_card.read_text()
    settings = {(row["label"], row["key"]): row["value"] for row in facts["settings"]}
    assert (settings["pretrain", "seed"], settings["pretrain.teacher", "seed"]) == ("1", "2")
    with ledger.in_memory(
        {label: workspace / "swahili" / label.split(".")[0] / outputs[label] for label in MODELS}
    ) as database:
        ((steps, teachers),) = database.execute(
            "SELECT count(*) FILTER (fingerprint = labelled('pretrain')),"
            " count(*) FILTER (fingerprint = labelled('pretrain.teacher'))"
            " FROM training"
        ).fetchall()
    assert steps == teachers > 0


def test_two_steps_cannot_have_one_label(built: Path) -> None:
    def twice(config: LanguageConfig, given: Given, run: Run) -> Made:
        build_corpus(config, given, run)
        return build_corpus(config, given, run)

    with pytest.raises(ValueError, match=r"two steps of the run have the label 'crawl\.starter'"):
        Plan(request(built), None, twice).all()


@pytest.mark.slow
def test_a_run_until_the_corpus_has_a_data_card_and_no_model(built: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(built, tmp_path / "w")
    planned = json.loads(lugha(tmp_path / "w", "plan", "swahili", *TINY, "--until", "corpus", "--json").stdout)
    assert [step["label"] for step in planned][-3:] == ["select", "corpus", "cards"]
    printed = lugha(tmp_path / "w", "build", "swahili", *TINY, "--until", "corpus").stdout
    card = Path(next(line for line in printed.splitlines() if line.startswith("data card")).split()[-1])
    text = card.read_text()
    assert "--until corpus" in text
    assert "## Tokenizer" not in text
    assert not Cards(card.parent).model_card.exists()
    latest = [row["label"] for row in query(tmp_path / "w", "SELECT label FROM latest ORDER BY position")]
    assert latest[-2:] == ["corpus", "cards"]
    assert lugha(tmp_path / "w", "sample", "swahili", "-n", "1").stdout


def test_a_stage_that_there_is_not_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r'--until corpsu: there is no such stage, did you mean "corpus"\?; choose from crawl, '
    ):
        request(tmp_path, until="corpsu").resolve()
