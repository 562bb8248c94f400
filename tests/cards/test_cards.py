"""The cards of a small made-up run: real `select` and `corpus` over made-up annotations, so their columns are true."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from lang_configs.schema import Clean, Corpus, Duplicates, Quality, Release, Select
from lang_configs.sources import FilesSource, WebSource
from tasks import ledger
from tasks.cards import CardsConfig, cards
from tasks.cards.plots import PLOTS
from tasks.cards.render import FAMILIES, block, cell, count, decimal, duration, percent, render, size
from tasks.corpus import corpus
from tasks.documents import Document, to_table, write_table
from tasks.quality import SIGNALS
from tasks.select import SelectConfig, select
from tasks.stage import Output, Stage, StageError, Work, describe, execute

WORDS = [
    "habari",
    "za",
    "leo",
    "rais",
    "wa",
    "nchi",
    "mkulima",
    "shamba",
    "maji",
    "mvua",
    "timu",
    "ya",
    "taifa",
    "mwaka",
    "watu",
]
LICENSES = ["CC-BY-SA-4.0", None, "Haki zote | <b>zimehifadhiwa</b> $x$", "CC-BY-4.0"]
CONFIG = CardsConfig(
    language={"name": "Swahili", "autonym": "Kiswahili", "code": "swh", "script": "Latn", "hub_code": "sw"},
    release=Release(curators="The makers"),
    command="lugha build swahili --preset starter",
)


IDENTIFICATION = {
    "label": "swh_Latn", "known": True, "lines": 200, "others": 399, "threshold": 0.65, "separable": True, "recall": 0.98,
    "false_positives": 0.00021,
    "taken_for": [["lin_Latn", 200, 0.01]], "mistaken": [["swb_Latn", 25, 0.04], ["kam_Latn", 152, 0.02]],
}  # fmt: skip


class Settings(BaseModel):
    """Configuration of a made-up stage."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Run:
    """A workspace of published stages; `folders` is what the cards get."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.outputs: dict[str, Output] = {}

    @property
    def folders(self) -> dict[str, Path]:
        return {name: output.folder for name, output in self.outputs.items()}

    def add(self, name: str, function: Any, config: BaseModel, upstream: tuple[str, ...] = ()) -> None:
        stage = Stage(name.split("-")[0], function, libraries=["pyarrow"])
        inputs = {other: self.outputs[other] for other in upstream}
        output = describe(stage, self.workspace, "swahili", config, inputs, external=name)
        execute(stage, output, config, inputs, Work(), "swahili")
        self.outputs[name] = output


def made_up(metrics: dict[str, Any], /, **tables: pa.Table) -> Any:
    """A stage function that writes the tables and returns the metrics."""

    def stage(inputs: Any, config: Any, out: Path, work: Work) -> dict[str, Any]:
        for name, table in tables.items():
            write_table(table, out / f"{name}.parquet")
        return metrics

    return stage


def documents(number: int) -> list[Document]:
    chance = random.Random(7)
    found = []
    for i in range(number):
        source = chance.choices(["web", "files"], [3, 1])[0]
        host = f"site{min(int(chance.expovariate(0.4)), 30)}.example"
        found.append(
            Document(
                text=" ".join(chance.choices(WORDS, k=int(chance.lognormvariate(4.5, 1)) + 1)) + f" {i}",
                source=source,
                url=f"https://{host}/{i}" if source == "web" else None,
                license=chance.choice(LICENSES),
                fetched_at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=i),
                published_at=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=3 * i) if i % 2 else None,
            )
        )
    return found


GOOD = dict.fromkeys(SIGNALS, 0.0) | {
    "mean_word_length": 4.5, "letters": 0.9, "digits": 0.01, "alpha_words": 1.0, "unique_words": 0.5, "top_word": 0.1,
    "lines": 3.0, "function_words": 0.4, "word_order": 0.5,
}  # fmt: skip


def annotations(table: pa.Table) -> dict[str, pa.Table]:
    """Labels, signals, duplicates and evaluation items such that every kind of decision occurs."""
    chance = random.Random(3)
    ids, texts = table.column("id").to_pylist(), table.column("text").to_pylist()
    rows = range(len(ids))
    language = [chance.choices(["swh_Latn", "eng_Latn", "swc_Latn", "run_Latn"], [90, 6, 3, 1])[0] for _ in rows]
    signals = {name: [value] * len(ids) for name, value in GOOD.items()}
    signals["words"] = [float(len(text.split())) for text in texts]
    original = [ids[i - i % 10] if i % 10 in (3, 4) and i > 50 else None for i in rows]
    held = ["news/test/4" if i in (17, 91) else "xcopa/dev/1" if i == 20 else None for i in rows]
    key = {"id": pa.array(ids, pa.binary(16))}
    return {
        "language": pa.table(
            {
                **key,
                "label": language,
                "score": pa.array([chance.betavariate(12, 1) for _ in rows], pa.float32()),
                "affinity": pa.array([0.3 for _ in rows], pa.float32()),
                "line_share": pa.array([0.1 if i == 33 else 1.0 for i in rows], pa.float32()),
            }
        ),
        "quality": pa.table({**key, **{name: pa.array(values, pa.float32()) for name, values in signals.items()}}),
        "duplicates": pa.table(
            {
                **key,
                "duplicate_of": pa.array(original, pa.binary(16)),
                "kind": pa.array([None if of is None else "exact" if i % 10 == 3 else "near" for i, of in enumerate(original)]),
                "jaccard": pa.array([None if of is None else 0.9 for of in original], pa.float32()),
                "copies": pa.array([1 + original.count(identity) for identity in ids], pa.int32()),
                "related": pa.array([of or identity for of, identity in zip(original, ids, strict=True)], pa.binary(16)),
            }
        ),
        "contamination": pa.table(
            {**key, "item": pa.array(held), "coverage": pa.array([0.8 if i else 0.0 for i in held], pa.float32())}
        ),
    }


TRAINING = [
    {
        "step": step, "tokens": step * 4096, "epoch": step / 400, "loss": 9 / (1 + step / 50) + 3,
        "bits_per_byte": 5 / (1 + step / 50) + 1.2, "learning_rate": 0.02, "gradient_norm": 1.0, "tokens_per_second": 5000.0,
        "memory_bytes": 1 << 30, "elapsed_seconds": float(step),
    }
    for step in range(10, 900, 10)
]  # fmt: skip
SCORES = (("masakhanews", "macro_f1", (0.71, 0.69, 0.31, 0.09)), ("starter-topics", "accuracy", (0.9, 0.7, 0.4, 0.2)))
EVALUATION = {
    "bits_per_byte": 1.5312, "bits_per_byte_low": 1.5, "bits_per_byte_high": 1.56, "perplexity_per_token": 41.25,
    "perplexity_per_word": 310.5, "validation_documents": 23, "validation_bytes": 20481,
    "scores": [
        {"task": task, "metric": metric, "system": system, "value": value, "low": value - 0.03,
         "high": value + 0.03, "n": 476, "seeds": 5}
        for task, metric, values in SCORES
        for system, value in zip(("model", "tfidf", "random-init", "majority"), values, strict=True)
    ],
    "skipped": [{"task": "afrisenti", "reason": "no training split"}],
    "objective": "causal", "filled": [],
    "samples": [{"prompt": "Habari za leo", "text": "Habari za leo ```rais``` wa nchi"}],
}  # fmt: skip


MASKED_EVALUATION = EVALUATION | {
    "objective": "masked", "samples": [], "bits_per_byte": None, "bits_per_byte_low": None, "bits_per_byte_high": None,
    "perplexity_per_token": None, "perplexity_per_word": None, "pseudo_perplexity": 21.52, "pseudo_perplexity_low": 19.75,
    "pseudo_perplexity_high": 23.25, "pseudo_bits_per_byte": 0.911, "pseudo_bits_per_byte_low": 0.875,
    "pseudo_bits_per_byte_high": 0.953, "pseudo_tokens": 1024, "pseudo_documents": 22, "pseudo_context": 256,
    "masked_loss": 3.532, "masked_accuracy": 0.4125,
    "filled": [
        {"text": 'Rais wa <mask> | "```" leo', "word": "nchi", "guesses": [
            {"guess": ",", "probability": 0.25}, {"guess": "|", "probability": 0.125}]},
        {"text": "Habari za <mask>.", "word": None, "guesses": [{"guess": "leo", "probability": 0.5}]},
    ],
}  # fmt: skip


def build(workspace: Path, number: int = 400) -> Run:
    run = Run(workspace)
    texts = documents(number)
    table = to_table(texts)
    for name, config, refused in (
        ("web", WebSource(name="web", sites=["https://site0.example/"]), 12),
        ("files", FilesSource(name="files", paths=["a.jsonl"]), 0),
    ):
        written = sum(text.source == name for text in texts)
        outcomes = {"written": written, "bytes": 99, "repeated": 0, "fetched": written, "disallowed_by_robots": refused}
        run.add(f"crawl-{name}", made_up(outcomes), config)
    cleaned = {
        "documents": number,
        "bytes_in": 123456,
        "bytes": 120000,
        "masked": {"email": 4, "ip": 0, "card": 0, "id": 1, "mpesa": 0, "phone": 2},
        "boilerplate": {"different": 2, "lines": 31, "bytes": 1240, "only_boilerplate": 0, "top": []},
        "repaired": 3,
        "markup": 17,
        "unbroken": 1,
        "changed": 9,
        "empty": 0,
        "repeated": 0,
    }
    run.add("clean", made_up(cleaned, **{"web-00000": table}), Clean(phone_countries=[254]))
    notes = annotations(table)
    run.add("language", made_up({"identification": IDENTIFICATION}, **{"web-00000": notes["language"]}), Settings())
    run.add("quality", made_up({"documents": number}, **{"web-00000": notes["quality"]}), Settings())
    found = {
        "documents": number,
        "exact": 35,
        "near": 35,
        "candidate_pairs": 1204,
        "pairs_at_threshold": 80,
        "largest_cluster": 3,
    }
    run.add("duplicates", made_up(found, **{"web-00000": notes["duplicates"]}), Duplicates())
    sets = [
        {"set": "news", "items": 476, "too_short": 3, "found_in_corpus": 1},
        {"set": "xcopa", "items": 600, "too_short": 80, "found_in_corpus": 1},
    ]
    run.add(
        "contamination",
        made_up({"sets": sets, "sets_not_at_hand": ["afrisenti"]}, **{"web-00000": notes["contamination"]}),
        Settings(rule={"characters": 20, "threshold": 0.3}),
    )  # fmt: skip
    annotators = ("clean", "language", "quality", "duplicates", "contamination")
    rule = Select(validation=0.05, min_language_score=0.75)
    run.add("select", select, SelectConfig(label="swh_Latn", quality=Quality(), rule=rule), annotators)
    run.add("corpus", corpus, Corpus(), ("clean", "select"))
    exactness = {"lines": 512, "id_mismatches": 0, "equal_score_ties": 0, "round_trip_failures": 0}
    fertility = {"fertility": 1.512, "bytes_per_token": 3.871}
    costs = {"parameters": 3_600_000, "embedding_share": 0.146, "flops_per_byte": 5.58e6}
    sizes = [{"vocab_size": size, **fertility, **costs, "chosen": size == 2048} for size in (1024, 2048, 4096)]
    by_source = [{"source": name, "documents": 10, **fertility} for name in ("files", "web")]
    run.add(
        "tokenizer",
        made_up({"type": "bpe", "vocab_size": 2048, **fertility, "sources": by_source, "sizes": sizes, "exactness": exactness}),
        Settings(),
    )
    run.add("tokens", made_up({"train_tokens": 61234, "validation_tokens": 5123, "train_documents": 300}), Settings())
    trained = {
        "family": "qwen3",
        "objective": "causal",
        "parameters": 5261312,
        "steps": 890,
        "published_step": 801,
        "tokens": 3645440,
        "epochs": 4.0,
        "seconds": 480.5,
        "precision": "fp32",
    }
    shape = {"layers": 4, "width": 256, "heads": 2, "feed_forward": None, "context": 256, "tied": True}
    run.add("pretrain", made_up(trained, metrics=pa.Table.from_pylist(TRAINING)), Settings(model=shape, seed=1))
    run.add("evaluate", made_up(EVALUATION), Settings())
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return build(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cards")
    cards(run.folders, CONFIG, out, Work())
    return out


@pytest.fixture(scope="module")
def masked(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cards of the same run, but its model is masked."""
    other = Run(tmp_path_factory.mktemp("masked"))
    other.outputs = dict(run.outputs)
    rows = [row | {"bits_per_byte": None} for row in TRAINING]
    metrics = pa.Table.from_pylist(rows, pa.Table.from_pylist(TRAINING).schema)
    shape = {"layers": 4, "width": 256, "heads": 2, "feed_forward": None, "context": 256, "tied": True}
    trained = {"family": "modernbert", "objective": "masked", "parameters": 5261312, "steps": 890, "tokens": 3645440}
    other.add("pretrain", made_up(trained, metrics=metrics), Settings(model=shape, seed=1))
    other.add("evaluate", made_up(MASKED_EVALUATION), Settings(masking=0.25))
    out = tmp_path_factory.mktemp("masked-cards")
    cards(other.folders, CONFIG, out, Work())
    return out


def parts(card: Path) -> tuple[dict[str, Any], str]:
    _, front, body = card.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), body


def facts(out: Path) -> dict[str, Any]:
    return {name: fact["value"] for name, fact in json.loads((out / "facts.json").read_text())["facts"].items()}


def test_every_fact_is_the_answer_to_its_query(run: Run, written: Path) -> None:
    with ledger.in_memory(run.folders.values()) as database:
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
        name: stored[f"{name}_bytes"] for name in ("train", "validation")
    }
    body = (written / "data_card.md").read_text()
    assert f"**{value['kept']['documents']:,} documents, {value['kept']['words']:,} words" in body
    assert "1.531 bits per byte" in (written / "model_card.md").read_text()


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
    assert thresholds["min_letters"]["how"] == "too little text"
    assert "| letters | at least 0.6 | loose bound: too little text to measure |" in card


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
    assert [entry["split"] for entry in front["configs"][0]["data_files"]] == ["train", "validation"]
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


def test_every_family_is_described_by_its_class() -> None:
    from tasks.pretrain.models.convert import STOCK

    assert {family: stock.architecture in FAMILIES[family] for family, stock in STOCK.items()} == dict.fromkeys(FAMILIES, True)


def test_a_licence_is_lower_case_for_the_hub(run: Run, tmp_path: Path) -> None:
    release = Release(license="CC-BY-4.0", model_license="Apache-2.0")
    cards(run.folders, CONFIG.model_copy(update={"release": release}), tmp_path, Work())
    assert parts(tmp_path / "data_card.md")[0]["license"] == "cc-by-4.0"
    assert parts(tmp_path / "model_card.md")[0]["license"] == "apache-2.0"


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
    poor = {**EVALUATION, "scores": [], "samples": [], "skipped": [], "bits_per_byte_low": None, "bits_per_byte_high": None}
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
