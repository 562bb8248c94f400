"""What the stock thresholds do to real text and to junk, through the real annotators."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from lang_configs.schema import Clean, Contamination, Duplicates, LanguageId
from tasks.annotate.contamination import ContaminationConfig, contamination
from tasks.annotate.duplicates import duplicates
from tasks.annotate.language import language
from tasks.annotate.quality import QualitySignals, quality
from tasks.clean import clean
from tasks.core.documents import Document
from tasks.evaluation_sets import EvaluationData
from tasks.select import select
from tests.junk import junk
from tests.pipeline import rows, run, write_documents
from tests.select.judged import config

LINES_JOINED = 20
"""Sentences of the parallel corpus that make a document."""
REAL = {"news": 0.95, "sentences": 0.95, "stories": 0.85}
"""Source -> share that must be kept."""


@pytest.fixture(scope="module")
def found(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Source, kind of junk and decision of every document; copies count as kept, as their original is."""
    folder = tmp_path_factory.mktemp("rates")
    swahili = bundle / "raw" / "swahili"
    lines = "\n".join(texts(swahili / "lafand_mt_train.jsonl.zst")).split("\n")
    news, stories = swahili / "CONTAMINATED_masakhanews_dev_test.jsonl.zst", swahili / "african_storybook.jsonl.zst"
    joined = ["\n".join(lines[start : start + LINES_JOINED]) for start in range(0, len(lines), LINES_JOINED)]
    sources = {"news": texts(news), "stories": texts(stories), "sentences": joined}
    documents = [Document(text, name, f"{name}/{i}") for name, items in sources.items() for i, text in enumerate(items)]
    documents += [Document(text, "junk", f"{kind}/{i}") for kind, items in junk().items() for i, text in enumerate(items)]
    inputs = {"raw": write_documents(folder / "raw", documents)}
    phones = Clean(phone_countries=[255, 254])
    run(clean, folder / "clean", phones, inputs)
    inputs = {"clean": folder / "clean"}
    for stage, settings in (
        (language, LanguageId()),
        (quality, QualitySignals(label="swh_Latn")),
        (duplicates, Duplicates()),
        (contamination, ContaminationConfig(rule=Contamination(), data=EvaluationData(sets=[], folder=None))),
    ):
        run(stage, folder / stage.__name__, settings, inputs)
        inputs[stage.__name__] = folder / stage.__name__
    run(select, folder / "select", config(), inputs)
    return rows(folder / "select")


def texts(path: Path) -> Iterator[str]:
    for line in zstandard.decompress(path.read_bytes(), max_output_size=1 << 30).decode().rstrip("\n").split("\n"):
        yield json.loads(line)["text"]


@pytest.mark.parametrize("source", REAL)
def test_real_text_is_kept(found: list[dict[str, str]], source: str) -> None:
    decisions = Counter(row["decision"] for row in found if row["source"] == source)
    kept = decisions["keep"] + decisions["exact_duplicate"] + decisions["near_duplicate"]
    assert kept >= REAL[source] * decisions.total() > 50, decisions


def test_junk_is_dropped(found: list[dict[str, str]]) -> None:
    kept = [row["url"] for row in found if row["source"] == "junk" and row["decision"] == "keep"]
    items = sum(row["source"] == "junk" for row in found)
    assert items >= 60
    assert len(kept) <= 0.05 * items, kept
