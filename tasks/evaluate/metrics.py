"""Every metric of held-out text and those that tasks share, declared once: its name, its words, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

HELD_OUT_TASK = "held-out text"
"""The `task` of scores of held-out text."""


@dataclass(frozen=True)
class Metric:
    """A metric by its key in manifests and in the ledger, and in words."""

    name: str
    words: str
    lower_is_better: bool = False


@dataclass(frozen=True)
class HeldOutMetric(Metric):
    """A metric of held-out text: of which models, the key under which its number of documents stands, and whether it can be
    compared between models (then the model-index on the Hub names it).
    """

    objective: Literal["causal", "masked"] = "causal"
    documents: str = "test_documents"
    comparable: bool = True


HELD_OUT = (
    HeldOutMetric("bits_per_byte", "bits per byte", True),
    HeldOutMetric("perplexity_per_token", "perplexity per token", True),
    HeldOutMetric("perplexity_per_word", "perplexity per word", True),
    HeldOutMetric("pseudo_perplexity", "pseudo-perplexity", True, "masked", "pseudo_documents"),
    HeldOutMetric("pseudo_bits_per_byte", "pseudo-bits per byte", True, "masked", "pseudo_documents"),
    HeldOutMetric("masked_loss", "loss on masked tokens", True, "masked", comparable=False),
    HeldOutMetric("masked_accuracy", "accuracy on masked tokens", False, "masked", comparable=False),
)

ACCURACY = Metric("accuracy", "accuracy")
MACRO_F1 = Metric("macro_f1", "macro F1")
WEIGHTED_F1 = Metric("weighted_f1", "weighted F1")
SPAN_F1 = Metric("span_f1", "F1 of whole spans")


def held_out_scores(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics of held-out text as scores like those of tasks (`harness.score`); what was not measured is left out."""
    return [
        {
            "task": HELD_OUT_TASK,
            "metric": metric.name,
            "system": "model",
            "value": metrics[metric.name],
            "low": metrics.get(f"{metric.name}_low"),
            "high": metrics.get(f"{metric.name}_high"),
            "n": metrics[metric.documents],
        }
        for metric in HELD_OUT
        if metrics.get(metric.name) is not None
    ]


def source_score(metric: str, source: str, value: float, low: float, high: float, n: int) -> dict[str, Any]:
    """A score like those of `held_out_scores`, of the documents of one source alone."""
    row = {"task": f"{HELD_OUT_TASK}: {source}", "metric": metric, "system": "model"}
    return row | {"value": value, "low": low, "high": high, "n": n}


def verdict(score: Mapping[str, Any]) -> str | None:
    """How the model stands to the best of its floors: by the 95 % interval of their paired difference; None if it has none."""
    low, high = score.get("difference_low"), score.get("difference_high")
    if low is None or high is None:
        return None
    if low > 0:
        return "above the best floor"
    return "below the best floor" if high < 0 else "not told apart from the best floor"
