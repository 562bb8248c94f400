"""Text that a causal model writes: samples for the cards, and words as they come for a person who waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.errors import StageError
from tasks.evaluate.model import boundaries, context_length, is_masked, load_model, load_tokenizer

TOP_P = 0.95
"""Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751)."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; at a temperature of 0 every token is the likeliest one."""

    max_tokens: int = 80
    temperature: float = 0.8
    top_p: float = TOP_P
    seed: int = 1


def generate(model: Any, tokenizer: Any, prompts: Sequence[str], sampling: Sampling) -> list[str]:
    """The continuation of each prompt by `transformers` generate, up to EOS, `max_tokens` or the end of the model's context.

    The seed is set for each prompt: the same model and prompt give the same text, whatever other prompts there are.
    Raises StageError for a prompt that fills the context.
    """
    return [_continue(model, tokenizer, prompt, sampling) for prompt in prompts]


def stream(model_folder: Path, tokenizer_folder: Path, prompt: str, sampling: Sampling, show: Callable[[str], object]) -> None:
    """Give `show` the prompt, then the text of `generate` word by word, as the model writes it.

    A language that puts no space between words is shown at its spaces and line ends. Raises StageError, before anything is
    shown, when a folder cannot be read or its model is masked and continues no text.
    """
    model, tokenizer = load_model(model_folder), load_tokenizer(tokenizer_folder)
    if is_masked(model):
        raise StageError(
            f"{model_folder}: a masked model, which fills gaps and continues no text; ask it with "
            f"`transformers.pipeline('fill-mask', FOLDER)`, or build a causal one (pretrain.model.family=qwen3)"
        )
    _continue(model, tokenizer, prompt, sampling, show)


def _continue(model: Any, tokenizer: Any, prompt: str, sampling: Sampling, show: Callable[[str], object] | None = None) -> str:
    import torch

    begin, end = boundaries(tokenizer)
    ids = [begin, *tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]]
    room = min(sampling.max_tokens, context_length(model) - len(ids))
    if room < 1:
        raise StageError(
            f"the prompt has {len(ids)} tokens and the model's context {context_length(model)}; give a shorter prompt"
        )
    if show:
        show(prompt)
    continuation = _Continuation(tokenizer, ids)
    given = torch.tensor([ids], device=model.device)
    warpers = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0} if sampling.temperature else {}
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(sampling.seed)
        whole = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            do_sample=sampling.temperature > 0,
            **warpers,
            max_length=len(ids) + room,  # the name that the model states its limit by: two of them would be warned of
            eos_token_id=end,
            pad_token_id=end,
            streamer=_streamer(continuation, show) if show else None,
        )
    return continuation.decode(whole[0, len(ids) :].tolist())


@dataclass(frozen=True)
class _Continuation:
    """Decodes tokens that follow the ids of a prompt: decoded alone they would lose the space between the two."""

    tokenizer: Any
    prompt: list[int]

    def decode(self, ids: list[int]) -> str:
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        start = self.tokenizer.decode(self.prompt, **options)
        return str(self.tokenizer.decode(self.prompt + ids, **options)[len(start) :])


def _streamer(continuation: Any, show: Callable[[str], object]) -> Any:
    """The streamer of transformers, which lets no word out before it is whole.

    Not its iterator: that one needs a thread for the model, in which an error hangs the reader and which Ctrl-C does not stop.
    """
    from transformers import TextStreamer

    class Words(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            if text:
                show(text)

    return Words(continuation, skip_prompt=True)
