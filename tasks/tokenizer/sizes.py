"""Which size of vocabulary a model should have, decided by measurement.

More pieces make fewer tokens of a text, and each token dearer: its scores are one product with an embedding of every piece.
Training costs 6 floating-point operations for each parameter and token (Kaplan et al. 2020, arXiv:2001.08361), so a byte of
text costs 6 x parameters / bytes per token, both of which are known before any model is trained. (An embedding that is not
the output matrix too is looked up, not multiplied with, and does not count.) The size with the least is taken: for the same
computation its model reads most text. (Tao et al. 2024, Scaling Laws with Vocabulary, arXiv:2407.13623, weigh the same two
sides, and find as here that larger models deserve larger vocabularies.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lang_configs.training import Model, Tokenizer

FLOPS = 6
"""Floating-point operations of training for each parameter and token: 2 forward, 4 backward."""


class TokenizerForModel(Tokenizer):
    """A tokenizer whose size is to be chosen for a model."""

    model: Model


def costs(model: Model, pieces: int, bytes_per_token: float) -> dict[str, Any]:
    """Parameters of a model with so many pieces, embedding and output as a share of them, training FLOPs for a byte of text."""
    import torch

    from tasks.pretrain.models import build, shape_of

    with torch.device("meta"):  # shapes alone
        empty = build(shape_of(model, pieces))
    parameters = sum(weight.numel() for weight in empty.parameters())
    return {
        "parameters": parameters,
        "embedding_share": pieces * model.width * (1 if empty.shape.tied else 2) / parameters,
        "flops_per_byte": FLOPS * empty.matmul_parameters / bytes_per_token,
    }


def cheapest(rows: Sequence[dict[str, Any]]) -> int:
    """Which row has the least `flops_per_byte`; of equal ones the first."""
    return min(range(len(rows)), key=lambda i: rows[i]["flops_per_byte"])
