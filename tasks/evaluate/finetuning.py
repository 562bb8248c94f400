"""Fine-tuning by the stock classes and the Trainer of transformers: what a user of the model would get from it.

The recipe is that of Mosbach et al. (2021, arXiv 2006.04884), by which few runs fail: AdamW with bias correction, a warm-up
over the first tenth of the steps, linear decay, many epochs. Three rates are tried with the first seed, as small models want
higher ones than large ones; the best on dev items is used by all seeds. A run that does not beat the majority on dev items has
collapsed: it is named, and counts like any other.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tasks.core.stage import Progress
from tasks.evaluate.model import BATCH_TOKENS, boundaries, padded_batches, seen
from tasks.pretrain.machine.device import pick_dtype

RATES = (5e-5, 2e-4, 8e-4)
"""Highest learning rates tried."""

EPOCHS, BATCH, WARMUP, WEIGHT_DECAY = 20, 32, 0.1, 0.01
FEWEST_STEPS, MOST_STEPS = 200, 3000
"""Of a run: more epochs of small sets, fewer of large ones."""

IGNORED = -100
"""Label of a token that is not to be classified."""

Head = Literal["SequenceClassification", "TokenClassification"]


@dataclass(frozen=True)
class Encoded:
    """Tokens of one example, and a label: one for the whole, or one for each token (`IGNORED` for most)."""

    ids: list[int]
    label: int | list[int]


@dataclass(frozen=True)
class Tuned:
    """Logits of each test example by each run, the rate, its score on dev items by rate, and the runs that collapsed."""

    runs: list[list[np.ndarray]]
    rate: float
    tried: dict[float, float]
    collapsed: list[int]


@dataclass(frozen=True)
class Problem:
    """What is learned, chosen on and predicted; `quality` scores the logits of the dev examples, `least` is the majority's."""

    head: Head
    labels: int
    train: Sequence[Encoded]
    dev: Sequence[Encoded]
    test: Sequence[Encoded]
    quality: Callable[[Sequence[np.ndarray]], float]
    least: float


def tune(start: Callable[[int], Any], tokenizer: Any, problem: Problem, seeds: int, progress: Progress) -> Tuned:
    """Fine-tune the model that `start` gives for each seed (the same one, or another initialisation)."""
    steps, runs, total = _steps(len(problem.train)), 0, len(RATES) + seeds - 1

    def run(seed: int, rate: float) -> tuple[float, list[np.ndarray]]:
        nonlocal runs
        model = with_head(start(seed), tokenizer, problem.head, problem.labels, seed)
        done = runs * steps
        _train(model, tokenizer, problem.train, rate, steps, seed, lambda step: progress(done + step, total * steps, "steps"))
        runs += 1
        return problem.quality(logits(model, problem.dev)), logits(model, problem.test)

    first = {rate: run(1, rate) for rate in RATES}
    rate = max(RATES, key=lambda one: round(first[one][0], 6))
    results = [first[rate], *(run(seed, rate) for seed in range(2, seeds + 1))]
    collapsed = [number for number, (quality, _) in enumerate(results, 1) if quality <= problem.least]
    return Tuned([test for _, test in results], rate, {one: first[one][0] for one in RATES}, collapsed)


def described(tuned: Tuned) -> dict[str, Any]:
    """How the runs came about, for the details of an evaluation."""
    return {
        "recipe": f"AdamW, batches of {BATCH}, {EPOCHS} epochs ({FEWEST_STEPS} to {MOST_STEPS} steps), warm-up, linear decay",
        "rate": tuned.rate,
        "tried": {f"{rate:g}": quality for rate, quality in tuned.tried.items()},
        "chosen_on": "dev",
        "collapsed": tuned.collapsed,
    }


def with_head(model: Any, tokenizer: Any, head: Head, labels: int, seed: int) -> Any:
    """The stock class with a new head (`AutoModelForSequenceClassification` ...), on the layers of a language model."""
    import torch
    import transformers

    config = type(model.config).from_dict(model.config.to_dict())
    config.num_labels = labels
    config.pad_token_id = _padding(tokenizer)  # by it causal models find the last token
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = getattr(transformers, f"AutoModelFor{head}").from_config(config, dtype=torch.float32)
    fresh.base_model.load_state_dict(model.base_model.state_dict(), strict=False)  # BERT has a pooler that was not trained
    return fresh.to(model.device)


def logits(model: Any, examples: Sequence[Encoded]) -> list[np.ndarray]:
    """Of each example: `[labels]`, or `[tokens, labels]`."""
    import torch

    found: list[np.ndarray] = [np.zeros(0)] * len(examples)
    padding = model.config.pad_token_id
    with torch.inference_mode():
        for chosen, ids in padded_batches([one.ids for one in examples], BATCH_TOKENS, model.device):
            read = seen(ids, [len(examples[index].ids) for index in chosen])
            output = model.eval()(input_ids=ids.masked_fill(~read, padding), attention_mask=read.long())
            scores = output.logits.float().cpu().numpy()
            for row, index in enumerate(chosen):
                found[index] = scores[row] if scores.ndim == 2 else scores[row, : len(examples[index].ids)]
    return found


def _train(
    model: Any, tokenizer: Any, examples: Sequence[Encoded], rate: float, steps: int, seed: int, report: Callable[[int], None]
) -> None:
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Report(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            report(state.global_step)

    with tempfile.TemporaryDirectory() as folder, _quiet():
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=rate,
            lr_scheduler_type="linear",
            warmup_steps=WARMUP,
            weight_decay=WEIGHT_DECAY,
            bf16=pick_dtype("auto", model.device.type) == torch.bfloat16,
            use_cpu=model.device.type == "cpu",
            seed=seed,
            data_seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        collate = _Collator(_padding(tokenizer))
        Trainer(model, arguments, data_collator=collate, train_dataset=list(examples), callbacks=[Report()]).train()


@dataclass(frozen=True)
class _Collator:
    padding: int

    def __call__(self, examples: Sequence[Encoded]) -> dict[str, Any]:
        import torch

        length = max(len(one.ids) for one in examples)
        ids = [one.ids + [self.padding] * (length - len(one.ids)) for one in examples]
        seen = [[1] * len(one.ids) + [0] * (length - len(one.ids)) for one in examples]
        labels = [
            one.label if isinstance(one.label, int) else one.label + [IGNORED] * (length - len(one.label)) for one in examples
        ]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(seen), "labels": torch.tensor(labels)}


def _steps(examples: int) -> int:
    epochs = EPOCHS * -(-examples // BATCH)
    return min(MOST_STEPS, max(FEWEST_STEPS, epochs))


def _padding(tokenizer: Any) -> int:
    return int(tokenizer.pad_token_id) if tokenizer.pad_token_id is not None else boundaries(tokenizer)[1]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The Trainer prints what it found at its end, and warns of a head that is new, as it is meant to be."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logger.setLevel(before)
