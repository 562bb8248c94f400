"""What a trained model is worth: how well it predicts held-out text, its scores on tasks beside their floors, and samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lang_configs.evaluation import Evaluate, EvaluationSet
from tasks.core.artifacts import Corpus, Model, Scores, TokenFiles, Tokenizer
from tasks.core.files import write_atomically
from tasks.core.stage import Metrics, Stage, Work
from tasks.evaluate.causal import bits_per_byte
from tasks.evaluate.examples import Examples, Unavailable
from tasks.evaluate.filling import fill, gaps
from tasks.evaluate.generation import Sampling, generate
from tasks.evaluate.harness import run_task
from tasks.evaluate.held_out import read_held_out, read_texts
from tasks.evaluate.masked import masked_prediction, pseudo_perplexity
from tasks.evaluate.metrics import HELD_OUT, held_out_scores
from tasks.evaluate.model import is_masked, load_model, load_tokenizer, mask_token
from tasks.evaluate.tasks import task
from tasks.evaluation_sets import EvaluationData

PROMPT_WORDS = 5
"""Words of a held-out document that start a sample when the config names no prompts."""


class EvaluateConfig(BaseModel):
    """The section `evaluate`, the evaluation sets of the language, and the share that a masked model's training masks."""

    model_config = ConfigDict(frozen=True)
    rule: Evaluate
    data: EvaluationData
    masking: float | None = None


def evaluate(inputs: Mapping[str, Path], config: EvaluateConfig, out: Path, work: Work) -> Metrics:
    """Measure the model of `pretrain` with `tokenizer`, on the held-out documents (`tokens`, `corpus`) and on labelled sets.

    Writes evaluation.json (the metrics, and under `details` how each was measured), samples.json and
    predictions/<set>.parquet (`place`, `label`, `predicted`). Metrics hold those of held-out text by name (`metrics.HELD_OUT`;
    those of the other objective are None), and `scores`: held-out text, then each set, metric and system (`harness.score`).
    All `low` and `high` are 95 % bootstrap intervals over documents. `samples` are texts of a causal model, `filled` the
    likeliest tokens that a masked model puts into gaps. A set that cannot be used is in `skipped` with the reason. Raises
    StageError when the inputs do not fit together.
    """
    (out / "predictions").mkdir(exist_ok=True)
    sets, skipped = _examples(config.data, inputs["corpus"])
    parts: dict[str, Callable[[], Metrics]] = {
        "held-out": lambda: _held_out(inputs, config, work),
        **{f"task-{entry.name}": partial(_task, entry, found, inputs, config.rule, out, work) for entry, found in sets},
        "samples": lambda: _samples(inputs, config.rule),
    }
    # parts use all cores themselves: one after the other, each kept when it has ended
    done = Work().units(lambda name, _: _rounded(parts[name]()), {name: name for name in parts}, out)
    held, samples = done["held-out"], done["samples"]
    scored = {entry.name: done[f"task-{entry.name}"] for entry, _ in sets}
    metrics = {
        **dict.fromkeys(metric.name for metric in HELD_OUT),
        **{key: value for key, value in held.items() if key != "details"},
        "scores": [*held_out_scores(held), *(score for result in scored.values() for score in result["scores"])],
        "skipped": skipped,
        **samples,
    }
    details = {**held["details"], **{name: result["details"] for name, result in scored.items()}}
    write_atomically(Scores(out).samples, _json(samples["samples"] or samples["filled"]))
    write_atomically(out / "evaluation.json", _json({**metrics, "details": details}))
    return metrics


def _examples(data: EvaluationData, corpus: Path) -> tuple[list[tuple[EvaluationSet, Examples]], list[dict[str, str]]]:
    """The sets that are the examples of a task, and those that cannot be used, with the reason."""
    found, skipped = [], []
    for entry in data.sets:
        if entry.task == "none":
            continue
        try:
            found.append((entry, task(entry.task).examples(entry, data, corpus)))
        except Unavailable as reason:
            skipped.append({"task": entry.name, "reason": str(reason)})
    return found, skipped


def _held_out(inputs: Mapping[str, Path], config: EvaluateConfig, work: Work) -> Metrics:
    documents, words = read_held_out(inputs["tokens"], inputs["corpus"])
    read = {"test_documents": len(documents.bytes), "test_bytes": int(documents.bytes.sum())}
    (model, tokenizer), resamples = _load(inputs), config.rule.bootstrap
    if not is_masked(model):
        found = bits_per_byte(model, documents, words, resamples, work.progress)
        return {"objective": "causal", **read, **found, "details": {"bits_per_byte": found["details"]}}
    mask = mask_token(tokenizer)
    pseudo = pseudo_perplexity(model, documents, mask, resamples, work.progress)
    details = {"pseudo_perplexity": pseudo["details"]}
    at_once: Metrics = {}
    if config.masking is not None:
        at_once = masked_prediction(model, documents, mask, config.masking, work.progress)
        details["masked_loss"] = at_once["details"]
    return {"objective": "masked", **read, **pseudo, **at_once, "details": details}


def _task(
    entry: EvaluationSet, examples: Examples, inputs: Mapping[str, Path], rule: Evaluate, out: Path, work: Work
) -> Metrics:
    model, tokenizer = _load(inputs)
    return run_task(task(entry.task), examples, model, tokenizer, rule, out / "predictions", work.progress)


def _samples(inputs: Mapping[str, Path], rule: Evaluate) -> Metrics:
    model, tokenizer = _load(inputs)
    if not is_masked(model):
        starts = (" ".join(text.split()[:PROMPT_WORDS]) for text in read_texts(inputs["corpus"]))
        prompts = rule.prompts or list(islice(starts, rule.samples))
        texts = generate(model, tokenizer, prompts, Sampling(rule.sample_tokens, rule.temperature))
        return {
            "samples": [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)],
            "filled": [],
        }
    tokenizer = load_tokenizer(Tokenizer(inputs["tokenizer"]).transformers, finds_special_tokens=True)
    asked: list[tuple[str, str | None]] = [(prompt, None) for prompt in rule.prompts if tokenizer.mask_token in prompt]
    chosen = asked or list(islice(gaps(read_texts(inputs["corpus"]), tokenizer), rule.samples))
    guesses = fill(model, tokenizer, [text for text, _ in chosen])
    rows = zip(chosen, guesses, strict=True)
    return {"samples": [], "filled": [{"text": text, "word": word, "guesses": best} for (text, word), best in rows]}


def _load(inputs: Mapping[str, Path]) -> tuple[Any, Any]:
    """The model, and the tokenizer of its training."""
    return load_model(Model(inputs["pretrain"]).transformers), load_tokenizer(Tokenizer(inputs["tokenizer"]).transformers)


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
    version=6,
    libraries=["transformers", "scikit-learn"],
    inputs={"pretrain": Model, "tokenizer": Tokenizer, "tokens": TokenFiles, "corpus": Corpus},
    artifact=Scores,
    outside=lambda config: config.data.digest(),
    headline=_headline,
)
