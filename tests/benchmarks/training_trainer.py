"""Training with the Trainer of transformers, for the peers that use it; the budget ends it and drives its learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from training_peer import Clock, Job, finish
from transformers import Trainer, TrainerCallback, TrainingArguments


class Budget(TrainerCallback):
    """Ends training with the budget."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.step_ended()
        control.should_training_stop = self.clock.used >= 1


class BudgetTrainer(Trainer):
    """Takes its learning rate from the share of the budget that is used."""

    clock: Clock
    schedule: Callable[[float], float]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        if self.lr_scheduler is None:
            followed: Any = optimizer or self.optimizer
            self.lr_scheduler = LambdaLR(followed, lambda _: self.schedule(self.clock.used))
        return self.lr_scheduler


def train(
    job: Job,
    build: Callable[[], Any],
    context: int,
    batch: int,
    schedule: Callable[[float], float],
    learning_rate: float,
    collate: Callable[[list[torch.Tensor]], dict[str, torch.Tensor]] | None = None,
    **arguments: Any,
) -> None:
    """Train what `build` makes on windows of `context` tokens, `batch` at a time, and leave model and record."""
    windows = job.windows(context)
    clock = Clock(job)
    torch.manual_seed(job.seed)
    trainer = BudgetTrainer(
        model=build(),
        args=TrainingArguments(
            output_dir=str(job.out / "trainer"),
            per_device_train_batch_size=batch,
            max_steps=10**7,  # the budget ends it
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            remove_unused_columns=False,
            seed=job.seed,
            bf16=job.bf16,
            torch_compile=job.compile,
            learning_rate=job.rate or learning_rate,
            **arguments,
        ),
        train_dataset=windows,
        data_collator=collate or next_tokens,
        callbacks=[Budget(clock)],
    )
    trainer.clock, trainer.schedule = clock, schedule
    trainer.train()
    finish(job, clock, trainer.model, batch * context)


def next_tokens(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each token from those before it; the model class shifts the labels."""
    ids = torch.stack(list(rows))
    return {"input_ids": ids, "labels": ids}
