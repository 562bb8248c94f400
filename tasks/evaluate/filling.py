"""What a masked model puts into gaps: samples for the cards."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks.core.stage import Metrics
from tasks.evaluate.model import context_length, mask_token

GUESSES = 5
SENTENCE = re.compile(r"(?<=[.!?…።؟।])\s+|\n")
WORDS = range(8, 31)
"""Words of a sentence that becomes a sample: enough to guess from, few enough for a line of a card."""


def gaps(texts: Iterable[str], tokenizer: Any) -> Iterator[tuple[str, str]]:
    """A sentence of each text with the mask in place of one word, and that word.

    It is the first sentence of 8 to 30 words with a word that is a single token, for a mask stands for one; of these words
    the longest, and not the sentence's first. `tokenizer` is one that finds the mask in text.
    """
    for text in texts:
        sentences = (" ".join(part.split()) for part in SENTENCE.split(text))
        gap = next((gap for part in sentences if len(part.split()) in WORDS and (gap := _gap(part, tokenizer))), None)
        if gap:
            yield gap


def fill(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[list[Metrics]]:
    """The likeliest tokens at the first mask of each text, each as `guess` and `probability`, as the pipeline fill-mask's."""
    import torch

    mask = mask_token(tokenizer)
    found: list[list[Metrics]] = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=context_length(model))["input_ids"]
        places = (ids[0] == mask).nonzero()
        if not len(places):  # beyond the model's context
            found.append([])
            continue
        with torch.inference_mode():
            probabilities = model(ids.to(model.device)).logits[0, places[0].item()].float().softmax(-1)
        best = probabilities.topk(GUESSES)
        found.append(
            [
                {"guess": _shown(tokenizer, token), "probability": probability}
                for token, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
        )
    return found


def _shown(tokenizer: Any, token: int) -> str:
    """A token as a reader sees it; one of white space by its piece, a newline escaped."""
    text: str = tokenizer.decode([token]).strip() or tokenizer.convert_ids_to_tokens(token)
    return text.replace("\n", "\\n")


def _gap(sentence: str, tokenizer: Any) -> tuple[str, str] | None:
    words = sorted(list(_words(sentence))[1:], key=lambda place: place[0] - place[1])
    whole = tokenizer(sentence)["input_ids"]
    for start, end in words:
        text = f"{sentence[:start]}{tokenizer.mask_token}{sentence[end:]}"
        ids = tokenizer(text)["input_ids"]
        if len(ids) == len(whole) and sum(a != b for a, b in zip(ids, whole, strict=True)) == 1:
            return text, sentence[start:end]
    return None


def _words(sentence: str) -> Iterator[tuple[int, int]]:
    """Where the words of letters begin and end, without the punctuation around them."""
    for match in re.finditer(r"\S+", sentence):
        start, end = match.span()
        while start < end and unicodedata.category(sentence[end - 1]).startswith("P"):
            end -= 1
        if any(character.isalpha() for character in sentence[start:end]) and sentence[start].isalpha():
            yield start, end
