"""Both ways of training in two processes take the same steps, so that their times can be compared."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parallel import measure, random_tokens

from lang_configs.training import Pretrain

MODEL = {"layers": 1, "width": 32, "heads": 2, "context": 32}


@pytest.mark.slow
def test_stock_processes_take_our_steps(tmp_path: Path) -> None:
    changes = {"model": MODEL, "optimizer": "adamw", "precision": "fp32", "half_context": 0, "batch_tokens": 256}
    config, tokens = Pretrain.model_validate(changes), random_tokens(tmp_path)
    for system in ("ours", "stock"):
        one, other = measure(system, config, 3, tokens, tmp_path / system)
        assert one.digest == other.digest
        assert min(one.seconds, one.memory) > 0
    ours, stock = (torch.load(tmp_path / system / "weights.pt") for system in ("ours", "stock"))
    for name, weight in ours.items():
        torch.testing.assert_close(weight, stock[name], atol=1e-6, rtol=1e-5, msg=name)
