import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.core.errors import StageError
from tasks.evaluate import masked
from tasks.evaluate.floors import random_initialised
from tasks.evaluate.held_out import TokenizedDocuments
from tasks.evaluate.masked import masked_prediction, pseudo_perplexity
from tasks.evaluate.model import is_masked, load_model
from tasks.evaluate.tasks.classification import embed
from tests.evaluate.tiny_world import CONTEXT, World, make_masked_model

FAMILIES = ("bert", "modernbert")


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, world: World) -> Any:
    return make_masked_model(request.param, len(world.tokenizer))


def one_at_a_time(model: Any, documents: TokenizedDocuments, mask: int) -> np.ndarray:
    """Sum of -ln p of each document's tokens: one forward pass of one window for each, without batches or padding."""
    sums = []
    for start, end in zip(documents.offsets[:-1], documents.offsets[1:], strict=True):
        ids, total = torch.from_numpy(np.asarray(documents.tokens[start:end], np.int64)), 0.0
        for place in range(1, len(ids) - 1):
            first = max(0, min(place - CONTEXT // 2, len(ids) - CONTEXT))
            read = ids[first : first + CONTEXT].clone()
            read[place - first] = mask
            with torch.inference_mode():
                scores = model(read[None]).logits[0, place - first].double()
            total -= scores.log_softmax(-1)[ids[place]].item()
        sums.append(total)
    return np.array(sums)


def test_equals_a_plain_reference(model: Any, world: World) -> None:
    whole = world.documents
    part = TokenizedDocuments(whole.tokens[: whole.offsets[2]], whole.offsets[:3], whole.bytes[:2])
    nats, tokens = one_at_a_time(model, part, world.tokenizer.mask_token_id).sum(), int(part.offsets[-1]) - 4
    found = pseudo_perplexity(model, part, world.tokenizer.mask_token_id, 200, quiet)[0]
    assert CONTEXT * 4 < tokens == found["pseudo_tokens"] < masked.SCORED
    assert found["pseudo_perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert found["pseudo_bits_per_byte"] == pytest.approx(nats / math.log(2) / part.bytes.sum(), rel=1e-4)
    for name in ("pseudo_perplexity", "pseudo_bits_per_byte"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]


def test_an_untrained_model_is_about_as_unsure_as_its_vocabulary_is_large_and_training_helps(world: World) -> None:
    model, mask = make_masked_model("modernbert", len(world.tokenizer)), world.tokenizer.mask_token_id
    documents = world.documents

    def measure() -> float:
        value: float = pseudo_perplexity(model, documents, mask, 100, quiet)[0]["pseudo_perplexity"]
        return value

    before = measure()
    assert 0.8 * len(world.tokenizer) < before < 1.5 * len(world.tokenizer)
    optimizer, draw = torch.optim.AdamW(model.parameters(), 3e-3), torch.Generator().manual_seed(1)
    ids = torch.from_numpy(np.asarray(documents.tokens[: len(documents.tokens) // CONTEXT * CONTEXT], np.int64))
    ids = ids.view(-1, CONTEXT)
    for _ in range(30):
        chosen = torch.rand(ids.shape, generator=draw) < 0.25
        model(ids.masked_fill(chosen, mask), labels=ids.masked_fill(~chosen, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert measure() < before / 3


def test_a_model_that_knows_nothing_is_lost_among_all_pieces(model: Any, world: World) -> None:
    blank = random_initialised(model, 1)
    with torch.no_grad():
        blank.get_input_embeddings().weight.zero_()
        blank.get_output_embeddings().bias.zero_()
    documents, mask = world.documents, world.tokenizer.mask_token_id
    found = pseudo_perplexity(blank, documents, mask, 100, quiet)[0]
    assert found["pseudo_perplexity"] == pytest.approx(len(world.tokenizer), rel=1e-5)
    assert masked_prediction(blank, documents, mask, 0.3, quiet)["masked_loss"] == pytest.approx(
        math.log(len(world.tokenizer)), rel=1e-5
    )


def test_a_sample_is_near_the_whole_and_bounds_the_cost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    model, mask = make_masked_model("bert", len(world.tokenizer)), world.tokenizer.mask_token_id
    documents = world.documents
    monkeypatch.setattr(masked, "SCORED", 10**9)
    whole = pseudo_perplexity(model, documents, mask, 100, quiet)[0]
    assert whole["pseudo_tokens"] == len(documents.tokens) - 2 * len(documents.bytes)
    monkeypatch.setattr(masked, "SCORED", 300)
    sample = pseudo_perplexity(model, documents, mask, 100, quiet)[0]
    assert sample["pseudo_tokens"] == 300
    assert sample["pseudo_perplexity"] == pytest.approx(whole["pseudo_perplexity"], rel=0.1)
    assert sample == pseudo_perplexity(model, documents, mask, 100, quiet)[0]


def test_as_many_tokens_are_masked_as_were_asked_for(model: Any, world: World) -> None:
    documents, mask = world.documents, world.tokenizer.mask_token_id
    found = masked_prediction(model, documents, mask, 0.25, quiet)
    tokens = len(documents.tokens) - 2 * len(documents.bytes)
    assert found["details"]["tokens"] == pytest.approx(tokens / 4, rel=0.05)
    assert 0 <= found["masked_accuracy"] < 0.1


def test_a_document_without_text_counts_for_nothing(model: Any, world: World) -> None:
    mask = world.tokenizer.mask_token_id
    documents = TokenizedDocuments(np.array([1, 2, 1, 7, 2]), np.array([0, 2, 5]), np.array([0, 3]))
    assert pseudo_perplexity(model, documents, mask, 100, quiet)[0]["pseudo_documents"] == 1
    with pytest.raises(StageError, match="no text"):
        pseudo_perplexity(model, TokenizedDocuments(np.array([1, 2]), np.array([0, 2]), np.array([0])), mask, 100, quiet)


def test_an_embedding_does_not_depend_on_padding(model: Any) -> None:
    draw = np.random.default_rng(3)
    sequences = [[1, *draw.integers(4, 300, length).tolist()] for length in (4, 1, 2 * CONTEXT + 3, CONTEXT, 9)]
    together = embed(model, sequences, quiet)
    alone = np.concatenate([embed(model, [ids], quiet) for ids in sequences])
    assert np.allclose(together, alone, atol=1e-5)
    assert not np.allclose(together[0], together[4], atol=1e-2)


def test_the_architecture_of_the_config_decides_what_is_loaded(model: Any, world: World, tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path))
    assert type(load_model(tmp_path)) is type(model)
    assert is_masked(load_model(tmp_path)) and not is_masked(load_model(world.inputs["pretrain"] / "model"))
    fresh = random_initialised(model, 2)
    assert type(fresh) is type(model)
    assert not torch.equal(fresh.get_input_embeddings().weight, model.get_input_embeddings().weight)
