"""Lion: the sign of an interpolated momentum (Chen et al. 2023, arXiv 2302.06675)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BETAS = (0.95, 0.98)
"""The paper's for language models."""


class Lion(torch.optim.Optimizer):
    """All weights of a group in one pass; each step is of size `lr` in every entry, so `lr` is to be a tenth of AdamW's."""

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = BETAS, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            weights: list[Tensor] = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients: list[Tensor] = [weight.grad for weight in weights]  # type: ignore[misc]
            for weight in weights:
                self.state[weight].setdefault("exp_avg", torch.zeros_like(weight))
            momenta = [self.state[weight]["exp_avg"] for weight in weights]
            mix, keep = group["betas"]
            signs = torch._foreach_lerp(gradients, momenta, mix)
            torch._foreach_sign_(signs)
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, signs, alpha=-group["lr"])
            torch._foreach_lerp_(momenta, gradients, 1 - keep)
