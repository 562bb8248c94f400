"""What a trained model is worth: how well it predicts held-out text, its scores on tasks beside their floors, and samples.

Two stages. `evaluate` reads held-out text and lets the model write; `task` is one step for each labelled set, so that a new set
is measured alone and each resumes by itself. Both take any model of transformers with its own tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from lang_configs.evaluation import Mode
from tasks.core.artifacts import Corpus, Model, Scores, Tokenizer
from tasks.core.documents import write_table
from tasks.core.files import write_atomically
from tasks.core.stage import Metrics, Stage, Work
from tasks.evaluate import bootstrap, causal, masked
from tasks.evaluate.examples import Unavailable
from tasks.evaluate.filling import fill, gaps
from tasks.evaluate.generation import Sampling, generate
from tasks.evaluate.harness import run_task
from tasks.evaluate.held_out import HeldOut, read_held_out, read_texts
from tasks.evaluate.metrics import HELD_OUT, held_out_scores, source_score
from tasks.evaluate.model import is_masked, load_model, load_tokenizer, mask_token
from tasks.evaluate.tasks import task as task_of
from tasks.evaluation_sets import EvaluationData

PROMPT_WORDS = 5
"""Words of a held-out document that start a sample when the config names no prompts."""


class EvaluateConfig(BaseModel):
    """What is read and written of the section `evaluate`, and the share that a masked model's training masks."""

    model_config = ConfigDict(frozen=True)
    sample_tokens: int
    samples: int
    prompts: list[str]
    temperature: float
    bootstrap: int
    masking: float | None = None


class TaskConfig(BaseModel):
    """One evaluation set (`data` has no other), and how its scores come about."""

    model_config = ConfigDict(frozen=True)
    data: EvaluationData
    mode: Mode = "cheap"
    seeds: int
    bootstrap: int


def evaluate(inputs: Mapping[str, Path], config: EvaluateConfig, out: Path, work: Work) -> Metrics:
    """Measure the model of `pretrain` with `tokenizer` on the held-out documents of `corpus`, and let it write.

    Writes evaluation.json (the metrics, and under `details` how each was measured), samples.json and documents.parquet (for
    each held-out document its `source` and what the metrics are computed from). Metrics hold those of held-out text by name
    (`metrics.HELD_OUT`; those of the other objective are None), and the same as `scores`, for all of the text and for each
    source. All `low` and `high` are 95 % bootstrap intervals over documents. `samples` are texts of a causal model, `filled`
    the likeliest tokens that a masked model puts into gaps. Raises StageError when the inputs do not fit together.
    """
    parts: dict[str, Callable[[], Metrics]] = {
        "held-out": lambda: _held_out(inputs, config, out, work),
        "samples": lambda: _samples(inputs, config),
    }
    # parts use all cores themselves: one after the other, each kept when it has ended
    done = Work().units(lambda name, _: _rounded(parts[name]()), {name: name for name in parts}, out)
    held, samples = done["held-out"], done["samples"]
    metrics = {
        **dict.fromkeys(metric.name for metric in HELD_OUT),
        **{key: value for key, value in held.items() if key not in ("details", "sources")},
        "scores": [*held_out_scores(held), *held["sources"]],
        **samples,
    }
    write_atomically(Scores(out).samples, _json(samples["samples"] or samples["filled"]))
    write_atomically(Scores(out).evaluation, _json({**metrics, "details": held["details"]}))
    return metrics


def task(inputs: Mapping[str, Path], config: TaskConfig, out: Path, work: Work) -> Metrics:
    """Measure the model of `pretrain` with `tokenizer` on one labelled set, beside its floors.

    Writes evaluation.json (the metrics, and under `details` how they were measured) and predictions.parquet (`place`,
    `document`, `label`, `system`, `run`, `predicted`). Metrics: `task`, its `scores` by metric and system
    (`harness.score`), and `skipped`, the reason where the set cannot be used here. `corpus` is read by sets made of it.
    """
    [entry] = config.data.sets
    kind = task_of(entry.task)
    try:
        examples = kind.examples(entry, config.data, inputs.get("corpus"))
    except Unavailable as reason:
        metrics: Metrics = {"task": entry.name, "scores": [], "skipped": str(reason)}
        details: Metrics = {}
    else:
        model, tokenizer = _load(inputs)
        found = _rounded(run_task(kind, examples, model, tokenizer, config, out, work.progress))
        metrics, details = {"task": entry.name, "scores": found["scores"], "skipped": None}, found["details"]
    write_atomically(Scores(out).evaluation, _json({**metrics, "details": details}))
    return metrics


def _held_out(inputs: Mapping[str, Path], config: EvaluateConfig, out: Path, work: Work) -> Metrics:
    model, tokenizer = _load(inputs)
    text = read_held_out(inputs["corpus"], tokenizer)
    sizes, names = text.documents.bytes, causal.STATISTICS
    measured: Metrics = {"test_documents": len(sizes), "test_bytes": int(sizes.sum())}
    if not is_masked(model):
        found, statistics = causal.bits_per_byte(model, text.documents, text.words, config.bootstrap, work.progress)
        details, metric, value = {"bits_per_byte": found["details"]}, "bits_per_byte", causal.ratio
        measured |= {"objective": "causal"} | found
    else:
        mask = mask_token(tokenizer)
        found, statistics = masked.pseudo_perplexity(model, text.documents, mask, config.bootstrap, work.progress)
        details, metric, value = {"pseudo_perplexity": found["details"]}, "pseudo_bits_per_byte", masked.bits
        names = masked.STATISTICS
        measured |= {"objective": "masked"} | found
        if config.masking is not None:
            at_once = masked.masked_prediction(model, text.documents, mask, config.masking, work.progress)
            details["masked_loss"] = at_once["details"]
            measured |= at_once
    columns = {name: statistics[:, number] for number, name in enumerate(names)}
    write_table(pa.table({"source": text.sources, **columns}), Scores(out).documents)
    return {**measured, "details": details, "sources": _by_source(metric, text, statistics, value, config.bootstrap)}


def _by_source(
    metric: str, text: HeldOut, statistics: np.ndarray, value: Callable[[np.ndarray], np.ndarray], resamples: int
) -> list[Metrics]:
    """A score for each source, where there are several."""
    sources, found = sorted(set(text.sources)), []
    for source in sources if len(sources) > 1 else []:
        chosen = statistics[[one == source for one in text.sources]]
        [point] = value(chosen.sum(0, keepdims=True))
        if np.isfinite(point):
            low, high = bootstrap.interval(value(bootstrap.resample(chosen, resamples)))
            found.append(source_score(metric, source, float(point), low, high, len(chosen)))
    return found


def _samples(inputs: Mapping[str, Path], config: EvaluateConfig) -> Metrics:
    model, tokenizer = _load(inputs)
    if not is_masked(model):
        starts = (" ".join(text.split()[:PROMPT_WORDS]) for text in read_texts(inputs["corpus"]))
        prompts = config.prompts or list(islice(starts, config.samples))
        texts = generate(model, tokenizer, prompts, Sampling(config.sample_tokens, config.temperature))
        return {
            "samples": [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)],
            "filled": [],
        }
    tokenizer = load_tokenizer(_tokenizer_folder(inputs), finds_special_tokens=True)
    asked: list[tuple[str, str | None]] = [(prompt, None) for prompt in config.prompts if tokenizer.mask_token in prompt]
    chosen = asked or list(islice(gaps(read_texts(inputs["corpus"]), tokenizer), config.samples))
    guesses = fill(model, tokenizer, [text for text, _ in chosen])
    rows = zip(chosen, guesses, strict=True)
    return {"samples": [], "filled": [{"text": text, "word": word, "guesses": best} for (text, word), best in rows]}


def _load(inputs: Mapping[str, Path]) -> tuple[Any, Any]:
    """The model, and the tokenizer of its training."""
    return load_model(Model(inputs["pretrain"]).transformers), load_tokenizer(_tokenizer_folder(inputs))


def _tokenizer_folder(inputs: Mapping[str, Path]) -> Path:
    """A model from elsewhere has its tokenizer in its own folder."""
    return Tokenizer(inputs["tokenizer"]).transformers if "tokenizer" in inputs else Model(inputs["pretrain"]).transformers


def _rounded(value: Any) -> Any:
    """Floats to 6 decimals, which is more than the numbers are good for and hides the order in which threads add."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _headline(metrics: Metrics) -> str:
    if metrics["objective"] == "masked":
        return f"{metrics['pseudo_perplexity']:,.4g} pseudo-perplexity on held-out text"
    return f"{metrics['bits_per_byte']:,.4g} bits per byte on held-out text"


def _task_headline(metrics: Metrics) -> str:
    if metrics["skipped"]:
        return f"not run: {metrics['skipped']}"
    score = next(score for score in metrics["scores"] if score["system"] == "model")
    return f"{score['value']:.3f} {score['metric'].replace('_', ' ')} on {score['n']:,} items"


EVALUATE = Stage(
    "evaluate",
    evaluate,
    version=7,
    libraries=["transformers"],
    inputs={"pretrain": Model, "corpus": Corpus},
    optional={"tokenizer": Tokenizer},
    artifact=Scores,
    headline=_headline,
)

TASK = Stage(
    "task",
    task,
    version=2,
    libraries=["transformers", "scikit-learn"],
    inputs={"pretrain": Model},
    optional={"tokenizer": Tokenizer, "corpus": Corpus},
    artifact=Scores,
    outside=lambda config: config.data.digest(),
    headline=_task_headline,
)
