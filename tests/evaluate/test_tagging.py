"""Tags of words: windows that lose no word, scores that are seqeval's, and a probe beside its floors."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score, f1_score
from seqeval.scheme import IOB2

from lang_configs.evaluation import EvaluationSet
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.evaluate import TaskConfig, task
from tasks.evaluate.model import load_model, load_tokenizer
from tasks.evaluate.tasks import tagging
from tasks.evaluate.words import windows, word_states
from tasks.evaluation_sets import EvaluationData, Item
from tests.evaluate.stock_models import save
from tests.evaluate.tiny_world import CONTEXT, FARMING, SPORT, World, make_masked_model, paragraph

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def quiet(*_: object) -> None:
    pass


def items(sentences: list[list[str]]) -> list[Item]:
    return [Item(str(number), " ".join("w" for _ in tags), labels=tuple(tags)) for number, tags in enumerate(sentences)]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=9), min_size=1, max_size=6)
)
def test_scores_are_those_of_seqeval_in_its_strict_mode(pairs: list[list[tuple[str, str]]]) -> None:
    true, guessed = ([[pair[side] for pair in sentence] for sentence in pairs] for side in (0, 1))
    found = tagging.compute(tagging.statistics(items(true), guessed).sum(0))
    assert found["accuracy"] == pytest.approx(accuracy_score(true, guessed))
    if any(tag.startswith("B-") for sentence in true for tag in sentence):
        assert found["span_f1"] == pytest.approx(f1_score(true, guessed, mode="strict", scheme=IOB2, zero_division=0))
    else:
        assert np.isnan(found["span_f1"])


WORD = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Mn", "Nd", "Po"]), min_size=1, max_size=12)


@given(st.lists(st.lists(WORD, min_size=1, max_size=60), min_size=1, max_size=4))
def test_every_word_is_in_one_window_that_fits(world: World, sentences: list[list[str]]) -> None:
    read = windows(sentences, world.tokenizer, world.model)
    assert [(one.sentence, word) for one in read for word in one.words] == [
        (number, word) for number, sentence in enumerate(sentences) for word in range(len(sentence))
    ]
    for one in read:
        assert len(one.ids) <= CONTEXT
        assert one.places == sorted(one.places) and one.places[0] >= 1 and one.places[-1] < len(one.ids)


@pytest.mark.parametrize("kind", ["ours", "gpt2", "bert", "roberta"])
def test_a_word_is_read_at_its_own_tokens(world: World, kind: str, tmp_path: Path) -> None:
    sentence = ["Rais", "wa", "Ng'ombe,", "alisema", "2,500", "leo."]
    tokenizer, model = world.tokenizer, world.model
    if kind != "ours":
        folder = save(kind, tmp_path / kind, [" ".join(sentence), "mama na baba"])
        tokenizer, model = load_tokenizer(folder), load_model(folder)
    [window] = windows([sentence], tokenizer, model)
    ends = [place + 1 for place in window.places] if kind in ("ours", "gpt2") else [*window.places[1:], len(window.ids)]
    starts = [1, *ends[:-1]]
    pieces = [tokenizer.decode(window.ids[start:end]) for start, end in zip(starts, ends, strict=True)]
    assert ["".join(piece.split()) for piece in pieces] == sentence


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_states_do_not_depend_on_what_is_in_the_batch(world: World, kind: str) -> None:
    model = world.model if kind == "causal" else make_masked_model("bert", len(world.tokenizer))
    draw = random.Random(2)
    sentences = [[draw.choice(SPORT) for _ in range(length)] for length in (3, 40, 11)]
    read = windows(sentences, world.tokenizer, model)
    together = word_states(model, read, quiet)
    alone = np.concatenate([word_states(model, [one], quiet) for one in read])
    assert together.shape == (54, 32)
    assert np.allclose(together, alone, atol=1e-5)
    with torch.inference_mode():
        first = model.base_model(torch.tensor([read[0].ids])).last_hidden_state[0, read[0].places]
    assert np.allclose(together[: len(read[0].words)], first.numpy(), atol=1e-5)


def conll(folder: Path, split: str, number: int, draw: random.Random) -> None:
    """Sentences in which names of sports are places and those of farming are persons of two words."""
    lines = []
    for _ in range(number):
        for word in paragraph(draw.choice([SPORT, FARMING]), draw).split()[:8]:
            tag = "B-LOC" if word in SPORT[:5] else "B-PER" if word in FARMING[:5] else "O"
            lines.append(f"{word} {tag}")
        lines.append("")
    (folder / f"{split}.txt").write_text("\n".join(lines))


def test_a_probe_stands_beside_its_floors(world: World, tmp_path: Path) -> None:
    draw = random.Random(4)
    for split, number in (("train", 80), ("test", 30)):
        conll(tmp_path, split, number, draw)
    entry = EvaluationSet(name="names", task="tagging", format="conll", files={"train": "train.txt", "test": "test.txt"})
    config = TaskConfig(data=EvaluationData(sets=[entry], folder=tmp_path), seeds=2, bootstrap=100)
    results = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        results.append(task(world.inputs, config, tmp_path / str(number), Work()))
    assert results[0] == results[1]
    values = {(score["system"], score["metric"]): score for score in results[0]["scores"]}
    assert {system for system, _ in values} == {"model", "frequent-tag", "random-init"}
    assert values["frequent-tag", "span_f1"]["value"] > 0.95  # a word has one tag here
    assert values["model", "span_f1"]["n"] == 30 and values["random-init", "span_f1"]["seeds"] == 2


def test_tags_without_spans_have_no_span_f1(world: World, tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.txt").write_text("mama NOUN\nna CCONJ\nbaba NOUN\n\nleo ADV\nalisema VERB\n\n" * 15)
    entry = EvaluationSet(
        name="parts", task="tagging", format="conll", files={split: f"{split}.txt" for split in ("train", "dev", "test")}
    )
    config = TaskConfig(data=EvaluationData(sets=[entry], folder=tmp_path), seeds=2, bootstrap=100)
    metrics = task(world.inputs, config, tmp_path, Work())
    assert {score["metric"] for score in metrics["scores"]} == {"accuracy"}


def test_a_sentence_with_too_few_tags_is_named(tmp_path: Path) -> None:
    entry = EvaluationSet(name="names", task="tagging", format="jsonl", files={"train": "a.jsonl", "test": "a.jsonl"})
    (tmp_path / "a.jsonl").write_text('{"text": "Rais wa nchi", "label": "O"}\n')
    data: Any = EvaluationData(sets=[entry], folder=tmp_path)
    with pytest.raises(StageError, match="names/train/0 has 3 words and 0 tags; tagging needs one for each word: check"):
        tagging.examples(entry, data, None)
