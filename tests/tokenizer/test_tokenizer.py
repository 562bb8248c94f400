from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from lang_configs.training import Tokenizer
from tasks.core.errors import StageError
from tasks.core.files import sha256
from tasks.core.stage import Work
from tasks.tokenizer import FIXED_PIECES, PASSAGE_CHARACTERS, passages, tokenizer
from tasks.tokenizer import train as train_model
from tasks.tokenizer.export import load
from tests import REPOSITORY
from tests.small_corpus import SENTENCES, documents, write_corpus, write_split

SMALL = Tokenizer(vocab_size=1024, bytes_per_piece=20)


def train(corpus: Path, out: Path, config: Tokenizer = SMALL) -> dict:
    out.mkdir()
    return tokenizer({"corpus": corpus}, config, out, Work())


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_trains_on_every_script_and_measures_the_test_text(tmp_path, language, kind):
    corpus = write_corpus(tmp_path / "corpus", language)
    metrics = train(corpus, tmp_path / "out", SMALL.model_copy(update={"type": kind}))
    assert sorted(files(tmp_path / "out")) == ["hf/tokenizer.json", "hf/tokenizer_config.json", "tokenizer.model"]
    assert metrics["exactness"] == {
        "lines": 20,
        "id_mismatches": metrics["exactness"]["equal_score_ties"],
        "equal_score_ties": metrics["exactness"]["equal_score_ties"],
        "round_trip_failures": 0,
    }
    texts = documents(language, 20, seed=3)  # the test split of `write_corpus`
    tokens = sum(len(ids) for ids in load(tmp_path / "out" / "tokenizer.model").encode(texts))
    assert metrics["fertility"] == pytest.approx(tokens / sum(len(text.split()) for text in texts))
    assert metrics["bytes_per_token"] == pytest.approx(sum(len(text.encode()) for text in texts) / tokens)
    assert 1 < metrics["fertility"] < 3
    assert metrics["byte_fallback"] < 0.01
    assert [row["source"] for row in metrics["sources"]] == ["blogu", "magazeti"]
    assert [row["documents"] for row in metrics["sources"]] == [10, 10]
    assert metrics["training_bytes"] > 10_000
    json.dumps(metrics)


def test_ids_of_fixed_pieces(tmp_path):
    train(write_corpus(tmp_path / "corpus", "swahili"), tmp_path / "out")
    model = load(tmp_path / "out" / "tokenizer.model")
    assert [model.id_to_piece(i) for i in range(7)] == ["<pad>", "<s>", "</s>", "<unk>", "<mask>", "\n", "<0x00>"]
    assert model.id_to_piece(FIXED_PIECES - 1) == "<0xFF>"
    assert not any("\n" in model.id_to_piece(i) for i in range(FIXED_PIECES, len(model)))
    assert model.encode("habari\nya", return_type=str) == [*model.encode("habari", return_type=str), "\n", "ya"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_same_corpus_gives_the_same_bytes_in_another_process(tmp_path, kind):
    corpus = write_corpus(tmp_path / "corpus", "swahili", 400)
    config = Tokenizer(type=kind, vocab_size=1024, bytes_per_piece=20)
    train(corpus, tmp_path / "first", config)
    (tmp_path / "second").mkdir()
    script = (
        "from pathlib import Path; from lang_configs.training import Tokenizer; from tasks.core.stage import Work;"
        "from tasks.tokenizer import tokenizer;"
        f"tokenizer({{'corpus': Path({str(corpus)!r})}}, Tokenizer(**{config.model_dump()!r}), "
        f"Path({str(tmp_path / 'second')!r}), Work())"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=REPOSITORY)
    assert files(tmp_path / "first") == files(tmp_path / "second")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_twenty_documents_are_enough(tmp_path, language, kind):
    write_split(tmp_path / "corpus", "train", documents(language, 20, sentences=3))
    write_split(tmp_path / "corpus", "test", documents(language, 2, seed=2))
    metrics = train(tmp_path / "corpus", tmp_path / "out", Tokenizer(type=kind))
    assert metrics["vocab_size"] < 512
    assert metrics["exactness"]["round_trip_failures"] == 0


def test_more_characters_than_the_configured_vocabulary_get_room(tmp_path):
    everything = "".join(map(chr, range(0x1200, 0x1360)))  # syllables (and a few unassigned points) of the Ethiopic block
    write_split(tmp_path / "corpus", "train", [everything, *documents("amharic", 50)])
    write_split(tmp_path / "corpus", "test", [everything])
    metrics = train(tmp_path / "corpus", tmp_path / "out", Tokenizer(vocab_size=320, bytes_per_piece=1))
    assert metrics["vocab_size"] > 320 + 64
    assert metrics["vocab_size"] % 64 == 0


def test_vocabulary_follows_the_text_up_to_the_configured_size(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", "swahili", 400)
    sizes = []
    for name, config in {
        "bound": Tokenizer(vocab_size=600, bytes_per_piece=1),
        "text": Tokenizer(vocab_size=65536, bytes_per_piece=300),
        "sample": Tokenizer(vocab_size=65536, bytes_per_piece=300, training_bytes=150_000),
    }.items():
        metrics = train(corpus, tmp_path / name, config)
        assert metrics["vocab_size"] % 64 == 0
        assert metrics["vocab_size"] <= max(384, min(config.vocab_size, metrics["training_bytes"] / config.bytes_per_piece))
        sizes.append(metrics["vocab_size"])
    assert sizes[0] == 576
    assert sizes[1] > sizes[2] > 384


def test_sample_is_drawn_by_seed_and_weight_and_stops_at_the_limit(tmp_path):
    texts = [f"{'mti' if i < 100 else 'jiwe'} {i} " + "neno " * 200 for i in range(200)]
    write_split(tmp_path / "corpus", "train", texts, 3, [0.0] * 100 + [1.0] * 100)
    write_split(tmp_path / "corpus", "test", texts[:1])
    metrics = train(tmp_path / "corpus", tmp_path / "a", Tokenizer(training_bytes=20_000))
    assert 20_000 <= metrics["training_bytes"] < 20_000 + PASSAGE_CHARACTERS
    pieces = load(tmp_path / "a" / "tokenizer.model")
    assert pieces.encode("jiwe", return_type=str) == ["▁jiwe"]
    assert pieces.encode("mti", return_type=str) != ["▁mti"]  # weight 0: never read in training, so not learned from either
    train(tmp_path / "corpus", tmp_path / "b", Tokenizer(training_bytes=20_000, seed=2))
    assert files(tmp_path / "a") != files(tmp_path / "b")


@given(st.text(alphabet=st.sampled_from("ab \n\u1200"), max_size=3 * PASSAGE_CHARACTERS) | st.text())
def test_passages_lose_nothing_but_the_space_at_a_cut(text):
    cuts = list(passages(text))
    assert all(0 < len(cut) <= PASSAGE_CHARACTERS for cut in cuts)
    position = 0
    for cut in cuts:
        if not text.startswith(cut, position):
            assert text[position] == " "
            position += 1
        assert text.startswith(cut, position)
        position += len(cut)
    assert text[position:] in ("", " ")


def test_a_document_of_one_line_is_learned_from_to_its_end(tmp_path):
    start, end = "kiboko " * 25_000, "nyangumi " * 2_000
    write_split(tmp_path / "corpus", "train", [start + end])
    write_split(tmp_path / "corpus", "test", ["kiboko na nyangumi"])
    metrics = train(tmp_path / "corpus", tmp_path / "out")
    assert metrics["training_bytes"] > 180_000
    assert load(tmp_path / "out" / "tokenizer.model").encode("nyangumi", return_type=str) == ["▁nyangumi"]


def test_work_finished_before_a_kill_is_kept(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", "yoruba")
    train(corpus, tmp_path / "out")
    before = (tmp_path / "out" / "tokenizer.model").stat().st_mtime_ns
    (tmp_path / "out" / "hf" / "tokenizer.json").unlink()
    (tmp_path / "out" / "hf" / "tokenizer_config.json").unlink()
    (tmp_path / "out" / "hf").rmdir()
    tokenizer({"corpus": corpus}, SMALL, tmp_path / "out", Work())
    assert (tmp_path / "out" / "tokenizer.model").stat().st_mtime_ns == before
    train(corpus, tmp_path / "whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_nothing_to_train_or_measure_on_is_one_sentence(tmp_path):
    write_split(tmp_path / "empty", "train", [])
    write_split(tmp_path / "empty", "test", ["habari"])
    with pytest.raises(StageError, match="no text to train a tokenizer on"):
        train(tmp_path / "empty", tmp_path / "a")
    write_split(tmp_path / "unmeasured", "train", documents("swahili", 20))
    with pytest.raises(StageError, match=r"raise select\.validation"):
        train(tmp_path / "unmeasured", tmp_path / "b")


def test_text_that_does_not_come_back_stops_the_stage(tmp_path):
    write_split(tmp_path / "corpus", "train", documents("swahili", 50))
    write_split(tmp_path / "corpus", "test", ["habari", "moja\u2581mbili"])
    with pytest.raises(StageError, match=r"1 of 2 test passages do not come back .* U\+2581"):
        train(tmp_path / "corpus", tmp_path / "out")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_text_without_any_blank_comes_back(kind: str) -> None:
    letters = "ꀀꀁꀂꀃꀄꀅꀆꀇꀈꀉꀊꀋꀌꀍꀎꀏꀐꀑꀒꀓ"
    generator = random.Random(3)
    texts = ["".join(generator.choices(letters, k=200)) for _ in range(60)]
    processor = SentencePieceProcessor(model_proto=train_model(texts, 512, Tokenizer(type=kind)))
    for text in (*texts[:5], "ꀀꀁ ꀂꀃ", letters):
        assert processor.decode(processor.encode(text)) == text
