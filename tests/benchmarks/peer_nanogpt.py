"""nanoGPT's model and recipe, in our words: https://github.com/karpathy/nanoGPT (for a CPU: fp32, not compiled)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training_peer import Clock, Job, cosine, finish, read_job
from transformers import GPT2Config, GPT2LMHeadModel

LAYERS, WIDTH, HEADS, CONTEXT, BATCH = 4, 256, 4, 256, 12
PEAK, LEAST = 1e-3, 0.1


class Block(nn.Module):
    """LayerNorm before each part, no biases, four times the width inside."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(WIDTH, 3 * WIDTH, bias=False), "c_proj": _out(WIDTH)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, 4 * WIDTH, bias=False), "c_proj": _out(4 * WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.attn["c_attn"](self.ln_1(x)).split(width, dim=2)
        query, key, value = (part.view(batch, length, HEADS, -1).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attn["c_proj"](mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class GPT(nn.Module):
    """Learned positions; one matrix for embedding and output. Its names are those of transformers' GPT-2."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab_size, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.h = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if name.endswith("c_proj.weight") else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


def _out(inputs: int) -> nn.Linear:
    return nn.Linear(inputs, WIDTH, bias=False)


def train(job: Job) -> tuple[GPT, Clock]:
    """Batches start anywhere in the token file; AdamW decays what has two dimensions."""
    torch.manual_seed(job.seed)
    clock = Clock(job)
    model = GPT(job.vocab_size)
    by_size = {two: [weight for weight in model.parameters() if (weight.ndim >= 2) == two] for two in (True, False)}
    groups = [{"params": by_size[True], "weight_decay": 0.1}, {"params": by_size[False], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99))
    forward = torch.compile(model) if job.compile else model
    while clock.used < 1:
        for group in optimizer.param_groups:
            group["lr"] = (job.rate or PEAK) * cosine(clock.used, LEAST)
        starts = torch.randint(len(job.stream) - CONTEXT, (BATCH,)).tolist()
        rows = torch.from_numpy(np.stack([job.stream[start : start + CONTEXT + 1] for start in starts]).astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16, enabled=job.bf16):
            loss = F.cross_entropy(forward(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.step_ended()
    return model, clock


def to_transformers(model: GPT) -> GPT2LMHeadModel:
    """The same function as a stock GPT-2, whose linear layers are stored transposed and have biases: here zero."""
    config = GPT2Config(
        vocab_size=model.wte.num_embeddings,
        n_positions=CONTEXT,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        activation_function="gelu",
        bos_token_id=1,
        eos_token_id=2,
    )
    stock = GPT2LMHeadModel(config)
    ours = model.state_dict()
    for name, weight in stock.transformer.named_parameters():
        source = ours.get(name)
        with torch.no_grad():
            if source is None:
                weight.zero_()
            else:
                weight.copy_(source.T if ".c_" in name else source)
    return stock.eval()


if __name__ == "__main__":
    job = read_job()
    model, clock = train(job)
    finish(job, clock, to_transformers(model), BATCH * CONTEXT)
