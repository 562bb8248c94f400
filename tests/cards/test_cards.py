"""The cards of a small made-up run."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from lang_configs.schema import Quality, Release
from tasks import ledger
from tasks.cards import cards
from tasks.cards.facts import gather
from tasks.cards.plots import PLOTS
from tasks.cards.render import block, cell, count, decimal, duration, percent, render, size
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.pretrain import models
from tests.cards.made_up_run import CONFIG, EVALUATION, TRAINING, Run, Settings, build, made_up


def parts(card: Path) -> tuple[dict[str, Any], str]:
    _, front, body = card.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def facts(out: Path) -> dict[str, Any]:
    return {name: fact["value"] for name, fact in json.loads((out / "facts.json").read_text())["facts"].items()}


def test_every_fact_is_the_answer_to_its_query(run: Run, written: Path) -> None:
    with ledger.in_memory(run.folders) as database:
        for name, fact in json.loads((written / "facts.json").read_text())["facts"].items():
            result = database.execute(fact["sql"])
            columns = [entry[0] for entry in result.description]
            rows = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
            assert (rows if isinstance(fact["value"], list) else rows[0]) == fact["value"], name


@pytest.mark.parametrize("model", ["written", "masked"])
@pytest.mark.parametrize("card", ["data_card.md", "model_card.md"])
def test_no_number_of_a_card_comes_from_elsewhere(card: str, model: str, request: pytest.FixtureRequest) -> None:
    written: Path = request.getfixturevalue(model)
    number = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
    known = set(number.findall((Path(cards.__code__.co_filename).parent / "templates" / f"{card}.j2").read_text()))
    known |= set(number.findall(CONFIG.model_dump_json()))
    drawn = ("curve", "clusters", "length_histogram", "score_histogram")
    for value in leaves({name: value for name, value in facts(written).items() if name not in drawn}):
        texts = [str(value), cell(value, 400)]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            texts += [count(value), percent(value), duration(value), *(decimal(value, digits) for digits in (1, 2, 3))]
            texts += [size(value)] if isinstance(value, int) else []
        for text in texts:
            known |= set(number.findall(text))
    lists = {count(len(value)) for value in facts(written).values() if isinstance(value, list)}
    assert set(number.findall(parts(written / card)[1])) - known - lists == set()


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [leaf for entry in value for leaf in leaves(entry)] if isinstance(value, list) else [value]


def test_the_numbers_of_the_cards_are_those_of_the_stages(run: Run, written: Path) -> None:
    decided = json.loads((run.folders["select"] / "manifest.json").read_text())["metrics"]
    stored = json.loads((run.folders["corpus"] / "manifest.json").read_text())["metrics"]
    value = facts(written)
    assert {row["decision"]: row["documents"] for row in value["funnel"]} == {
        row["decision"]: row["documents"] for row in decided["decisions"]
    }
    assert {row["split"]: row["bytes"] for row in value["splits"]} == {
        name: stored[f"{name}_bytes"] for name in ("train", "validation", "test")
    }
    body = (written / "data_card.md").read_text()
    assert f"**{value['kept']['documents']:,} documents, {value['kept']['words']:,} words" in body
    assert "1.531 bits per byte" in (written / "model_card.md").read_text()


def test_parts_that_do_not_add_up_are_not_published(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def narrowed(database: Any) -> dict[str, Any]:
        facts = gather(database)
        facts["splits"]["value"][0]["bytes"] -= 1 << 16  # as DuckDB 2.0.0 did
        return facts

    monkeypatch.setattr("tasks.cards.gather", narrowed)
    with pytest.raises(StageError, match=r"bytes of splits come to -?\d+ and not to \d+"):
        cards(run.folders, CONFIG, tmp_path, Work())


def test_the_funnel_adds_up_and_shows_every_decision(written: Path) -> None:
    value = facts(written)
    kinds = {row["decision"] for row in value["funnel"]}
    assert {
        "keep",
        "contamination",
        "language",
        "language_score",
        "language_lines",
        "quality_min_words",
        "exact_duplicate",
        "near_duplicate",
    } <= kinds
    assert sum(row["documents"] for row in value["funnel"]) == value["decided"]["documents"] == 400
    assert value["funnel"][-1]["decision"] == "keep"
    body = (written / "data_card.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| ([\d,]+) \|", body, re.MULTILINE)
    assert sum(int(row[2].replace(",", "")) for row in rows) == 400
    assert {row[0]: row[1] for row in rows}["quality_min_words"] == "words below 20"


def test_the_data_card_shows_every_threshold_and_how_it_was_found(written: Path) -> None:
    thresholds = {row["name"]: row for row in facts(written)["thresholds"]}
    assert set(thresholds) == set(Quality.model_fields)
    card = (written / "data_card.md").read_text()
    assert "| words | at least 20 | stated |" in card
    assert thresholds["min_letters"]["how"] == "tight"
    assert "| letters | at least 0.75 | tight bound |" in card
    ways = Counter(row["how"] for row in thresholds.values())
    assert f"{ways['measured']} thresholds are measured, {ways['tight']} stand at the tight bound" in card
    assert f"{ways['config']} are stated." in card


def test_the_card_tells_the_look_alikes_or_that_none_are_known(written: Path) -> None:
    body = (written / "data_card.md").read_text().replace("\\_", "_")
    assert "Of 200 held-out lines in swh_Latn, 98.0 % get this label with a score of 0.65" in body
    assert "| swb_Latn taken for | swh_Latn | 25 | 4.0 % |" in body
    assert "| swh_Latn taken for | lin_Latn | 200 | 1.0 % |" in body
    values = {name: fact["value"] for name, fact in json.loads((written / "facts.json").read_text())["facts"].items()}
    values["identification"] = dict.fromkeys(values["identification"])
    assert "No confusion table is known" in render("data_card.md.j2", facts=values, plots=[], config=CONFIG)


def test_the_front_matter_of_the_data_card(written: Path) -> None:
    front, _ = parts(written / "data_card.md")
    assert front["language"] == ["sw"]
    assert front["license"] == "other"
    assert front["size_categories"] == ["n<1K"]
    assert front["task_categories"] == ["text-generation"]
    assert [entry["split"] for entry in front["configs"][0]["data_files"]] == ["train", "validation", "test"]
    assert front["pretty_name"] == "Swahili corpus"


def test_the_front_matter_of_the_model_card(written: Path) -> None:
    front, _ = parts(written / "model_card.md")
    assert (front["library_name"], front["pipeline_tag"], front["language"]) == ("transformers", "text-generation", ["sw"])
    results = {
        (result["dataset"]["name"], metric["type"]): metric["value"]
        for result in front["model-index"][0]["results"]
        for metric in result["metrics"]
    }
    assert results["Swahili corpus, held-out text", "bits_per_byte"] == 1.5312
    assert results["masakhanews", "macro_f1"] == 0.71
    assert len(results) == 5, "three measures of held-out text, one score for each task, no floors"


def test_the_model_card_tells_of_an_earlier_best_step_and_a_shared_matrix(written: Path) -> None:
    _, body = parts(written / "model_card.md")
    assert "| Steps | 890; the model is that of step 801, when it predicted held-out text best |" in body
    assert "| Output matrix | the embeddings once more |" in body


def test_the_card_of_a_masked_model_shows_no_measure_of_causal_ones(masked: Path) -> None:
    front, body = parts(masked / "model_card.md")
    assert front["pipeline_tag"] == "fill-mask"
    results = {
        metric["type"]: metric["value"]
        for result in front["model-index"][0]["results"]
        if result["task"]["type"] == "fill-mask"
        for metric in result["metrics"]
    }
    assert results == {"pseudo_perplexity": 21.52, "pseudo_bits_per_byte": 0.911}
    assert "| pseudo-perplexity | 21.520 [19.750, 23.250] |" in body
    assert "| tokens scored, documents they are from | 1,024, 22 |" in body
    assert "| right with 25.0 % of the tokens masked | 41.2 % |" in body
    assert "| bits per byte |" not in body
    assert "AutoModelForCausalLM" not in body
    assert 'fill("Rais wa <mask> | \\"```\\" leo")' in body
    assert "| nchi | “,” 25.0 %, “\\|” 12.5 % |" in body
    assert "as `ModernBertForMaskedLM`" in body
    assert "None" not in body


def test_every_family_is_described_by_its_own_words(written: Path) -> None:
    values = facts(written)
    for name, family in models.families().items():
        values["training"] = values["training"] | {"family": name}
        body = render("model_card.md.j2", facts=values, plots=[], config=CONFIG)
        assert f"| {family.title}, as `{family.architecture}`: {family.description} |" in body


def test_a_licence_is_lower_case_for_the_hub(run: Run, tmp_path: Path) -> None:
    release = Release(license="CC-BY-4.0", model_license="Apache-2.0")
    cards(run.folders, CONFIG.model_copy(update={"release": release}), tmp_path, Work())
    assert parts(tmp_path / "data_card.md")[0]["license"] == "cc-by-4.0"
    assert parts(tmp_path / "model_card.md")[0]["license"] == "apache-2.0"


@pytest.mark.parametrize("card", ["data_card.md", "model_card.md"])
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("Khmr", "a stretch of 3 letters"),
        ("Jpan", "a stretch of 3 letters"),
        ("Tibt", "a syllable"),
        ("Ethi", ""),
        ("Latn", ""),
    ],
)
def test_the_cards_say_what_they_call_a_word(run: Run, tmp_path: Path, card: str, script: str, said: str) -> None:
    language = CONFIG.language.model_copy(update={"script": script})
    cards(run.folders, CONFIG.model_copy(update={"language": language}), tmp_path, Work())
    text = (tmp_path / card).read_text()
    assert ("called a word here" in text) == bool(said)
    assert said in text


@pytest.mark.parametrize("card", ["data_card.md", "model_card.md"])
def test_nothing_is_left_open(written: Path, card: str) -> None:
    text = (written / card).read_text()
    assert "More Information Needed" not in text
    assert "None" not in text.replace("None were drawn", "")
    assert "nan" not in text.split()
    assert "not stated" in text


def test_an_unknown_licence_shows_as_such_and_a_hostile_one_is_only_text(written: Path) -> None:
    body = (written / "data_card.md").read_text()
    row = next(row for row in facts(written)["licenses"] if row["license"] == "unknown")
    assert f"| unknown | {row['documents']:,} |" in body
    assert f"* The licence of {percent(row['percent'])} of the text ({row['documents']:,} documents) is unknown." in body
    assert r"| Haki zote \| &lt;b&gt;zimehifadhiwa&lt;/b&gt; \$x\$ |" in body


def test_every_table_row_has_the_cells_of_its_header(written: Path, masked: Path) -> None:
    for card in (written / "data_card.md", written / "model_card.md", masked / "model_card.md"):
        width = 0
        for line in card.read_text().splitlines():
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            assert cells in (0, width) or width == 0, line
            width = cells


def test_every_plot_of_a_card_is_there(written: Path) -> None:
    named = {name for card in written.glob("*.md") for name in re.findall(r"\(plots/(\w+)\.svg\)", card.read_text())}
    assert named == {path.stem for path in (written / "plots").iterdir()} == set(PLOTS)
    raw = re.compile(r"mathdefault|\\times")  # matplotlib's own labels between decades, as text
    assert [path.name for path in (written / "plots").iterdir() if raw.search(path.read_text())] == []


@pytest.mark.parametrize("model", ["written", "masked"])
@pytest.mark.parametrize("card", ["data_card.md", "model_card.md"])
def test_a_paragraph_is_one_line(card: str, model: str, request: pytest.FixtureRequest) -> None:
    """Prefect's page breaks a paragraph wherever its source has a line break."""
    body = parts(request.getfixturevalue(model) / card)[1]
    without_code = re.sub(r"^(`{3,}).*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^[^|#\n].*\n(?![|#*>-])\S.*", without_code, re.MULTILINE) == []


def test_the_verdict_is_that_of_the_paired_difference(written: Path) -> None:
    """Both models are above their floors by their points; of one the difference to the best floor may be chance."""
    body = (written / "model_card.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in body.splitlines() if line.endswith("floor |")}
    assert "not told apart from the best floor" in rows["masakhanews"]
    assert "| above the best floor |" in rows["starter-topics"]
    limits = body.partition("## Limits")[2]
    assert "On masakhanews" in limits and "On starter-topics" not in limits


def test_a_second_build_gives_the_same_bytes(run: Run, written: Path, tmp_path: Path) -> None:
    metrics = cards(run.folders, CONFIG, tmp_path, Work())
    first = {path.relative_to(written): path.read_bytes() for path in written.rglob("*") if path.is_file()}
    second = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert first == second
    assert len(metrics["plots"]) == len(PLOTS)


def test_what_a_stage_did_not_measure_is_a_dash(run: Run, tmp_path: Path) -> None:
    other = Run(tmp_path)
    other.outputs = dict(run.outputs)
    other.add("pretrain", made_up({}, metrics=pa.Table.from_pylist(TRAINING)), Settings())
    poor = {**EVALUATION, "scores": [], "samples": [], "bits_per_byte_low": None, "bits_per_byte_high": None}
    other.add("evaluate", made_up(poor), Settings())
    (tmp_path / "out").mkdir()
    cards(other.folders, CONFIG, tmp_path / "out", Work())
    body = (tmp_path / "out" / "model_card.md").read_text()
    assert "| Steps | – |" in body
    assert "No task was scored." in body
    assert not (tmp_path / "out" / "plots" / "scores.svg").exists()


def test_folders_of_two_runs_are_refused(run: Run, tmp_path: Path) -> None:
    other = build(tmp_path, 300)
    with pytest.raises(StageError, match="not of one run"):
        cards(run.folders | {"corpus": other.folders["corpus"]}, CONFIG, tmp_path, Work())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (999_499, "999 kB"), (999_600, "1.00 MB"), (61_234_567, "61.2 MB")],
)
def test_sizes_have_three_digits(value: int, text: str) -> None:
    assert size(value) == text


def test_a_sample_cannot_leave_its_block() -> None:
    assert block("a\n```\n# b") == "````text\na\n```\n# b\n````"
    assert percent(0.001) == "< 0.1 %"
    assert percent(99.999) == "> 99.9 %"
