"""What a trained model is worth: how well it predicts held-out text, topic classification beside its floors, and samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lang_configs.schema import Evaluate
from tasks.core.artifacts import Corpus, Model, Scores, TokenFiles, Tokenizer
from tasks.core.documents import batches
from tasks.core.errors import StageError
from tasks.core.files import write_atomically
from tasks.core.stage import Metrics, Stage, Work
from tasks.evaluate.bits_per_byte import held_out, read_validation
from tasks.evaluate.classification import classify
from tasks.evaluate.filling import fill, gaps
from tasks.evaluate.masked import masked_prediction, pseudo_perplexity
from tasks.evaluate.model import is_masked, load_model, load_tokenizer, mask_token
from tasks.evaluate.samples import generate
from tasks.evaluate.splits import Split, Unavailable, read_split
from tasks.evaluation_sets import EvaluationData
from tasks.tokenizer.export import finding_mask

PROMPT_WORDS = 5
"""Words of a validation document that start a sample when the config names no prompts."""

MEASURES = {
    "causal": ("bits_per_byte", "bits_per_byte_low", "bits_per_byte_high", "perplexity_per_token", "perplexity_per_word"),
    "masked": (
        *("pseudo_perplexity", "pseudo_perplexity_low", "pseudo_perplexity_high"),
        *("pseudo_bits_per_byte", "pseudo_bits_per_byte_low", "pseudo_bits_per_byte_high"),
        *("pseudo_tokens", "pseudo_documents", "pseudo_context", "masked_loss", "masked_accuracy"),
    ),
}
"""What is measured on held-out text, by the model's objective; the measures of the other objective are None."""


class EvaluateConfig(BaseModel):
    """The section `evaluate`, the evaluation sets of the language, and the share that a masked model's training masks."""

    model_config = ConfigDict(frozen=True)
    rule: Evaluate
    data: EvaluationData
    masking: float | None = None


def evaluate(inputs: Mapping[str, Path], config: EvaluateConfig, out: Path, work: Work) -> Metrics:
    """Measure the model of `pretrain` with `tokenizer`, on the validation documents (`tokens`, `corpus`) and on labelled sets.

    Writes evaluation.json (the metrics, and under `details` how each was measured), samples.json and
    predictions/<task>.parquet (`place`, `label`, `predicted`). `scores` hold one entry for each task, metric (accuracy,
    macro_f1, weighted_f1) and system; `low` and `high` are a 95 % bootstrap interval over test items, except for
    `random-init`: there `value` is the mean over `seeds` models, and `low` and `high` are one standard deviation away.
    `samples` are texts of a causal model, `filled` the likeliest tokens that a masked model puts into gaps.
    A set that cannot be used is in `skipped` with the reason. Raises StageError when the inputs do not fit together.
    """
    (out / "predictions").mkdir(exist_ok=True)
    splits, skipped = _splits(config.data, inputs["corpus"])
    parts: dict[str, Callable[[], Metrics]] = {
        "held-out": lambda: _held_out(inputs, config, work),
        **{f"task-{split.task}": partial(_task, split, inputs, config.rule, out, work) for split in splits},
        "samples": lambda: _samples(inputs, config.rule),
    }
    # parts use all cores themselves: one after the other, each kept when it has ended
    done = Work().units(lambda name, _: _rounded(parts[name]()), {name: name for name in parts}, out)
    held, samples = done["held-out"], done["samples"]
    tasks = {split.task: done[f"task-{split.task}"] for split in splits}
    metrics = {
        **{key: held.get(key) for keys in MEASURES.values() for key in keys},
        **{key: held[key] for key in ("objective", "test_documents", "test_bytes")},
        "scores": [score for result in tasks.values() for score in result["scores"]],
        "skipped": skipped,
        **samples,
    }
    details = {**held["details"], **{task: result["details"] for task, result in tasks.items()}}
    write_atomically(out / "samples.json", _json(samples["samples"] or samples["filled"]))
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


def _held_out(inputs: Mapping[str, Path], config: EvaluateConfig, work: Work) -> Metrics:
    validation = read_validation(inputs["tokens"])
    sizes, words = [], 0
    for shard in sorted(Corpus(inputs["corpus"]).folder.glob("test-*.parquet")):
        for batch in batches(shard, ["text", "bytes"]):
            sizes += batch.column("bytes").to_pylist()
            words += sum(len(text.split()) for text in batch.column("text").to_pylist())
    if sizes != validation.sizes.tolist():
        raise StageError(
            f"{inputs['tokens']}: its validation documents are not those of {inputs['corpus']}; run the stage tokens again"
        )
    model = load_model(inputs["pretrain"] / "model")
    if not is_masked(model):
        found = held_out(model, validation, words, config.rule.bootstrap, work.progress)
        return {"objective": "causal", **found, "details": {"bits_per_byte": found["details"]}}
    mask = mask_token(load_tokenizer(inputs["tokenizer"] / "hf"))
    pseudo = pseudo_perplexity(model, validation, mask, config.rule.bootstrap, work.progress)
    details = {"pseudo_perplexity": pseudo["details"]}
    together: Metrics = {}
    if config.masking is not None:
        together = masked_prediction(model, validation, mask, config.masking, work.progress)
        details["masked_loss"] = together["details"]
    read = {"test_documents": len(sizes), "test_bytes": sum(sizes)}
    return {"objective": "masked", **read, **pseudo, **together, "details": details}


def _task(split: Split, inputs: Mapping[str, Path], rule: Evaluate, out: Path, work: Work) -> Metrics:
    tokenizer = load_tokenizer(inputs["tokenizer"] / "hf")
    return classify(split, load_model(inputs["pretrain"] / "model"), tokenizer, rule, out / "predictions", work.progress)


def _samples(inputs: Mapping[str, Path], rule: Evaluate) -> Metrics:
    model, tokenizer = load_model(inputs["pretrain"] / "model"), load_tokenizer(inputs["tokenizer"] / "hf")
    if not is_masked(model):
        starts = (" ".join(text.split()[:PROMPT_WORDS]) for text in _validation_texts(inputs["corpus"]))
        prompts = rule.prompts or list(islice(starts, rule.samples))
        texts = generate(model, tokenizer, prompts, rule.sample_tokens, rule.temperature)
        return {
            "samples": [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)],
            "filled": [],
        }
    tokenizer = finding_mask(tokenizer)
    asked: list[tuple[str, str | None]] = [(prompt, None) for prompt in rule.prompts if tokenizer.mask_token in prompt]
    chosen = asked or list(islice(gaps(_validation_texts(inputs["corpus"]), tokenizer), rule.samples))
    guesses = fill(model, tokenizer, [text for text, _ in chosen])
    rows = zip(chosen, guesses, strict=True)
    return {"samples": [], "filled": [{"text": text, "word": word, "guesses": best} for (text, word), best in rows]}


def _validation_texts(corpus: Path) -> Iterator[str]:
    for shard in sorted(corpus.glob("test-*.parquet")):
        for batch in batches(shard, ["text"], rows=64):
            yield from batch.column("text").to_pylist()


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


EVALUATE = Stage(
    "evaluate",
    evaluate,
    version=3,
    libraries=["transformers", "scikit-learn"],
    inputs={"pretrain": Model, "tokenizer": Tokenizer, "tokens": TokenFiles, "corpus": Corpus},
    artifact=Scores,
    outside=lambda config: config.data.digest(),
    headline=_headline,
)
