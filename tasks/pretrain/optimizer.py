"""One optimizer for a model's matrices, one for the rest, and fp32 weights whatever the model computes in.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) is Nesterov momentum whose update is made orthogonal by
a Newton-Schulz iteration. It runs on all matrices of one shape at a time: one by one, small matrices cost four times as much on
a CPU. It trains matrices inside the network; embeddings, gains and biases are AdamW's. With adamw, lion or lamb one rule
trains everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lang_configs.training import Pretrain
from tasks.pretrain.lamb import Lamb
from tasks.pretrain.lion import Lion
from tasks.pretrain.machine.parallel import Ranks
from tasks.pretrain.models.base import FINAL_GAIN, LanguageModel

MUON_MOMENTUM = 0.95
POLAR_EXPRESS = (
    (8.3007, -24.0376, 17.4662),
    (4.0034, -2.9228, 0.5419),
    (3.4709, -2.5494, 0.5002),
    (2.4901, -1.8343, 0.4368),
)
"""Coefficients of x, x^3 and x^5 in each iteration: the polynomial that comes nearest to 1 on the interval where the one before
left the singular values, beginning with those from 0.003 to 1 (Polar Express, arXiv 2505.16932, with its margin of 1 % for
rounding). Four such iterations do what five of Jordan's do.
"""
ADAM_EPSILON = 1e-10
GAIN_RATE, UNIT_GAIN_RATE = 0.003, 0.03
"""Learning rate of gains and biases, and what it is where the stream starts at unit size (measured: .01 and .06 are worse)."""
UNIT_RATE = 50
"""How much faster unit-size embeddings are learned by AdamW than matrices, whose entries are that much smaller (measured)."""


@dataclass
class MuonGroup:
    """Matrices of one shape: rows `start:end` of named weights, and their momentum `[count, rows, columns]`."""

    slices: list[tuple[str, int, int]]
    momentum: Tensor

    def matrices(self) -> Iterator[tuple[tuple[str, int, int], Tensor]]:
        """Every matrix by the weight and the rows that it is, with its momentum."""
        return zip(self.slices, self.momentum, strict=True)


class Optimizer:
    """Updates a model from its gradients.

    The model may hold bf16 weights: `self.weights` in fp32 are the truth, and are copied to it after each step; gradients are
    summed over micro-batches in fp32, too. With `pretrain.average`, `self.average` follows the weights (EMA). Of several
    processes, each holds both only of what it owns.
    """

    def __init__(self, model: LanguageModel, config: Pretrain, ranks: Ranks | None = None) -> None:
        self.config, self.ranks = config, ranks or Ranks()
        self.parameters = dict(model.named_parameters())
        for parameter in self.parameters.values():  # in bf16, what a micro-batch adds to a sum of many would be rounded away
            parameter.grad_dtype = torch.float32
        self.owners = self.ranks.partition({name: parameter.numel() for name, parameter in self.parameters.items()})
        own = {name: parameter for name, parameter in self.parameters.items() if self.owners[name] == self.ranks.rank}
        self.weights = {name: parameter.detach().float().clone() for name, parameter in own.items()}
        self.average = {name: weight.clone() for name, weight in self.weights.items()} if config.average else {}
        kinds = {name: _kind(name, weight) for name, weight in self.weights.items()}
        matrices = [name for name, kind in kinds.items() if kind == "matrix"]
        muon = config.optimizer == "muon"
        self.muon = list(_muon_groups(model, self.weights, matrices)) if muon else []
        groups = _groups(model, config, self.weights, kinds, without_matrices=muon)
        self.rule = _rule(config, groups) if groups else None

    def gradient_norm(self, loss_scale: float = 1.0) -> float:
        """Norm of the whole gradient before clipping, that of a loss times `loss_scale`; infinite or NaN if any of it is."""
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        return float(torch.stack(torch._foreach_norm(gradients)).norm()) / loss_scale

    def step(self, scale: float, norm: float, loss_scale: float = 1.0) -> None:
        """Take one step at `scale` times the configured learning rates, with gradients of this `norm`, and clear them."""
        gradients = {name: parameter.grad for name, parameter in self.parameters.items() if parameter.grad is not None}
        self._update(gradients, scale, min(1.0, self.config.clip / (norm + 1e-6)) / loss_scale)
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def final_weights(self) -> dict[str, Tensor]:
        """The weights to be used: the latest ones, or their moving average."""
        return self.average or self.weights

    @torch.no_grad()
    def copy_to_model(self, weights: dict[str, Tensor]) -> None:
        """Let the model compute with these weights, in every process, until the next step."""
        torch._foreach_copy_([self.parameters[name] for name in weights], list(weights.values()))
        self.ranks.broadcast(self.parameters, self.owners)

    def state(self) -> dict[str, Tensor]:
        """Momenta, moments and the average by name, of what this process owns; they share memory with the optimizer."""
        state = {f"muon.{start}.{name}": value for group in self.muon for (name, start, _), value in group.matrices()}
        state |= {f"average.{name}": weight for name, weight in self.average.items()}
        of_weights = self.rule.state if self.rule else {}
        for name, weight in self.weights.items():
            state |= {f"rule.{key}.{name}": value for key, value in of_weights.get(weight, {}).items()}
        return state

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Go on from the weights and the states of all processes of an earlier run, which may have been more or fewer."""
        for name, weight in self.weights.items():
            weight.copy_(weights[name])
        self.copy_to_model(self.weights)
        for group in self.muon:
            for (name, start, _), momentum in group.matrices():
                momentum.copy_(state[f"muon.{start}.{name}"])
        for name, average in self.average.items():
            average.copy_(state[f"average.{name}"])
        for full_name, value in state.items():
            kind, key, name = full_name.split(".", 2)
            if kind == "rule" and self.rule and name in self.weights:
                weight = self.weights[name]
                self.rule.state[weight][key] = value.to(weight.device)

    @torch.no_grad()
    def _update(self, gradients: dict[str, Tensor], scale: float, clip: float) -> None:
        for group in self.muon:
            self._muon(group, gradients, self.config.peak_learning_rate * scale, clip)
        if self.rule:
            for settings in self.rule.param_groups:
                settings["lr"] = settings["peak"] * scale
                for name, weight in zip(settings["names"], settings["params"], strict=True):
                    weight.grad = gradients[name] * clip
            self.rule.step()
            self.rule.zero_grad()
        self.copy_to_model(self.weights)
        if self.config.average:
            torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - self.config.average)

    def _muon(self, group: MuonGroup, gradients: dict[str, Tensor], rate: float, clip: float) -> None:
        gradient = torch.stack([gradients[name][start:end] for name, start, end in group.slices]).mul_(clip)
        group.momentum.lerp_(gradient, 1 - MUON_MOMENTUM)
        compute = self.parameters[group.slices[0][0]].dtype
        update = orthogonalise(gradient.lerp_(group.momentum, MUON_MOMENTUM), compute).float()
        size = rate * max(1.0, update.shape[1] / update.shape[2]) ** 0.5
        for (name, start, end), change in zip(group.slices, update, strict=True):
            weight = self.weights[name][start:end]
            if self.config.weight_decay:
                weight.mul_(1 - rate * self.config.weight_decay)
            weight.sub_(change, alpha=size)


def orthogonalise(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Push the singular values of each of `[count, rows, columns]` towards 1: all but the smallest end between 0.75 and 1.25.

    The quintic Newton-Schulz iteration needs no more than bf16.
    """
    x = (matrices / (1.02 * matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _kind(name: str, weight: Tensor) -> str:
    if weight.ndim < 2:
        return "gain"
    if name.startswith("blocks.") or name == "head.dense.weight":
        return "matrix"
    return "output" if name == "output.weight" else "embedding"


def _muon_groups(model: nn.Module, weights: dict[str, Tensor], matrices: list[str]) -> Iterator[MuonGroup]:
    by_shape: dict[tuple[int, int], list[tuple[str, int, int]]] = {}
    for name in matrices:
        # Fused matrices are several side by side, and each has to become orthogonal on its own.
        start = 0
        for rows in getattr(model.get_submodule(name.rpartition(".")[0]), "sizes", (len(weights[name]),)):
            by_shape.setdefault((rows, weights[name].shape[1]), []).append((name, start, start + rows))
            start += rows
    device = next(model.parameters()).device
    for shape, slices in by_shape.items():
        yield MuonGroup(slices, torch.zeros(len(slices), *shape, device=device))


def _groups(
    model: LanguageModel, config: Pretrain, weights: dict[str, Tensor], kinds: dict[str, str], without_matrices: bool
) -> list[dict[str, Any]]:
    """Learning rates and weight decay by kind of weight. Only matrices decay."""
    rate = config.peak_learning_rate
    usual = Pretrain(optimizer="adamw").peak_learning_rate if config.optimizer == "muon" else rate
    unit = UNIT_RATE if config.initialisation == "unit" and config.optimizer != "lamb" else 1  # LAMB's steps are relative
    fast = config.initialisation == "unit" and config.optimizer in ("muon", "adamw")
    gains = config.norm_learning_rate or (UNIT_GAIN_RATE if fast else GAIN_RATE)
    small = FINAL_GAIN if model.last_gain else 1.0  # in proportion to where it starts
    wanted = [
        ([name for name, kind in kinds.items() if kind == "embedding"], config.embedding_learning_rate or unit * usual, 0.0),
        ([name for name, kind in kinds.items() if kind == "output"], usual, 0.0),
        ([name for name, kind in kinds.items() if kind == "gain" and name != model.last_gain], gains, 0.0),
        ([model.last_gain] if model.last_gain in kinds else [], gains * small, 0.0),
        ([] if without_matrices else [n for n, kind in kinds.items() if kind == "matrix"], rate, config.weight_decay),
    ]
    return [
        {"params": [weights[name] for name in names], "names": names, "lr": peak, "peak": peak, "weight_decay": decay}
        for names, peak, decay in wanted
        if names
    ]


def _rule(config: Pretrain, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    match config.optimizer:
        case "lion":
            return Lion(groups)
        case "lamb":
            return Lamb(groups)
        case _:
            betas = (0.8, 0.95) if config.optimizer == "muon" else (0.9, 0.95)
            return torch.optim.AdamW(groups, betas=betas, eps=ADAM_EPSILON, fused=True)
