"""Quality signals against a plain reference, on any text and on real documents."""

from __future__ import annotations

import math
import random
import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.annotate.quality import SIGNALS, QualitySignals, measure, quality
from tasks.annotate.quality.usage import learn
from tasks.core.characters import DIGIT, LETTER, SPACE, STOP, SYMBOL, TABLE_SIZE, TSHEGS, classes, lower_case, parts, unspaced
from tasks.core.documents import write_table
from tasks.core.engines import make_engine
from tasks.core.stage import Work
from tests.junk import CONTENT_WORDS, SENTENCES
from tests.pipeline import rows, run, texts

NEWS = (
    "Wakazi wa Mtwara walikutana jana kujadili bei ya korosho. “Tumevuna tani 2,500.5,” alisema Bi Asha wa ng'ambo...\n\n"
    "Mkutano uliisha saa kumi!\nMkutano uliisha saa kumi!"
)
ETHIOPIC = "ሰላም ለዓለም ሁሉ። እንዴት ነህ?"
JOINERS = "\u200b\u200c\u200d"


def kind(character: str) -> int:
    return int(classes()[ord(character)]) if ord(character) < TABLE_SIZE else LETTER


def small(character: str) -> str:
    return chr(lower_case()[ord(character)]) if ord(character) < TABLE_SIZE else character


def spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end."""
    found, start, last, before = [], -1, " ", SPACE  # `before`: class of the character before; a joiner has that of its word
    for position, character in enumerate(text + " "):
        after = [kind(c) for c in text[position + 1 : position + 2]]
        joined = start >= 0 and (
            character in JOINERS
            or (character in "'’ʼʻ" and before == LETTER and after == [LETTER])
            or (character in ",." and before == DIGIT and after == [DIGIT])
        )
        letter = kind(character) in (LETTER, DIGIT)
        if joined:
            continue
        if start >= 0 and (not letter or parts(ord(last), ord(character), unspaced())):
            found.append((start, position))
            start = -1
        if letter and start < 0:
            start = position
        last, before = character, kind(character)
    return found


def words_of(text: str) -> list[str]:
    """As written; two of them are the same word if they are so in lower case and without joiners."""
    return [text[start:end] for start, end in spans(text)]


def single_letters(text: str) -> int:
    """Letters that are no capitals, with a blank or an end on both sides."""
    padded = f" {text} "

    def blank(character: str) -> bool:
        return kind(character) == SPACE and character not in TSHEGS

    return sum(kind(c) == LETTER and small(c) == c and blank(padded[at]) and blank(padded[at + 2]) for at, c in enumerate(text))


def reference(text: str) -> dict[str, float]:
    """The signals as their docstring words them, character by character; those of the language's usage left out."""
    written = words_of(text)
    words = ["".join(map(small, word)) for word in written]
    compared = [re.sub(f"[{JOINERS}]", "", word) for word in words]
    alpha = [word for word in written if any(kind(c) == LETTER for c in word)]
    visible = [c for c in text if kind(c) != SPACE]
    outside = [c for c in visible if kind(c) not in (LETTER, DIGIT)]
    inside = {position for start, end in spans(text) for position in range(start, end)}
    # a mark that follows itself is counted once
    marks = sum(
        kind(c) not in (LETTER, DIGIT, SPACE) and position not in inside and (position == 0 or text[position - 1] != c)
        for position, c in enumerate(text)
    )
    lines = [line for line in (strip(line) for line in text.split("\n")) if line]
    paragraphs = [strip(part) for part in split_paragraphs(text)]
    window, number = compared[:1000], max(1, len(words))
    sizes = {"letters": LETTER, "digits": DIGIT, "symbols": SYMBOL}
    found = {
        "words": len(words),
        "mean_word_length": sum(map(len, words)) / number,
        **{name: seen(text)[wanted] / max(1, len(visible)) for name, wanted in sizes.items()},
        "alpha_words": len(alpha) / number,
        "capital_words": sum(small(word[0]) != word[0] for word in alpha) / max(1, len(alpha)),
        "single_letter_words": single_letters(text) / number if words else 0,
        "punctuation": marks / number if words else 0,
        "hash_words": outside.count("#") / number if words else 0,
        "ellipsis_words": (len(re.findall(r"\.\.\.", text)) + text.count("…")) / number if words else 0,
        "unique_words": len(set(window)) / max(1, len(window)),
        "top_word": max(Counter(window).values(), default=0) / max(1, len(window)),
        "lines": len(lines),
        "newlines": text.count("\n") / number if words else 0,
        "stop_lines": sum(kind(line[-1]) == STOP for line in lines) / max(1, len(lines)),
        "bullet_lines": sum(line[0] in "*-•●▪·–" for line in lines) / max(1, len(lines)),
        "ellipsis_lines": sum(line.endswith(("...", "…")) for line in lines) / max(1, len(lines)),
        "short_lines": sum(len(line) <= 30 for line in lines) / max(1, len(lines)),
    }
    characters = max(1, len(text.replace("\n", "")))
    for name, lengths in (("line", lines), ("paragraph", paragraphs)):
        again = [(part, size) for part, size in zip(keys(lengths), map(inner, lengths), strict=True)]
        copies = [size for at, (part, size) in enumerate(again) if part in [other for other, _ in again[:at]]]
        found[f"duplicate_{name}s"] = len(copies) / max(1, len(lengths))
        found[f"duplicate_{name}_characters"] = sum(copies) / characters
    for n in (2, 3, 4):
        grams = [tuple(compared[i : i + n]) for i in range(len(words) - n + 1)]
        top = Counter(grams).most_common(1)
        size = sum(map(len, words[(first := grams.index(top[0][0])) : first + n])) + n - 1 if top else 0
        found[f"top_{n}_grams"] = size * top[0][1] / len(text) if top else 0
    for n in range(5, 11):
        found[f"duplicate_{n}_grams"] = duplicated(words, compared, n) / max(1, len(text))
    return found


def seen(text: str) -> Counter[int]:
    """Classes of the characters; a joiner inside of a word is of the class of its neighbours."""
    counts = Counter(map(kind, text))
    for word in words_of(text):
        before = kind(word[0])
        for character in word:
            if kind(character) not in (LETTER, DIGIT):
                counts[kind(character)] -= 1
                counts[before] += 1
            else:
                before = kind(character)
    return counts


def strip(line: str) -> str:
    while line and kind(line[0]) == SPACE:
        line = line[1:]
    while line and kind(line[-1]) == SPACE:
        line = line[:-1]
    return line


def split_paragraphs(text: str) -> list[str]:
    found, part = [], []
    for line in [*text.split("\n"), ""]:
        if strip(line):
            part.append(line)
        elif part:
            found.append("\n".join(part))
            part = []
    return found


def inner(part: str) -> int:
    return sum(len(strip(line)) for line in part.split("\n"))


def keys(parts: list[str]) -> list[str]:
    """Lines are compared without white space."""
    return ["".join(c for c in part if kind(c) != SPACE) for part in parts]


def duplicated(words: list[str], compared: list[str], n: int) -> int:
    known, total, i = set(), 0, 0
    while i + n <= len(words):
        gram = tuple(compared[i : i + n])
        if gram in known:
            total += sum(map(len, words[i : i + n]))
            i += n
        else:
            known.add(gram)
            i += 1
    return total


def signals(*items: str) -> list[dict[str, Any]]:
    measured = measure(pa.array(items, pa.string()))
    found = [dict(zip(SIGNALS, row.tolist(), strict=True)) for row in measured]
    for row in found:
        assert math.isnan(row.pop("function_words"))
        assert math.isnan(row.pop("word_order"))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "", " \n ", NEWS, ETHIOPIC, "- moja\n- mbili\n- moja\n- moja", "a b a b a b 1 2 | # {x}", "Ng'ombe wangu.",
        "1,2 3.4. 'a'b' ",
        "Aya\n\nAya ya pili\n\nAya\n\n\nAya", "....... ......", "a…\nb...\n# c", f"{NEWS}\n{NEWS}",
        "moja mbili tatu nne tano sita " * 5,
        "x y " * 30 + "z", "𐐀 𐐨 😀😀 ሀ'ሀ",
        "ขอบคุณมากครับ ขอบคุณ5คน", "ខ្ញុំ\u200bទៅ\u200bសាលា ខ្ញុំទៅសាលា", "می\u200cخواهم می\u200cخواهم", "我喜欢学习。我喜欢学习。",
        "བོད་ལ་མི་མང་པོ་ཡོད།", "👩\u200d🚀 ab\u200d\u200d",
    ],
)  # fmt: skip
def test_signals_of_known_texts(text: str) -> None:
    assert signals(text)[0] == pytest.approx(reference(text), abs=1e-5)


ANY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=120)
REPEATING = st.text(alphabet="aAb1 .,'#-…\n", max_size=200)
UNSPACED = st.text(alphabet="กขคำิ៉កខ្我们a5 '་ད\n\u200b\u200d", max_size=120)
WORDS = st.lists(st.sampled_from(["na", "wa", "ya", "Na", "kwa.", "7,5", "\n", "\n\n"]), max_size=80).map(" ".join)


@given(st.lists(st.one_of(ANY, REPEATING, UNSPACED, WORDS), min_size=1, max_size=5))
@settings(max_examples=300)
def test_signals_of_any_texts(items: list[str]) -> None:
    for text, found in zip(items, signals(*items), strict=True):
        assert found == pytest.approx(reference(text), abs=1e-5)


def many(number: int, seed: int = 1) -> list[str]:
    """Documents of eight sentences in some order, with words of their own."""
    chance = random.Random(seed)
    return [f"Habari ya {i}: " + " ".join(chance.sample(SENTENCES, 8)) for i in range(number)]


def labelled(folder: Path, clean: Path, label: str = "swh_Latn") -> Path:
    folder.mkdir()
    for shard in sorted(clean.glob("*.parquet")):
        ids = pa.parquet.read_table(shard, columns=["id"]).column("id").to_pylist()
        table = pa.table({"id": pa.array(ids, pa.binary(16)), "label": [label] * len(ids)})
        write_table(table.append_column("score", pa.array([0.99] * len(ids), pa.float32())), folder / shard.name)
    return folder


def test_words_in_no_order_are_told_from_text() -> None:
    usage = learn(pa.array(many(300), pa.string()))
    assert usage.frequent[:2] == ["ya", "na"] or set(usage.frequent[:3]) & {"ya", "na", "wa"}
    text = many(1, seed=2)[0]
    words = text.split()
    shuffled = " ".join(random.Random(3).sample(words, len(words)))
    order = [row[SIGNALS.index("word_order")] for row in measure(pa.array([text, shuffled]), usage)]
    assert order[0] > 0.4 > 0.2 > abs(order[1])
    share = measure(pa.array(["ya wa na", "Zmbx qwrt", "YA zmbx"]), usage)[:, SIGNALS.index("function_words")]
    assert share.tolist() == [1.0, 0.0, 0.5]


def orders(items: list[str], learned: list[str]) -> list[float]:
    measured = measure(pa.array(items, pa.string()), learn(pa.array(learned, pa.string())))
    return [float(row[SIGNALS.index("word_order")]) for row in measured]


def salad(words: list[str], number: int, joint: str = " ") -> list[str]:
    chance = random.Random(4)
    return [joint.join(chance.choices(words, k=120)) for _ in range(number)]


@given(st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_words_in_no_order_have_none_even_where_they_were_learned_from(seed: int) -> None:
    chance = random.Random(seed)
    shuffled = [" ".join(chance.sample(text.split(), len(text.split()))) for text in many(120)]
    assert abs(statistics.mean(orders(shuffled, shuffled))) < 0.05


def test_words_of_one_matter_have_no_order() -> None:
    matter = salad([f"{start}{end}" for start in ("mvu", "sama", "ngali") for end in ("wi", "ki", "ta", "zo", "pe")], 60)
    assert abs(statistics.mean(orders(matter, many(200) + matter))) < 0.05
    assert statistics.mean(orders(many(50), many(200) + matter)) > 0.4


def test_what_a_hyphen_joins_is_no_order_of_words() -> None:
    joined = [f"{prefix}-{name}" for prefix in ("u", "i", "ama", "we") for name in ("Moshi", "Tanga", "Mbeya", "Iringa")]
    assert abs(statistics.mean(orders(salad(joined, 100), salad(joined, 100)))) < 0.05


def test_near_copies_are_not_judged_by_each_other() -> None:
    once = [" ".join(random.Random(i).sample(CONTENT_WORDS * 3, 150)) for i in range(60)]
    copies = [text.rsplit(" ", 3)[0] + " na mwisho wake" for text in once]
    assert statistics.mean(orders(once, once + copies)) < 0.1


def test_the_stage_writes_one_row_per_document(tmp_path: Path) -> None:
    documents = texts(tmp_path / "documents", NEWS, ETHIOPIC, "x" * 5000, shard_bytes=100)
    assert len(list(documents.glob("*.parquet"))) > 1
    inputs = {"clean": documents, "language": labelled(tmp_path / "language", documents)}
    metrics = run(quality, tmp_path / "out", QualitySignals(label="swh_Latn"), inputs)
    assert metrics == {"documents": 3, "function_words": []}
    assert [row["id"] for row in rows(tmp_path / "out")] == [row["id"] for row in rows(documents)]
    assert [row["words"] for row in rows(tmp_path / "out")] == [reference(NEWS)["words"], 5, 1]
    assert {row["function_words"] for row in rows(tmp_path / "out")} == {None}  # too little text to learn from


def test_the_same_documents_give_the_same_bytes_on_any_number_of_workers(tmp_path: Path) -> None:
    documents = texts(tmp_path / "documents", *many(400), shard_bytes=50_000)
    inputs = {"clean": documents, "language": labelled(tmp_path / "language", documents)}
    config = QualitySignals(label="swh_Latn")
    one = run(quality, tmp_path / "one", config, inputs)
    two = run(quality, tmp_path / "two", config, inputs, Work(make_engine("processes", 2)))
    assert one == two
    assert len(one["function_words"]) == 100
    for shard in (tmp_path / "one").glob("*.parquet"):
        assert shard.read_bytes() == (tmp_path / "two" / shard.name).read_bytes()
    assert all(row["word_order"] > 0 for row in rows(tmp_path / "one"))


def test_text_in_another_language_teaches_nothing(tmp_path: Path) -> None:
    documents = texts(tmp_path / "documents", *many(400))
    inputs = {"clean": documents, "language": labelled(tmp_path / "language", documents, "eng_Latn")}
    assert run(quality, tmp_path / "out", QualitySignals(label="swh_Latn"), inputs)["function_words"] == []
