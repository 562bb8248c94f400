from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from lang_configs import load
from lang_configs.evaluation import EvaluationSet
from tasks.core.errors import StageError
from tasks.evaluation_sets import EvaluationData


def test_formats(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('category\theadline\ttext\nmichezo\tMechi\t"Mstari wa kwanza\nwa ""pili"""\n')
    (tmp_path / "b.txt").write_text("Rais B-PER\nSamia I-PER\n\nDodoma B-LOC\n")
    (tmp_path / "c.jsonl").write_text('{"text": "habari", "label": "x"}\n')
    sets = [
        EvaluationSet(name="a", format="tsv", files={"test": "a.tsv"}, text=["headline", "text"], label="category"),
        EvaluationSet(name="b", format="conll", files={"test": "b.txt"}),
        EvaluationSet(name="c", format="jsonl", files={"test": "c.jsonl"}),
        EvaluationSet(name="d", format="jsonl", files={"test": "missing.jsonl"}),
    ]
    data = EvaluationData(sets=sets, folder=tmp_path)
    found = [[(item.place, item.text, item.label, item.labels) for item in data.items(name, "test")] for name in "abcd"]
    assert found == [
        [("a/test/0", 'Mechi\nMstari wa kwanza\nwa "pili"', "michezo", ())],
        [("b/test/0", "Rais Samia", None, ("B-PER", "I-PER")), ("b/test/1", "Dodoma", None, ("B-LOC",))],
        [("c/test/0", "habari", "x", ())],
        [],
    ]
    assert data.missing == ["d"]


def test_texts_are_composed_and_labels_stay_with_their_tokens(tmp_path: Path) -> None:
    written = "Ọkọ̀ ọ̀rọ̀ é"
    apart = unicodedata.normalize("NFD", written)
    (tmp_path / "a.tsv").write_text(f"category\ttext\nx\t{apart}\n")
    (tmp_path / "b.txt").write_text("".join(f"{word} O\n" for word in apart.split()))
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": apart, "label": "x"}) + "\n")
    sets = [
        EvaluationSet(name="a", format="tsv", files={"test": "a.tsv"}, text=["text"], label="category"),
        EvaluationSet(name="b", format="conll", files={"test": "b.txt"}),
        EvaluationSet(name="c", format="jsonl", files={"test": "c.jsonl"}),
    ]
    data = EvaluationData(sets=sets, folder=tmp_path)
    items = [item for name in "abc" for item in data.items(name, "test")]
    assert [item.text for item in items] == [unicodedata.normalize("NFC", written)] * 3
    assert items[1].labels == ("O", "O", "O")


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"text": "habari"}\n')
    entry = EvaluationSet(name="c", format="jsonl", files={"test": "c.jsonl"})
    before = EvaluationData(sets=[entry], folder=tmp_path).digest()
    assert EvaluationData(sets=[entry], folder=tmp_path).digest() == before
    (tmp_path / "c.jsonl").write_text('{"text": "habari!"}\n')
    assert EvaluationData(sets=[entry], folder=tmp_path).digest() != before
    assert EvaluationData(sets=[entry], folder=None).digest() != before


@pytest.mark.parametrize("language", ["swahili", "yoruba", "hausa", "amharic"])
def test_the_sets_of_the_packaged_languages_are_read(bundle: Path, language: str) -> None:
    data = EvaluationData(
        sets=[entry for entry in load(language).evaluation if entry.format != "sections"], folder=bundle / "eval"
    )
    assert data.missing == []
    for entry in data.sets:
        for split in entry.files:
            items = data.items(entry.name, split)
            assert len(items) > 50
            assert sum(bool(item.text.strip()) for item in items) > 0.99 * len(items)
            if entry.format == "conll":
                assert all(len(item.text.split()) == len(item.labels) for item in items)
                assert len({label for item in items for label in item.labels}) < 20
            if entry.task == "classification":
                assert len({item.label for item in items}) < 10


TWEETS = ["Mvua imenyesha usiku kucha", '"Soko limefungwa leo', 'Alisema "njoo hapa', 'Timu yetu imeshinda"', "Habari za jioni"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tweets", [TWEETS, TWEETS[:2], TWEETS[1:3], TWEETS[3:], TWEETS[::-1], TWEETS[:1]])
def test_a_quotation_mark_that_never_closes_is_a_character(tweets: list[str], end: str, encoding: str, tmp_path: Path) -> None:
    lines = ["tweet\tlabel", *(f"{tweet}\tneutral" for tweet in tweets)]
    (tmp_path / "t.tsv").write_bytes((end.join(lines) + end).encode(encoding))
    rows = [json.dumps({"tweet": tweet, "label": "neutral"}) for tweet in tweets]
    (tmp_path / "t.jsonl").write_bytes((end.join(rows) + end * 2).encode(encoding))
    for name in ("tsv", "jsonl"):
        entry = EvaluationSet(name="a", format=name, files={"test": f"t.{name}"}, text=["tweet"])
        items = EvaluationData(sets=[entry], folder=tmp_path).items("a", "test")
        assert [(item.text, item.label) for item in items] == [(tweet, "neutral") for tweet in tweets]


def test_fields_that_are_quoted_as_a_whole_are_read_so(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text('tweet\tlabel\n"Alisema ""njoo"" hapa"\tneutral\n"moja\nmbili"\tpositive\n')
    entry = EvaluationSet(name="a", format="tsv", files={"test": "t.tsv"}, text=["tweet"])
    items = EvaluationData(sets=[entry], folder=tmp_path).items("a", "test")
    assert [item.text for item in items] == ['Alisema "njoo" hapa', "moja\nmbili"]


@pytest.mark.parametrize(("name", "head"), [("tsv", "tweet\tlabel\n"), ("jsonl", ""), ("conll", "")])
def test_another_encoding_is_one_sentence(name: str, head: str, tmp_path: Path) -> None:
    (tmp_path / "t.x").write_bytes(f"{head}café\tx\n".encode("cp1252") * 1000)
    entry = EvaluationSet(name="a", format=name, files={"test": "t.x"}, text=["tweet"])
    with pytest.raises(StageError, match=r"t\.x: not UTF-8 \(.* at byte \d+\); save it as UTF-8") as caught:
        EvaluationData(sets=[entry], folder=tmp_path).items("a", "test")
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_marks_of_joined_files_and_halves_of_letters_are_no_part_of_an_item(encoding: str, tmp_path: Path) -> None:
    mark = "" if encoding.endswith("e") else "\ufeff"
    (tmp_path / "t.tsv").write_bytes(f"{mark}tweet\tlabel\nmoja\tx\n\ufeffmbili\tx\n".encode(encoding))
    (tmp_path / "t.jsonl").write_bytes(f'{mark}{{"tweet": "moja"}}\n\ufeff{{"tweet": "mbili \\ud83d"}}\n'.encode(encoding))
    (tmp_path / "t.conll").write_bytes(f"{mark}moja O\n\n\ufeffmbili O\n".encode(encoding))
    for form, last in (("tsv", "mbili"), ("jsonl", "mbili ?"), ("conll", "mbili")):
        entry = EvaluationSet(name="a", format=form, files={"test": f"t.{form}"}, text=["tweet"])
        items = EvaluationData(sets=[entry], folder=tmp_path).items("a", "test")
        assert [item.text for item in items] == ["moja", last]
