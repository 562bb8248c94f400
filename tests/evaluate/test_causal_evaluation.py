import math

import numpy as np
import pytest
import torch

from tasks.core.errors import StageError
from tasks.evaluate.causal import bits_per_byte
from tasks.evaluate.held_out import TokenizedDocuments
from tests.evaluate.tiny_world import CONTEXT, World, make_model


def quiet(*_: object) -> None:
    pass


def token_by_token(model, documents: TokenizedDocuments) -> np.ndarray:
    """Bits of each document, one forward pass for each token, without batches or padding."""
    bits = []
    for start, end in zip(documents.offsets[:-1], documents.offsets[1:], strict=True):
        ids = [int(token) for token in documents.tokens[start:end]]
        total = 0.0
        for position in range(1, len(ids) - 1):
            first = (position - 1) // CONTEXT * CONTEXT
            if first + CONTEXT >= len(ids) - 2:  # the last window reaches back as far as it can
                first = max(0, len(ids) - 2 - CONTEXT)
            with torch.inference_mode():
                scores = model(torch.tensor([ids[first:position]])).logits[0, -1].double()
            total -= (scores.log_softmax(-1)[ids[position]] / math.log(2)).item()
        bits.append(total)
    return np.array(bits)


def test_equals_a_plain_reference(world: World) -> None:
    whole = world.documents
    part = TokenizedDocuments(whole.tokens[: whole.offsets[2]], whole.offsets[:3], whole.bytes[:2])
    reference = token_by_token(world.model, part)
    metrics = bits_per_byte(world.model, part, 100, 200, quiet)[0]
    assert metrics["bits_per_byte"] == pytest.approx(reference.sum() / part.bytes.sum(), abs=1e-5)
    assert metrics["details"]["tokens"] == part.offsets[-1] - 4 > CONTEXT * 4
    assert metrics["perplexity_per_token"] == pytest.approx(2 ** (reference.sum() / metrics["details"]["tokens"]), rel=1e-4)
    assert metrics["perplexity_per_word"] == pytest.approx(2 ** (reference.sum() / 100), rel=1e-4)
    assert metrics["bits_per_byte_low"] <= metrics["bits_per_byte"] <= metrics["bits_per_byte_high"]


def test_a_model_that_knows_nothing_needs_log2_of_the_vocabulary(world: World) -> None:
    model = make_model(len(world.tokenizer))
    torch.nn.init.zeros_(model.get_input_embeddings().weight)
    documents = world.documents
    tokens = int(documents.offsets[-1]) - 2 * len(documents.bytes)
    expected = math.log2(len(world.tokenizer)) * tokens / int(documents.bytes.sum())
    assert bits_per_byte(model, documents, 1, 100, quiet)[0]["bits_per_byte"] == pytest.approx(expected, rel=1e-6)


def test_batch_size_does_not_matter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = world.documents
    large = bits_per_byte(world.model, documents, 1, 100, quiet)[0]["bits_per_byte"]
    monkeypatch.setattr("tasks.evaluate.causal.BATCH_TOKENS", 100)
    assert bits_per_byte(world.model, documents, 1, 100, quiet)[0]["bits_per_byte"] == pytest.approx(large, abs=1e-5)


def test_tokens_of_another_tokenizer_are_refused(world: World) -> None:
    with pytest.raises(StageError, match="vocabulary"):
        bits_per_byte(make_model(8), world.documents, 1, 100, quiet)[0]


def test_a_document_without_text_counts_for_nothing(world: World) -> None:
    documents = TokenizedDocuments(np.array([1, 2, 1, 7, 2]), np.array([0, 2, 5]), np.array([0, 3]))
    alone = TokenizedDocuments(np.array([1, 7, 2]), np.array([0, 3]), np.array([3]))
    values = [bits_per_byte(world.model, one, 1, 100, quiet)[0]["bits_per_byte"] for one in (documents, alone)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    with pytest.raises(StageError, match="no text"):
        bits_per_byte(world.model, TokenizedDocuments(np.array([1, 2]), np.array([0, 2]), np.array([0])), 1, 100, quiet)
