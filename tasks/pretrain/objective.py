"""What a step predicts and what it is shown for that: the next tokens, masked ones, or each in turn (hybrid)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lang_configs.training import Pretrain
from tasks.core.errors import StageError
from tasks.pretrain.batches import Phase
from tasks.pretrain.data import Windows, halve, mask
from tasks.pretrain.machine.device import Machine
from tasks.pretrain.models import CausalLM, LanguageModel
from tasks.pretrain.sampled import Sample, sample


@dataclass(frozen=True)
class Objective:
    """Makes batches of windows, and sets the model to the way in which it reads them.

    All that is random in a batch is drawn from the seed and its position in the run.
    """

    config: Pretrain
    data: Windows
    model: LanguageModel
    machine: Machine

    def is_masked(self, step: int) -> bool:
        """Whether this step predicts masked tokens: all do, none does, or `hybrid` of them, evenly spread."""
        if self.model.objective == "masked":
            return True
        return math.floor((step + 1) * self.config.hybrid) > math.floor(step * self.config.hybrid)

    def is_main(self, step: int) -> bool:
        """Whether this step predicts what the model is for, so that its loss belongs into the curve."""
        return self.is_masked(step) == (self.model.objective == "masked")

    def set_model(self, phase: Phase, masked: bool) -> None:
        """Let the model attend as the objective asks for, in as many narrow layers as the phase has."""
        if isinstance(self.model, CausalLM):
            self.model.set_bidirectional(masked)
        narrow = self.config.narrow_layers if phase.narrow else 0
        self.model.training_only = dataclasses.replace(self.model.training_only, narrow_layers=narrow)

    def micro_batch(self, phase: Phase, position: int, masked: bool) -> tuple[Tensor, ...]:
        """The micro-batch that begins with the window at `position` of the run, as the model's loss takes it."""
        windows = self.data.read(position, phase.micro_batch)
        return self.batch(halve(windows) if phase.half else windows, (position, phase.half), masked)

    def batch(self, windows: Tensor, key: Sequence[int], masked: bool) -> tuple[Tensor, ...]:
        """Windows `[count, length + 1]` on the device, or what mask() makes of them, drawn from the seed and `key`."""
        if not masked:
            return (self.machine.to_device(windows),)
        if self.data.files.mask is None:
            raise StageError(f"{self.data.files.folder}: the tokenizer has no mask token; train it again with this version")
        parts = mask(windows, self.config.masking, self.data.files.mask, (self.config.seed, *key))
        return tuple(self.machine.to_device(part) for part in parts)

    def sample(self, phase: Phase, position: int) -> Sample:
        """The pieces that a step scores which begins at `position`, the same in all its micro-batches and processes."""
        labels = self.data.read(position, phase.windows)[:, 1:]
        found = sample(labels, self.data.files.vocab_size, phase.scored, (self.config.seed, position))
        return Sample(*(self.machine.to_device(part) for part in found))
