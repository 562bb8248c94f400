"""A small made-up run: real `select` and `corpus` over made-up annotations, so that their columns are true."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from flows.dag import STAGES
from lang_configs.schema import Clean, Corpus, Duplicates, Release, Select
from lang_configs.sources import FilesSource, WebSource
from tasks.annotate.quality import SIGNALS
from tasks.cards import CardsConfig
from tasks.core.artifacts import Artifact
from tasks.core.documents import Document, to_table, write_table
from tasks.core.stage import ANY, Output, Step, Work, execute
from tasks.corpus import corpus
from tasks.evaluate.metrics import held_out_scores, source_score
from tasks.select import select
from tests.select.judged import config as select_config

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

    def add(self, name: str, function: Any, config: BaseModel, upstream: tuple[str, ...] = (), tables: bool = True) -> None:
        declared = {stage.name: stage for stage in STAGES}[name.split(".")[0]]
        stage = replace(
            declared,
            function=function,
            libraries=["pyarrow"],
            inputs={ANY: Artifact},
            outside=lambda config: "",
            headline=lambda metrics: "",
        )
        stage = stage if tables else replace(stage, tables={})
        inputs = {other: self.outputs[other] for other in upstream}
        self.outputs[name] = execute(Step(stage, config, inputs, external=name), self.workspace, "swahili", Work())


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


ABOVE = {  # the best floor, on the same documents
    "masakhanews": {"floor": "tfidf", "difference": 0.02, "difference_low": -0.01, "difference_high": 0.05},
    "starter-topics": {"floor": "tfidf", "difference": 0.2, "difference_low": 0.15, "difference_high": 0.25},
}
"""How far the model is above its best floor: by a difference within chance, and by one that is not."""


TASK_SCORES = [
    {
        "task": task, "metric": metric, "system": system, "value": value, "low": value - 0.03,
        "high": value + 0.03, "n": 476, "seeds": 5, **(ABOVE[task] if system == "model" else {}),
    }
    for task, metric, values in SCORES
    for system, value in zip(("model", "tfidf", "random-init", "majority"), values, strict=True)
]  # fmt: skip


EVALUATION: dict[str, Any] = {
    "bits_per_byte": 1.5312, "bits_per_byte_low": 1.5, "bits_per_byte_high": 1.56, "perplexity_per_token": 41.25,
    "perplexity_per_word": 310.5, "test_documents": 23, "test_bytes": 20481,
    "objective": "causal", "filled": [],
    "samples": [{"prompt": "Habari za leo", "text": "Habari za leo ```rais``` wa nchi"}],
}  # fmt: skip
EVALUATION["scores"] = [
    *held_out_scores(EVALUATION),
    *(source_score("bits_per_byte", name, 1.4375, 1.375, 1.5, 11) for name in ("files", "web")),
]


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
MASKED_EVALUATION["scores"] = [
    *held_out_scores(MASKED_EVALUATION),
    source_score("pseudo_bits_per_byte", "web", 0.9375, 0.875, 1.0, 11),
]


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
        run.add(f"crawl.{name}", made_up(outcomes), config)
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
    run.add("select", select, select_config(rule), annotators)
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
    run.add(
        "tokens",
        made_up({"train_tokens": 61234, "validation_tokens": 5123, "test_tokens": 5001, "train_documents": 300}),
        Settings(),
    )
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
    add_tasks(run)
    return run


def add_tasks(run: Run) -> None:
    """What was measured on the model of the run: a step for each set, one of which could not be used."""
    for name in sorted({str(score["task"]) for score in TASK_SCORES}):
        scores = [score for score in TASK_SCORES if score["task"] == name]
        run.add(f"task.{name}", made_up({"task": name, "scores": scores, "skipped": None}), Settings(), ("pretrain",))
    skipped = {"task": "afrisenti", "scores": [], "skipped": "no training split"}
    run.add("task.afrisenti", made_up(skipped), Settings(), ("pretrain",))
