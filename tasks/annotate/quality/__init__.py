"""Quality signals of each document: numbers only, no decision. `select` compares them with the language's thresholds.

The rules on quality and repetition of Gopher (Rae et al. 2021, arXiv 2112.11446, A1.1) and those of FineWeb (Penedo et al.
2024, arXiv 2406.17557), measured as datatrove measures them unless that is wrong for small languages, and two signals of how
the language uses its words. They work on characters and words of any script.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from lang_configs.schema import Quality
from tasks.annotate.annotator import Annotator, Rule, Unless
from tasks.annotate.quality import kernel
from tasks.annotate.quality.kernel import SIGNALS
from tasks.annotate.quality.reference import SHARE_FOR_USAGE, running, worst_of_others
from tasks.annotate.quality.usage import FUNCTION_WORDS, LEAST_WORDS, NOTHING, Usage, learn, sample
from tasks.core.artifacts import Annotations, Documents
from tasks.core.characters import buffers, classes, lower_case, unspaced
from tasks.core.documents import batches, write_table
from tasks.core.stage import Metrics, Stage, Work

__all__ = ["QUALITY", "SIGNALS", "QualitySignals", "measure", "quality"]

USAGE = ".usage.npz"
"""What the workers need to know of the language; the list of its frequent words is in the metrics."""

CONCENTRATIONS = 2


class QualitySignals(BaseModel):
    """The signals have no parameters, thresholds belong to select; `label` is the language, e.g. swh_Latn."""

    model_config = ConfigDict(frozen=True)
    label: str


def quality(inputs: Mapping[str, Path], config: QualitySignals, out: Path, work: Work) -> Metrics:
    """Annotate each document of `inputs["clean"]` with the columns `SIGNALS` (float32); one file per shard.

    What is sure to be in the language according to `inputs["language"]`, and good in all other respects (`reference`), shows
    how it uses its words.

    Sizes: `words`; `mean_word_length` in characters; `lines` that are not empty.
    Shares of the characters that are not white space: `letters` (and marks), `digits`, `symbols` (of markup, code, emoji).
    Shares of the words: `alpha_words` with a letter; `capital_words` of those, that begin with a capital;
    `single_letter_words`, one small letter between blanks, as in text that was set with wide letter spacing.
    Per word: `punctuation` (runs of one character), `hash_words` (#), `ellipsis_words` (... and …), `newlines` (line breaks).
    Among the first 1,000 words: `unique_words`, distinct words over words; `top_word`, share of the most frequent.
    Shares of the lines: `stop_lines` ending in sentence punctuation, `bullet_lines`, `ellipsis_lines`, `short_lines` of at
    most 30 characters, `duplicate_lines` that stood before in the document; so `duplicate_paragraphs`, between empty lines.
    Shares of the characters without line breaks: `duplicate_line_characters`, `duplicate_paragraph_characters`.
    Shares of all characters: `top_2_grams` ... `top_4_grams`, the most frequent word n-gram; `duplicate_5_grams` ...
    `duplicate_10_grams`, n-grams that stood before.
    `function_words`: share of words that are among the 100 most frequent of the language. `word_order`: mean pointwise mutual
    information (nats) of adjacent words less that of words some distance apart, by classes of beginnings and of ends, learned
    from other texts: above 0 for running text, 0 for words in no order. Both are null
    where the language has too little text to learn from.
    """
    learned = _learned(sample(inputs["clean"], inputs["language"], config.label))
    learned.save(out / USAGE)
    paths = {shard.stem: str(shard) for shard in Documents(inputs["clean"]).shards()}
    found = work.units(partial(_annotate, str(out / USAGE)), paths, out)
    documents = sum(unit["documents"] for unit in found.values())
    return {"documents": documents, "function_words": learned.frequent[:FUNCTION_WORDS]}


def _learned(texts: pa.Array) -> Usage:
    """The usage that the good texts share.

    First of what is good in all other respects. What is bad in this respect alone (shuffled words, words strung together) is
    still among it; it is left out, and the rest learned from again, as in the concentration steps of the minimum covariance
    determinant (Rousseeuw and Van Driessen 1999, Technometrics 41:3).
    """
    signals = _by_name(measure(texts))
    texts = _best(texts, worst_of_others(signals)["usage"], signals["words"], SHARE_FOR_USAGE)
    for _ in range(CONCENTRATIONS):
        signals = _by_name(measure(texts, learn(texts)))
        order = signals["word_order"]
        texts = _best(texts, -order, signals["words"], float(np.mean(running(order))) if len(order) else 0.0)
    return learn(texts)


def _by_name(signals: np.ndarray) -> dict[str, np.ndarray]:
    return {name: signals[:, i] for i, name in enumerate(SIGNALS)}


def _best(texts: pa.Array, bad: np.ndarray, words: np.ndarray, share: float) -> pa.Array:
    """The least bad share of the texts, or what more it takes to have LEAST_WORDS words."""
    best = np.argsort(bad, kind="stable")
    words = np.cumsum(words[best], dtype=np.float64)
    chosen = max(math.ceil(share * len(best)), 1 + int(np.searchsorted(words, LEAST_WORDS)))
    return texts.take(pa.array(np.sort(best[:chosen])))


def _annotate(usage: str, shard: str, out: Path) -> Metrics:
    path, learned = Path(shard), Usage.load(Path(usage))
    tables = []
    for batch in batches(path, ["id", "text"]):
        signals = measure(batch.column("text"), learned)
        columns = {name: pa.array(signals[:, i], from_pandas=True) for i, name in enumerate(SIGNALS)}
        tables.append(pa.table({"id": batch.column("id")} | columns))
    table = pa.concat_tables(tables)
    write_table(table, out / path.name)
    return {"documents": table.num_rows}


def measure(texts: pa.Array, usage: Usage = NOTHING) -> np.ndarray:
    """Signals of each text: float32[texts, SIGNALS]; `function_words` and `word_order` are NaN without a `usage`."""
    data, offsets = buffers(texts)
    out = np.empty((len(offsets) - 1, len(SIGNALS)), np.float32)
    table, lower = classes(), lower_case()
    kernel.measure(data, offsets, table, lower, unspaced(), usage.keys, usage.classes, FUNCTION_WORDS, usage.order, out)
    return out


RATIO_WORDS = 40
RATIOS = (
    "punctuation", "single_letter_words", "top_word", "top_2_grams", "top_3_grams", "top_4_grams", "function_words",
    "word_order",
)  # fmt: skip
"""Signals whose thresholds hold from so many words on: rhymes and briefs of 30 words break them, and are good."""


def _rule(threshold: str) -> Rule:
    """The rule of a key of the section `quality`: min_words, max_top_word."""
    kind, _, signal = threshold.partition("_")
    return Rule(
        decision=f"quality_{threshold}",
        signal=signal,
        bound="at least" if kind == "min" else "at most",
        threshold=f"${threshold}",
        unless=(Unless(signal="words", bound="below", threshold=RATIO_WORDS),) if signal in RATIOS else (),
        words=f"{signal.replace('_', ' ')} {'below' if kind == 'min' else 'above'} {{{threshold}}}",
    )


QUALITY = Annotator(
    Stage(
        "quality",
        quality,
        version=6,
        inputs={"clean": Documents, "language": Annotations},
        artifact=Annotations,
        headline=lambda metrics: f"{metrics['documents']:,} documents measured",
    ),
    rules=tuple(_rule(threshold) for threshold in Quality.model_fields),
)
