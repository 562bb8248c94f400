"""LAMB: Adam's step, for each matrix as large as `lr` times the matrix (You et al. 2020, arXiv 1904.00962)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BETAS = (0.9, 0.95)
EPSILON = 1e-6


class Lamb(torch.optim.Optimizer):
    """All weights of a group in one pass. A weight whose norm is zero takes a step of Adam's own size.

    The moments are not corrected for their bias: it scales them, and the length of a step is that of the weight anyway.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, betas: tuple[float, float] = BETAS, eps: float = EPSILON, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        for group in self.param_groups:
            weights: list[Tensor] = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients: list[Tensor] = [weight.grad for weight in weights]  # type: ignore[misc]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight].update(exp_avg=torch.zeros_like(weight), exp_avg_sq=torch.zeros_like(weight))
            states = [self.state[weight] for weight in weights]
            first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
            beta1, beta2 = group["betas"]
            torch._foreach_lerp_(first, gradients, 1 - beta1)
            torch._foreach_mul_(second, beta2)
            torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
            sizes = torch._foreach_sqrt(second)
            torch._foreach_add_(sizes, group["eps"])
            updates = torch._foreach_div(first, sizes)
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            for weight, update in zip(weights, updates, strict=True):
                norm, length = weight.norm(), update.norm()
                trust = torch.where((norm > 0) & (length > 0), norm / length, 1.0)
                weight.sub_(update * (trust * group["lr"]))
