"""Muon for the matrices inside the blocks and AdamW for embeddings and norms, or AdamW for everything.

Muon is Nesterov momentum whose update is made orthogonal by a Newton-Schulz iteration (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon). The iteration runs on all matrices of one shape at a time: one by one, small
matrices cost four times as much on a CPU. Weights are kept in fp32 whatever the model computes in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lang_configs.schema import Pretrain
from tasks.pretrain.model import FINAL_GAIN
from tasks.stage import StageError

MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ADAM_BETAS = {"muon": (0.8, 0.95), "adamw": (0.9, 0.95)}
ADAM_EPSILON = 1e-10
MAX_SKIPPED = 3


@dataclass
class MuonGroup:
    """Matrices of one shape: rows `start:end` of named weights, and their momentum `[count, rows, columns]`."""

    slices: list[tuple[str, int, int]]
    momentum: Tensor


class Optimizer:
    """Updates a model from its gradients.

    The model may hold bf16 weights: `self.weights` in fp32 are the truth, and are copied to it after each step.
    """

    def __init__(self, model: nn.Module, config: Pretrain) -> None:
        self.config = config
        self.parameters = dict(model.named_parameters())
        self.weights = {name: parameter.detach().float().clone() for name, parameter in self.parameters.items()}
        self.skipped = self.skipped_in_a_row = 0
        matrices = [name for name, weight in self.weights.items() if weight.ndim == 2 and name.startswith("blocks.")]
        self.muon = _muon_groups({name: self.weights[name] for name in matrices}) if config.optimizer == "muon" else []
        self.adam = _adamw(self.weights, set() if self.muon else set(matrices), config)

    def step(self, scale: float) -> float:
        """Take one step at `scale` times the configured learning rates, and clear the gradients.

        Returns the norm of the gradient before clipping. A gradient that is not finite changes nothing and is counted
        in `skipped`; raises StageError at the third in a row.
        """
        gradients = {name: parameter.grad for name, parameter in self.parameters.items() if parameter.grad is not None}
        norm = float(torch.stack(torch._foreach_norm(list(gradients.values()), 2, torch.float32)).norm())
        if math.isfinite(norm):
            self.skipped_in_a_row = 0
            self._update(gradients, scale, min(1.0, self.config.clip / (norm + 1e-6)))
        else:
            self.skipped += 1
            self.skipped_in_a_row += 1
        for parameter in self.parameters.values():
            parameter.grad = None
        if self.skipped_in_a_row == MAX_SKIPPED:
            raise StageError(
                f"the gradient was infinite or NaN {MAX_SKIPPED} times in a row; lower the learning rates of pretrain"
            )
        return norm

    def state(self) -> dict[str, Tensor]:
        """Momenta and moments by name; they share memory with the optimizer."""
        state = {f"muon.{index}": group.momentum for index, group in enumerate(self.muon)}
        for name, weight in self.weights.items():
            state |= {f"adamw.{key}.{name}": value for key, value in self.adam.state.get(weight, {}).items()}
        return state

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Go on from the weights and the `state()` of an earlier run."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])
            self.parameters[name].copy_(weight)
            keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"adamw.{key}.{name}" in state]
            self.adam.state[weight] = {key: state[f"adamw.{key}.{name}"].to(weight.device) for key in keys}
        for index, group in enumerate(self.muon):
            group.momentum.copy_(state[f"muon.{index}"])

    @torch.no_grad()
    def _update(self, gradients: dict[str, Tensor], scale: float, clip: float) -> None:
        for group in self.muon:
            self._muon(group, gradients, self.config.peak_learning_rate * scale, clip)
        for settings in self.adam.param_groups:
            settings["lr"] = settings["peak"] * scale
            for name, weight in zip(settings["names"], settings["params"], strict=True):
                weight.grad = gradients[name].float() * clip
        self.adam.step()
        self.adam.zero_grad()
        torch._foreach_copy_(list(self.parameters.values()), list(self.weights.values()))

    def _muon(self, group: MuonGroup, gradients: dict[str, Tensor], rate: float, clip: float) -> None:
        gradient = torch.stack([gradients[name][start:end] for name, start, end in group.slices]).float().mul_(clip)
        group.momentum.lerp_(gradient, 1 - MUON_MOMENTUM)
        compute = self.parameters["embedding.weight"].dtype
        update = orthogonalise(gradient.lerp_(group.momentum, MUON_MOMENTUM), compute).float()
        size = rate * max(1.0, update.shape[1] / update.shape[2]) ** 0.5
        for (name, start, end), change in zip(group.slices, update, strict=True):
            weight = self.weights[name][start:end]
            if self.config.weight_decay:
                weight.mul_(1 - rate * self.config.weight_decay)
            weight.sub_(change, alpha=size)


def orthogonalise(matrices: Tensor, dtype: torch.dtype = torch.float32, steps: int = 5) -> Tensor:
    """Push all singular values of each of `[count, rows, columns]` towards 1 (they end between about 0.7 and 1.2).

    The quintic iteration and its coefficients are Jordan's; it needs no more than bf16.
    """
    a, b, c = NEWTON_SCHULZ
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _muon_groups(matrices: dict[str, Tensor]) -> list[MuonGroup]:
    by_shape: dict[tuple[int, int], list[tuple[str, int, int]]] = {}
    for name, matrix in matrices.items():
        # Fused matrices are several side by side, and each has to become orthogonal on its own.
        parts = 3 if "query_key_value" in name else 2 if "gate_up" in name else 1
        rows = matrix.shape[0] // parts
        slices = [(name, part * rows, (part + 1) * rows) for part in range(parts)]
        by_shape.setdefault((rows, matrix.shape[1]), []).extend(slices)
    device = next(iter(matrices.values())).device
    return [MuonGroup(slices, torch.zeros(len(slices), *shape, device=device)) for shape, slices in by_shape.items()]


def _adamw(weights: dict[str, Tensor], matrices: set[str], config: Pretrain) -> torch.optim.AdamW:
    """AdamW for what Muon does not train: embedding, gains, and with `matrices` also those. Only matrices decay."""
    gains = {name for name, weight in weights.items() if weight.ndim == 1}
    rates = [
        (["embedding.weight"], config.embedding_learning_rate, 0.0),
        (sorted(gains - {"norm.weight"}), config.norm_learning_rate, 0.0),
        (["norm.weight"], config.norm_learning_rate * FINAL_GAIN, 0.0),  # in proportion to where it starts
        (sorted(matrices), config.peak_learning_rate, config.weight_decay),
    ]
    groups = [
        {"params": [weights[name] for name in names], "names": names, "lr": rate, "peak": rate, "weight_decay": decay}
        for names, rate, decay in rates
        if names
    ]
    return torch.optim.AdamW(groups, betas=ADAM_BETAS[config.optimizer], eps=ADAM_EPSILON, fused=True)
