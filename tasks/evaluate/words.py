"""Sentences of words as a model's tokens: where each word is read, and windows that a model can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.core.stage import Progress
from tasks.evaluate.model import BATCH_TOKENS, boundaries, context_length, is_masked, last_hidden_states, padded_batches


@dataclass(frozen=True)
class Window:
    """Tokens from the begin mark on, and the words in them: their numbers in the sentence, and the token where each is read."""

    sentence: int
    ids: list[int]
    words: list[int]
    places: list[int]


def windows(sentences: Sequence[Sequence[str]], tokenizer: Any, model: Any) -> list[Window]:
    """All words of all sentences, in windows of the model's context; a sentence that is too long is cut between words.

    A masked model is read at a word's first token (Devlin et al. 2019, arXiv 1810.04805, 5.3), a causal one at its last, where
    it has read the word. A word of which the tokenizer makes nothing is in no window; one too long for any is cut.
    """
    begin, _ = boundaries(tokenizer)
    room, masked = context_length(model) - 1, is_masked(model)
    found = []
    for number, (ids, spans) in enumerate(_encoded(sentences, tokenizer)):
        start = 0
        while start < len(spans):
            first, last = spans[start][1], start
            while last + 1 < len(spans) and spans[last + 1][2] - first <= room:
                last += 1
            inside = spans[start : last + 1]
            end = min(inside[-1][2], first + room)
            places = [1 + min((low if masked else high - 1), end - 1) - first for _, low, high in inside]
            found.append(Window(number, [begin, *ids[first:end]], [word for word, _, _ in inside], places))
            start = last + 1
    return found


def word_states(model: Any, read: Sequence[Window], progress: Progress) -> np.ndarray:
    """The last hidden state at the place of each word, `[words, width]`, in the order of the windows and of their words."""
    import torch

    states: list[np.ndarray] = [np.zeros((0, model.config.hidden_size), np.float32)] * len(read)
    done = 0
    with torch.inference_mode():
        for chosen, ids in padded_batches([window.ids for window in read], BATCH_TOKENS, model.device):
            lengths = [len(read[index].ids) for index in chosen]
            hidden = last_hidden_states(model, ids, lengths).float()
            for row, index in enumerate(chosen):
                states[index] = hidden[row, read[index].places].cpu().numpy()
            done += len(chosen)
            progress(done, len(read), "sentences")
    return np.concatenate(states) if states else np.zeros((0, model.config.hidden_size), np.float32)


def _encoded(sentences: Sequence[Sequence[str]], tokenizer: Any) -> list[tuple[list[int], list[tuple[int, int, int]]]]:
    """Tokens of each sentence, and for each word that has any its number, its first token, and the one after its last."""
    texts = [" ".join(words) for words in sentences]
    if not texts:
        return []
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [
        (ids, _spans(words, offsets))
        for words, ids, offsets in zip(sentences, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def _spans(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Tokens that hold a character of each word; one that holds two words is counted for the first of them alone."""
    found, token, start = [], 0, 0
    for number, word in enumerate(words):
        end = start + len(word)
        while token < len(offsets) and offsets[token][1] <= start:
            token += 1
        first = token
        while token < len(offsets) and offsets[token][0] < end:
            token += 1
        if token > first:
            found.append((number, first, token))
        start = end + 1
    return found
