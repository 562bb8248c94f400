from __future__ import annotations

import io
import json
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from lang_configs.training import Tokenizer
from tasks.core.stage import Work
from tasks.tokenizer import tokenizer
from tasks.tokenizer.encoding import Encoder
from tasks.tokenizer.export import compare, load, load_transformers, save_transformers, to_transformers
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
    composed = [unicodedata.normalize("NFC", edge) for edge in EDGES]
    report = {edge: compare(trained / "tokenizer.model", trained / "hf", [edge]) for edge in composed}
    assert {edge: found for edge, found in report.items() if found["id_mismatches"] or found["round_trip_failures"]} == {}


SOME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"))
MIXED = st.lists(st.sampled_from([*EDGES, *MARKUP]) | SOME, max_size=8).map("".join)


@settings(deadline=None, max_examples=30)
@given(lines=st.lists((SOME | MIXED).map(partial(unicodedata.normalize, "NFC")), min_size=20, max_size=60))
def test_any_text_has_the_same_ids_and_comes_back(trained, lines):
    found = compare(trained / "tokenizer.model", trained / "hf", lines)
    assert found["lines"] == len(lines)
    assert found["id_mismatches"] == found["equal_score_ties"]
    assert found["round_trip_failures"] == 0


COMPOSED = "".join(chr(code) for code in range(0x30000) if unicodedata.decomposition(chr(code))) + "한국어"
MARKS = st.characters(categories=["Mn"], max_codepoint=0x36F)
TONES = st.lists(
    st.tuples(st.sampled_from("aeiounEOSd ẹọ\n") | st.sampled_from(COMPOSED), st.text(MARKS, max_size=3)), max_size=20
)


@settings(deadline=None, max_examples=60)
@given(text=MIXED | TONES.map(lambda parts: "".join(letter + marks for letter, marks in parts)))
def test_a_text_has_the_same_ids_in_whatever_form_it_is_written(trained, text):
    """Also a text that is half composed, or whose marks stand in another order."""
    theirs, ours = AutoTokenizer.from_pretrained(trained / "hf"), Encoder(trained / "tokenizer.model")
    forms = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
    first, *others = theirs(forms, add_special_tokens=False)["input_ids"]
    assert others == [first, first]
    ids, offsets = ours.encode(pa.array(forms))
    first, *others = (part.tolist() for part in np.split(ids, offsets[1:-1]))
    assert others == [first, first]


def test_the_sentencepiece_file_composes_letters_with_one_mark_or_two(trained):
    model = load(trained / "tokenizer.model")
    texts = [*documents("yoruba", 30), "ẹ̀kọ́ ọ̀rọ̀ é ṣ ǹ Ǹ ế", "한국어", *COMPOSED]
    forms = [[unicodedata.normalize(form, text) for text in texts] for form in ("NFC", "NFD")]
    composed, apart = (model.encode(form) for form in forms)
    assert composed == apart
    assert forms[0] != forms[1]
    tones = ["e\u0300\u0323 \u00e8\u0323 o\u0331\u0301 \u0254\u0301\u0323 S\u0307\u0323", "o\u0301\u0331"]
    assert [model.encode(text) for text in tones] == [model.encode(unicodedata.normalize("NFC", text)) for text in tones]
    assert [model.decode(ids) for ids in apart] == [text.replace("\u2581", " ") for text in forms[0]]


def test_offsets_point_into_the_text_as_it_was_written(trained):
    written = "Ọkọ̀ ojú irin".replace("ọ̀", "o\u0323\u0300")
    found = AutoTokenizer.from_pretrained(trained / "hf")(written, add_special_tokens=False, return_offsets_mapping=True)
    parts = [written[start:end] for start, end in dict.fromkeys(found["offset_mapping"])]  # bytes of one letter share a place
    assert "".join(parts) == written
    assert any("o\u0323\u0300" in part or part == "o\u0323" for part in parts)


def test_pieces_with_an_angle_bracket_were_learned(trained):
    model = load(trained / "tokenizer.model")
    assert any("<" in model.id_to_piece(i) and len(model.id_to_piece(i)) > 1 for i in range(262, len(model)))


def test_our_own_tokenizer_keeps_words_of_special_tokens_as_text(trained):
    tokenizer, model = load_transformers(trained / "hf"), load(trained / "tokenizer.model")
    ids = tokenizer("Rais alisema </s> kesho <mask>")["input_ids"]
    assert ids == [1, *model.encode("Rais alisema </s> kesho <mask>")]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Rais alisema </s> kesho <mask>"
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2, 3)
    assert len(tokenizer) == len(model)


@settings(deadline=None, max_examples=30)
@given(parts=st.lists(st.sampled_from(EDGES) | SOME | st.sampled_from(["</s>", "<s>", "<pad>"]), max_size=8))
def test_auto_tokenizer_finds_special_tokens_and_all_of_a_text_comes_back(trained, parts):
    text = unicodedata.normalize("NFC", "".join(parts)).replace("<mask>", "")  # the mask takes the space before it
    tokenizer = AutoTokenizer.from_pretrained(trained / "hf")
    ids = tokenizer(text)["input_ids"]
    assert ids.count(2) == text.count("</s>")
    assert ids.count(0) == text.count("<pad>")
    assert tokenizer.decode(ids[1:]) == text


def test_a_special_token_that_a_user_adds_is_one_token(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained / "hf")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    ids = tokenizer("<|im_start|>user\nHabari<|im_end|></s>", add_special_tokens=False)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert (tokens[0], tokens[-2:]) == ("<|im_start|>", ["<|im_end|>", "</s>"])
    assert tokenizer.decode(ids) == "<|im_start|>user\nHabari<|im_end|></s>"


def test_a_mask_is_found_with_the_space_before_it_and_no_prefix_behind(trained):
    found = AutoTokenizer.from_pretrained(trained / "hf")
    ids = found("Mwalimu <mask>, sana <mask>")["input_ids"]
    assert "".join(found.convert_ids_to_tokens(ids)) == "<s>▁Mwalimu<mask>,▁sana<mask>"
    assert ids.count(found.mask_token_id) == 2


def test_words_given_one_by_one_keep_their_prefix(trained):
    tokenizer = AutoTokenizer.from_pretrained(trained / "hf")
    words = ["Mwalimu", "aliwaambia", "wanafunzi"]
    model = load(trained / "tokenizer.model")
    split = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    assert split["input_ids"] == [i for word in words for i in model.encode(word)]
    assert split.word_ids() == [n for n, word in enumerate(words) for _ in model.encode(word)]


def test_saved_files_name_what_transformers_4_needs_and_the_context(trained, tmp_path):
    save_transformers(to_transformers(trained / "tokenizer.model", 256), tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["model_input_names"] == ["input_ids", "attention_mask"]
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
            texts = [unicodedata.normalize("NFC", json.loads(row)["text"]) for row in rows]  # as a corpus is
            lines += [line for text in texts for line in text.replace("\u2581", " ").split("\n")]
    seen, unseen = lines[:-10_000], lines[-10_000:]
    write_split(tmp_path / "corpus", "train", ["\n".join(seen[i : i + 50]) for i in range(0, len(seen), 50)])
    write_split(tmp_path / "corpus", "test", unseen[:100])
    (tmp_path / "out").mkdir()
    tokenizer({"corpus": tmp_path / "corpus"}, Tokenizer(type=kind), tmp_path / "out", Work())
    found = compare(tmp_path / "out" / "tokenizer.model", tmp_path / "out" / "hf", unseen)
    assert found["lines"] == 10_000
    assert found["round_trip_failures"] == 0
    assert found["id_mismatches"] == found["equal_score_ties"] <= (10 if kind == "unigram" else 0)
