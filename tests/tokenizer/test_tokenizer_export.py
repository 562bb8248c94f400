from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.training import Tokenizer
from tasks.core.stage import Work
from tasks.tokenizer import tokenizer
from tasks.tokenizer.export import SPACE, compare, finding_mask, load, save_transformers, to_transformers
from tests.small_corpus import documents, write_split

EDGES = [
    "", " ", "  ", "\n", "\n\n\n", "\t", "\r\n", " habari", "  habari", "habari ", "habari  ", "habari   yako", "habari\nyako",
    "habari \n yako\n", "\nhabari", "a\tb", "</s>", "<s>", "<pad>", "<unk>", "<0x41>", "a<0x41>b", "<0x4", "<0xZZ>", "<0xff>",
    "<s></s><0x0A>", "habari </s> yako <s>", "<", "<<0x41>>", "< s>", "if a < b and c<d", "[CLS]", "<mask>", "##a",
    "😀", "👩‍👩‍👧‍👦 familia", "🇰🇪🇹🇿", "ሰላም ለዓለም", "ሰላም፡ለዓለም።", "ẹ̀kọ́ ọ̀rọ̀", "e\u0301", "\u0301", "ng'ombe", "ngʼombe", "ng’ombe",
    "\u00a0", "a\u00a0b", "\u200b", "\ufeff", "\u2028", "\u202eabc", "\x00", "a\x00b", "\x7f", "\u2585", "\ufffd", "日本語",
    "नमस्ते", "1234567890", "3,500.25", "2026-11-21", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "https://mfano.co.tz/habari?id=1&x=%20", "user@example.org", "\U0010ffff", "ﬁ", "Å", "½", "x²",
]  # fmt: skip

MARKUP = ["<p>habari</p> <s>yako</s> <unk>", "alama < na <s na </s ziko <0x41> na <0x42> hapa", "tumia <b>, <s> au </s>"]


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def trained(request, tmp_path_factory) -> Path:
    """A tokenizer of all three languages that has also learned pieces with `<` in them."""
    folder = tmp_path_factory.mktemp(request.param)
    texts = [text for language in ("swahili", "amharic", "yoruba") for text in documents(language, 120)]
    write_split(folder / "corpus", "train", [*texts, *MARKUP * 40])
    write_split(folder / "corpus", "test", texts[::20])
    (folder / "out").mkdir()
    config = Tokenizer(type=request.param, vocab_size=2048, bytes_per_piece=20)
    tokenizer({"corpus": folder / "corpus"}, config, folder / "out", Work())
    return folder / "out"


def test_edge_strings_have_the_same_ids_and_come_back(trained):
    report = {edge: compare(trained / "tokenizer.model", trained / "hf", [edge]) for edge in EDGES}
    assert {edge: found for edge, found in report.items() if found["id_mismatches"] or found["round_trip_failures"]} == {}


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_text_has_the_same_ids_and_comes_back(trained, data):
    some = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"))
    mixed = st.lists(st.sampled_from([*EDGES, *MARKUP]) | some, max_size=8).map("".join)
    lines = data.draw(st.lists(some | mixed, min_size=20, max_size=60))
    found = compare(trained / "tokenizer.model", trained / "hf", lines)
    assert found["lines"] == len(lines)
    assert found["id_mismatches"] == found["equal_score_ties"]
    assert found["round_trip_failures"] == 0


def test_pieces_with_an_angle_bracket_were_learned(trained):
    model = load(trained / "tokenizer.model")
    assert any("<" in model.id_to_piece(i) and len(model.id_to_piece(i)) > 1 for i in range(262, len(model)))


def test_auto_tokenizer_prepends_bos_and_keeps_words_of_special_tokens_as_text(trained):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "hf")
    model = load(trained / "tokenizer.model")
    ids = tokenizer("Rais alisema </s> kesho")["input_ids"]
    assert ids == [1, *model.encode("Rais alisema </s> kesho")]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Rais alisema </s> kesho"
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2, 3)
    assert len(tokenizer) == len(model)


@settings(deadline=None, max_examples=30)
@given(text=st.lists(st.sampled_from(EDGES) | st.text(st.characters(exclude_categories=["Cs"])), max_size=8).map("".join))
def test_a_tokenizer_that_finds_masks_reads_other_texts_as_before(trained, text):
    from transformers import PreTrainedTokenizerFast

    before = PreTrainedTokenizerFast.from_pretrained(trained / "hf")
    found = finding_mask(before)
    for special in before.all_special_tokens:
        text = text.replace(special, "")
    text = f"a{text.replace(SPACE, '')}"
    assert found(text)["input_ids"] == before(text)["input_ids"]


def test_a_mask_is_found_with_the_space_before_it_and_no_prefix_behind(trained):
    from transformers import PreTrainedTokenizerFast

    found = finding_mask(PreTrainedTokenizerFast.from_pretrained(trained / "hf"))
    ids = found("Mwalimu <mask>, sana <mask>")["input_ids"]
    assert "".join(found.convert_ids_to_tokens(ids)) == "<s>▁Mwalimu<mask>,▁sana<mask>"
    assert ids.count(found.mask_token_id) == 2


def test_words_given_one_by_one_keep_their_prefix(trained):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained / "hf")
    words = ["Mwalimu", "aliwaambia", "wanafunzi"]
    model = load(trained / "tokenizer.model")
    split = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    assert split["input_ids"] == [i for word in words for i in model.encode(word)]
    assert split.word_ids() == [n for n, word in enumerate(words) for _ in model.encode(word)]


def test_saved_files_name_a_class_that_transformers_4_knows_and_the_context(trained, tmp_path):
    save_transformers(to_transformers(trained / "tokenizer.model", 256), tmp_path / "hf")
    assert json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(tmp_path / "hf").model_max_length == 256


def test_compare_sees_a_tokenizer_that_is_not_exact(trained, tmp_path):
    """The failure that a round trip alone does not show: another segmentation of the same text."""
    wrong = to_transformers(trained / "tokenizer.model")
    from tokenizers import pre_tokenizers

    wrong.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split("a", "isolated")
    save_transformers(wrong, tmp_path / "hf")
    lines = documents("swahili", 10, seed=3)
    found = compare(trained / "tokenizer.model", tmp_path / "hf", lines)
    assert found["id_mismatches"] > found["equal_score_ties"]
    assert found["round_trip_failures"] == 0
    assert compare(trained / "tokenizer.model", tmp_path / "hf", ["moja\u2581mbili"])["round_trip_failures"] == 1


def test_a_unigram_model_without_ascii_is_refused(tmp_path):
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(documents("amharic", 50)), model_writer=model, vocab_size=600, byte_fallback=True,
        hard_vocab_limit=False, pad_id=0, bos_id=1, eos_id=2, unk_id=3, minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(ValueError, match="without a piece for '!'"):
        to_transformers(tmp_path / "tokenizer.model")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_ten_thousand_real_lines(bundle, tmp_path, kind):
    import zstandard

    lines = []
    for name in ("lafand_mt_train", "zindi_news"):
        with zstandard.open(bundle / "raw" / "swahili" / f"{name}.jsonl.zst", "rt", encoding="utf-8") as rows:
            lines += [line for row in rows for line in json.loads(row)["text"].replace("\u2581", " ").split("\n")]
    seen, unseen = lines[:-10_000], lines[-10_000:]
    write_split(tmp_path / "corpus", "train", ["\n".join(seen[i : i + 50]) for i in range(0, len(seen), 50)])
    write_split(tmp_path / "corpus", "test", unseen[:100])
    (tmp_path / "out").mkdir()
    tokenizer({"corpus": tmp_path / "corpus"}, Tokenizer(type=kind), tmp_path / "out", Work())
    found = compare(tmp_path / "out" / "tokenizer.model", tmp_path / "out" / "hf", unseen)
    assert found["lines"] == 10_000
    assert found["round_trip_failures"] == 0
    assert found["id_mismatches"] == found["equal_score_ties"] <= (10 if kind == "unigram" else 0)
