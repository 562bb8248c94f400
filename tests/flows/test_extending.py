"""An annotator with a rule, a source, an evaluation task and a model family from elsewhere, in one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import lang_configs
from flows.dag import ANNOTATORS, Made, build_lm
from flows.run.build import Build
from flows.run.plan import Plan
from flows.run.progress import watch
from flows.run.reading import LastRun
from flows.run.request import Request
from lang_configs.evaluation import TASKS
from lang_configs.training import FAMILIES
from tasks import ledger
from tasks.core.artifacts import Release
from tasks.evaluate.tasks import register as register_task
from tasks.pretrain import models
from tests.evaluate import word_order
from tests.flows.additions import SHOUTING, Shouting
from tests.pretrain.olmo import FAMILY

LANGUAGE = """\
name: Jaribio
code: swh
script: Latn
crawl:
  sources: [{{type: shelf, folder: "{shelf}"}}]
evaluation:
  - {{name: order, task: word_order, format: jsonl, files: {{test: order.jsonl}}}}
pretrain: {{steps: 4, model: {{family: olmo, layers: 1, width: 64, heads: 1, context: 64}}}}
evaluate: {{seeds: 2, samples: 1, sample_tokens: 5, bootstrap: 100}}
runtime: {{engine: inline, compile: false}}
"""

DAG = partial(build_lm, annotators=((SHOUTING, lambda config, given: Shouting()), *ANNOTATORS))


def pages() -> list[str]:
    """The text of the pages of the packaged site, which is in the public domain."""
    from lxml import html

    site = Path(lang_configs.__file__).parent / "starter_site"
    files = sorted(path for path in site.rglob("*.html") if path.parent.name not in ("kigeni", "nakala", "toleo-la-kwanza"))
    return ["\n".join(paragraph.text_content() for paragraph in html.parse(str(file)).iter("p")) for file in files]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Request, Made]]:
    folder = tmp_path_factory.mktemp("extending")
    (folder / "shelf").mkdir()
    (folder / "evaluation").mkdir()
    texts = pages()
    for number, text in enumerate([*texts, texts[3].upper()]):
        (folder / "shelf" / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    items = [" ".join(f"{word} {number}" for word in ("mama", "alipika", "ugali", "jana")) for number in range(24)]
    (folder / "evaluation" / "order.jsonl").write_text("".join(json.dumps({"text": item}) + "\n" for item in items))
    (folder / "jaribio.yaml").write_text(LANGUAGE.format(shelf=folder / "shelf"), encoding="utf-8")
    register_task("word_order", word_order)
    models.register(FAMILY)
    request = Request(
        str(folder / "jaribio.yaml"), evaluation=str(folder / "evaluation"), snapshot="2026-11", workspace=folder / "w"
    )
    planned = [step.label for step in Plan(request, None, DAG).all()]
    made = Build(request, watch, DAG).all()
    assert planned == list(made)
    yield request, made
    del FAMILIES[FAMILY.name]
    TASKS.remove("word_order")


def test_they_run_in_the_dag_and_are_planned(run: tuple[Request, Made]) -> None:
    request, made = run
    assert {"crawl.shelf", "shouting", "select", "pretrain", "evaluate", "release"} <= set(made)
    assert made["shouting"].headline == f"{made['clean'].metrics['documents']} documents listened to"
    assert made["crawl.shelf"].metrics["taken_down"] == made["crawl.shelf"].metrics["written"]
    assert all(step.done for step in Plan(request, None, DAG).all())
    stricter = partial(build_lm, annotators=((SHOUTING, lambda config, given: Shouting(max_capitals=0.4)), *ANNOTATORS))
    waiting = {step.label: step.why for step in Plan(request, None, stricter).all() if not step.done}
    assert list(waiting)[:3] == ["shouting", "select", "corpus"]
    assert waiting["shouting"] == "max_capitals: 0.5 -> 0.4"


def test_the_rule_decides_and_explains(run: tuple[Request, Made]) -> None:
    request, _ = run
    last = LastRun(request.workspace, "jaribio", Path(str(request.evaluation)))
    (dropped,) = last.sample("shouting", False, None, 10, 1)
    because = dropped["because"]
    assert (because["signal"], because["bound"], because["threshold"], because["holds"]) == ("capitals", "at most", 0.5, False)
    (story,) = last.stories(dropped["id"])
    assert "shouting" in {check["decision"] for check in story["signals"] if not check["holds"]}


def test_the_ledger_and_the_cards_tell_of_them(run: tuple[Request, Made]) -> None:
    request, made = run
    _, rows = ledger.query(request.workspace, "SELECT decision, why, documents FROM funnel WHERE decision = 'shouting'")
    assert rows == [("shouting", "share of capitals above 0.5", 1)]
    _, rows = ledger.query(request.workspace, "SELECT metric, value, n FROM scores WHERE task = 'order' AND system = 'model'")
    ((metric, value, n),) = rows
    assert (metric, n, 0 <= value <= 1) == ("errors", 24, True)
    assert ledger.query(request.workspace, "SELECT count FROM sources WHERE outcome = 'taken_down'")[1][0][0] > 100
    release = Release(made["release"].folder)
    data_card, model_card = ((folder / "README.md").read_text() for folder in (release.corpus, release.model))
    assert "| `shouting` | share of capitals above 0.5 | 1 |" in data_card
    assert "shelf" in data_card
    assert "`OlmoForCausalLM`" in model_card
    assert "| order | errors |" in model_card
    assert json.loads((release.model / "config.json").read_text())["architectures"] == ["OlmoForCausalLM"]
