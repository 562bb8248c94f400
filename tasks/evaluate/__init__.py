"""What a trained model is worth: held-out bits per byte, topic classification beside its floors, and samples of its text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lang_configs.schema import Evaluate
from tasks.documents import batches
from tasks.evaluate.bits_per_byte import held_out, read_validation
from tasks.evaluate.classification import classify
from tasks.evaluate.model import load_model, load_tokenizer
from tasks.evaluate.samples import generate
from tasks.evaluate.splits import Split, Unavailable, read_split
from tasks.evaluation_sets import EvaluationData
from tasks.stage import Metrics, StageError, Work, write_atomically

PROMPT_WORDS = 5
"""Words of a validation document that start a sample when the config names no prompts."""


class EvaluateConfig(BaseModel):
    """The section `evaluate`, and the evaluation sets of the language."""

    model_config = ConfigDict(frozen=True)
    rule: Evaluate
    data: EvaluationData


def evaluate(inputs: Mapping[str, Path], config: EvaluateConfig, out: Path, work: Work) -> Metrics:
    """Measure the model of `pretrain` with `tokenizer`, on the validation documents (`tokens`, `corpus`) and on labelled sets.

    Writes evaluation.json (the metrics, and under `details` how each was measured), samples.json and
    predictions/<task>.parquet (`place`, `label`, `predicted`). `scores` hold one entry for each task, metric (accuracy,
    macro_f1, weighted_f1) and system; `low` and `high` are a 95 % bootstrap interval over test items, except for
    `random-init`: there `value` is the mean over `seeds` models, and `low` and `high` are one standard deviation away.
    A set that cannot be used is in `skipped` with the reason. Raises StageError when the inputs do not fit together.
    """
    (out / "predictions").mkdir(exist_ok=True)
    splits, skipped = _splits(config.data, inputs["corpus"])
    parts: dict[str, Callable[[], Metrics]] = {
        "bits_per_byte": lambda: _held_out(inputs, config.rule, work),
        **{f"task-{split.task}": partial(_task, split, inputs, config.rule, out, work) for split in splits},
        "samples": lambda: {"samples": _samples(inputs, config.rule)},
    }
    # parts use all cores themselves: one after the other, each kept when it has ended
    done = Work().units(lambda name, _: _rounded(parts[name]()), {name: name for name in parts}, out)
    compression, samples = done["bits_per_byte"], done["samples"]["samples"]
    tasks = {split.task: done[f"task-{split.task}"] for split in splits}
    metrics = {
        **{key: compression[key] for key in ("bits_per_byte", "bits_per_byte_low", "bits_per_byte_high")},
        **{key: compression[key] for key in ("perplexity_per_token", "perplexity_per_word")},
        **{key: compression[key] for key in ("validation_documents", "validation_bytes")},
        "scores": [score for result in tasks.values() for score in result["scores"]],
        "skipped": skipped,
        "samples": samples,
    }
    details = {"bits_per_byte": compression["details"], **{task: result["details"] for task, result in tasks.items()}}
    write_atomically(out / "samples.json", _json(samples))
    write_atomically(out / "evaluation.json", _json({**metrics, "details": details}))
    return metrics


def _splits(data: EvaluationData, corpus: Path) -> tuple[list[Split], list[dict[str, str]]]:
    splits, skipped = [], []
    for entry in data.sets:
        if entry.task != "classification":
            continue
        try:
            splits.append(read_split(entry, data, corpus))
        except Unavailable as reason:
            skipped.append({"task": entry.name, "reason": str(reason)})
    return splits, skipped


def _held_out(inputs: Mapping[str, Path], rule: Evaluate, work: Work) -> Metrics:
    validation = read_validation(inputs["tokens"])
    sizes, words = [], 0
    for shard in sorted(inputs["corpus"].glob("validation-*.parquet")):
        for batch in batches(shard, ["text", "bytes"]):
            sizes += batch.column("bytes").to_pylist()
            words += sum(len(text.split()) for text in batch.column("text").to_pylist())
    if sizes != validation.sizes.tolist():
        raise StageError(
            f"{inputs['tokens']}: its validation documents are not those of {inputs['corpus']}; run the stage tokens again"
        )
    return held_out(load_model(inputs["pretrain"] / "model"), validation, words, rule.bootstrap, work.progress)


def _task(split: Split, inputs: Mapping[str, Path], rule: Evaluate, out: Path, work: Work) -> Metrics:
    tokenizer = load_tokenizer(inputs["tokenizer"] / "hf")
    return classify(split, load_model(inputs["pretrain"] / "model"), tokenizer, rule, out / "predictions", work.progress)


def _samples(inputs: Mapping[str, Path], rule: Evaluate) -> list[dict[str, str]]:
    model, tokenizer = load_model(inputs["pretrain"] / "model"), load_tokenizer(inputs["tokenizer"] / "hf")
    prompts = rule.prompts or _starts(inputs["corpus"], rule.samples)
    texts = generate(model, tokenizer, prompts, rule.sample_tokens, rule.temperature)
    return [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)]


def _starts(corpus: Path, count: int) -> list[str]:
    starts: list[str] = []
    for shard in sorted(corpus.glob("validation-*.parquet")):
        for batch in batches(shard, ["text"], rows=64):
            starts += [" ".join(text.split()[:PROMPT_WORDS]) for text in batch.column("text").to_pylist()]
            if len(starts) >= count:
                return starts[:count]
    return starts


def _rounded(value: Any) -> Any:
    """Floats to 6 decimals, which is more than the numbers are good for and hides the order in which threads add."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
