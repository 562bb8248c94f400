"""Text that the model writes: samples for the cards, and a stream of pieces for a person who waits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.core.errors import StageError
from tasks.evaluate.model import is_masked, load_model, load_tokenizer, window

BYTE = re.compile("<0x[0-9A-F]{2}>")

TOP_P = 0.95
"""Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751)."""


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    max_tokens: int = 80,
    temperature: float = 0.8,
    top_p: float = TOP_P,
    seed: int = 1,
) -> list[str]:
    """The continuation of each prompt by `transformers` generate, up to EOS, `max_tokens` or the end of the model's window.

    At a temperature of 0 every token is the likeliest one.

    The seed is set for each prompt: the same model and prompt give the same text, whatever other prompts there are.
    """
    import torch

    texts = []
    sampling = {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}
    for prompt in prompts:
        ids, room = _prompt_ids(model, tokenizer, prompt, max_tokens)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            whole = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=temperature > 0,
                **sampling,
                max_new_tokens=room,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id,
            )
        texts.append(_text_after(tokenizer, ids[0].tolist(), whole[0, ids.shape[1] :].tolist()))
    return texts


def stream(
    model_folder: Path,
    tokenizer_folder: Path,
    prompt: str,
    max_tokens: int = 80,
    temperature: float = 0.8,
    top_p: float = TOP_P,
    seed: int = 1,
) -> Iterator[str]:
    """The text of `generate`, piece by piece as the model writes it.

    Raises StageError, before the first piece, when a folder cannot be read or its model is masked and continues no text.
    """
    model, tokenizer = load_model(model_folder), load_tokenizer(tokenizer_folder)
    if is_masked(model):
        raise StageError(
            f"{model_folder}: a masked model, which fills gaps and continues no text; ask it with "
            f"`transformers.pipeline('fill-mask', FOLDER)`, or build a causal one (pretrain.model.family=qwen3)"
        )
    ids, room = _prompt_ids(model, tokenizer, prompt, max_tokens)
    return _pieces(model, tokenizer, ids, room, temperature, top_p, seed)


def _pieces(model: Any, tokenizer: Any, ids: Any, room: int, temperature: float, top_p: float, seed: int) -> Iterator[str]:
    import torch
    from transformers import DynamicCache, TemperatureLogitsWarper, TopPLogitsWarper

    draw = torch.Generator(model.device).manual_seed(seed)
    warpers = [TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)] if temperature else []
    cache, given, written, shown = DynamicCache(config=model.config), ids[0].tolist(), [], ""
    for _ in range(room):
        with torch.inference_mode():
            scores = model(ids, past_key_values=cache, use_cache=True).logits[:, -1].float()
            for warp in warpers:
                scores = warp(ids, scores)
            likeliest = scores.argmax(-1, keepdim=True)
            ids = torch.multinomial(scores.softmax(-1), 1, generator=draw) if temperature else likeliest
        if ids.item() == tokenizer.eos_token_id:
            break
        written.append(int(ids.item()))
        text = _text_after(tokenizer, given, written)
        if not _within_character(tokenizer, written[-1], text):
            yield text[len(shown) :]
            shown = text
    if rest := _text_after(tokenizer, given, written)[len(shown) :]:
        yield rest


def _prompt_ids(model: Any, tokenizer: Any, prompt: str, max_tokens: int) -> tuple[Any, int]:
    """Ids `[1, length]` of BOS and the prompt, and how many tokens may follow."""
    import torch

    ids = [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]]
    room = min(max_tokens, window(model) - len(ids))
    if room < 1:
        raise StageError(f"the prompt has {len(ids)} tokens and the model's window {window(model)}; give a shorter prompt")
    return torch.tensor([ids], device=model.device), room


def _within_character(tokenizer: Any, token: int, text: str) -> bool:
    """Whether later tokens may still change the end of `text`: a character's bytes, and a run of byte pieces, come in parts."""
    return text.endswith("\ufffd") or bool(BYTE.fullmatch(tokenizer.convert_ids_to_tokens(token)))


def _text_after(tokenizer: Any, given: list[int], written: list[int]) -> str:
    """The text of `written`; decoded together with the prompt, because alone it would lose the space between the two."""
    start = tokenizer.decode(given, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    whole = tokenizer.decode(given + written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(whole[len(start) :])
