"""Words of scripts that set off none by spaces: cut by what stands on both sides, wherever that stands."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.characters import UNSPACED_SCRIPTS, WORD_LETTERS, count_words, parts, unspaced

TEXTS = {
    "Thai": "คนทุกคนเกิดมาเพื่อเรียนรู้และทำงานร่วมกันในหมู่บ้านเล็กริมแม่น้ำ",
    "Laoo": "ຂ້ອຍໄປໂຮງຮຽນທຸກວັນກັບໝູ່ຂອງຂ້ອຍແລະພວກເຮົາມັກອ່ານປຶ້ມ",
    "Khmr": "ខ្ញុំទៅសាលារៀនរាល់ថ្ងៃជាមួយមិត្តភក្តិហើយយើងចូលចិត្តអានសៀវភៅ",
    "Mymr": "ကျွန်တော်နေ့တိုင်းကျောင်းသွားပြီးသူငယ်ချင်းများနဲ့စာဖတ်ပါတယ်",
    "Hans": "我每天和朋友一起去学校我们喜欢读书也喜欢在河边散步",
    "Jpan": "わたしは毎日友だちと学校へ行って本を読むのが好きです",
    "Yiii": "ꆈꌠꁱꂷꆹꉬꄜꌠꂷꃅꑌꇬꀊꁨꈍꐥ",
}


def words(text: str) -> int:
    return int(count_words(pa.array([text]))[0])


def cuts(text: str) -> list[int]:
    return [n for n in range(1, len(text)) if parts(ord(text[n - 1]), ord(text[n]), unspaced())]


@pytest.mark.parametrize("script", TEXTS)
def test_a_word_has_three_letters_on_average(script: str) -> None:
    chance = random.Random(1)
    letters = [letter for letter in TEXTS[script] if letter.isalpha()]
    text = "".join(chance.choices(letters, k=6000))
    assert words(text) == len(cuts(text)) + 1
    assert WORD_LETTERS * 0.8 < 6000 / words(text) < WORD_LETTERS * 1.2
    assert script in UNSPACED_SCRIPTS


@pytest.mark.parametrize("script", TEXTS)
def test_a_word_never_ends_before_a_mark(script: str) -> None:
    marks = {n for n, letter in enumerate(TEXTS[script]) if unspaced()[ord(letter)] == 2}
    assert not marks & set(cuts(TEXTS[script]))


@given(st.sampled_from(sorted(TEXTS)), st.text("กขကាကြ我们ꆈabc \n", max_size=8), st.text("ກခabc。 ", max_size=8))
def test_a_text_is_cut_in_the_same_places_wherever_it_stands(script: str, before: str, after: str) -> None:
    text = TEXTS[script]
    inside = [n - len(before) for n in cuts(before + text + after) if 0 < n - len(before) < len(text)]
    assert inside == cuts(text)


@given(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xDFF), max_size=80))
def test_scripts_with_spaces_have_the_words_that_stand_between_them(text: str) -> None:
    assert words(text) == len(text.split())


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 0), ("Ng'ombe wa 2,500", 3), ("ሰላም ለዓለም", 2), ("བོད་སྐད་ དེ་རིང་", 4), ("5ก", 2), ("Facebookก", 2), ("ދިވެހި ބަސް", 2)],
)
def test_words_of_known_texts(text: str, number: int) -> None:
    assert words(text) == number


def test_separators_that_spelling_may_leave_out_change_no_number() -> None:
    assert words("ខ្ញុំ\u200bទៅ\u200bសាលា") == words("ខ្ញុំទៅសាលា")
