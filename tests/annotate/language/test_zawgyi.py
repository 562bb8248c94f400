"""Zawgyi is told from every Unicode spelling of the Myanmar script, and refused by its name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.annotate.language import LANGUAGE, identify
from tasks.annotate.language.zawgyi import is_zawgyi
from tasks.select import select
from tests.pipeline import rows, run
from tests.select.judged import config, world

BURMESE = [
    "ကျွန်တော်တို့ရွာက ကျောင်းသားတွေဟာ မနက်တိုင်း မြစ်ကမ်းဘေးက လမ်းလေးအတိုင်း ကျောင်းကို လမ်းလျှောက်သွားကြတယ်။",
    "ဆရာမက ဒီနေ့ ပုံပြင်စာအုပ်အသစ်ကို ဖတ်ပြမယ်လို့ ပြောတော့ ကလေးတွေ အရမ်းပျော်ကြတယ်။",
    "မိုးရွာပြီးနောက် လယ်သမားတွေက စပါးစိုက်ဖို့ ပြင်ဆင်နေကြပြီး ဈေးထဲမှာ ငါးတွေ ဈေးကြီးလာတယ်။",
]
OTHERS = [
    "သင်္ဘောနှင့် ဗုဒ္ဓဝင် သတ္တဝါ ကမ္ဘာ အင်္ဂလိပ် မန္တလေး",  # stacked letters
    "ႁဝ်းၶႃႈ မႃး ၵႂႃႇ လၢတ်ႈ တႆး ဢၼ် ပဵၼ် ၶွင် ၼႂ်း မိူင်း",  # Shan
    "ဘာသာမန် ဂှ် ဒှ် ဘာသာ မွဲ ပ္ဍဲ ဍုင် ဗၟာ",  # Mon
    "ကညီကျိၥ် တၢ်ဘၣ်တၢ်ဘျုး ပှၤကညီ",  # S'gaw Karen
]


def zawgyi(text: str) -> str:
    """Burmese without stacked letters as Zawgyi stores it: in the order of sight, with the font's own code points."""
    ordered = re.sub(
        "([\u1000-\u1021\u103f])([\u103b-\u103e]*)(\u1031?)",
        lambda m: m[3] + ("\u00ff" if "\u103c" in m[2] else "") + m[1] + m[2].replace("\u103c", ""),
        text,
    )
    return ordered.translate({0x103A: 0x1039, 0x103B: 0x103A, 0x103D: 0x103C, 0x103E: 0x103D, 0xFF: 0x103B})


@pytest.mark.parametrize("text", BURMESE)
def test_zawgyi_is_no_language_and_is_named(text: str) -> None:
    assert identify([text])[0].script == "Mymr"
    found = identify([zawgyi(text)])[0]
    assert (found.label, found.script, found.score) == ("und_Qaag", "Qaag", 0.0)


@pytest.mark.parametrize("text", [*BURMESE, *OTHERS, "", "ေ", "Swahili na ကခဂ", " ".join(BURMESE)])
def test_unicode_is_not_taken_for_it(text: str) -> None:
    assert not is_zawgyi(f" {text}")
    assert identify([text])[0].script != "Qaag"


@given(
    st.lists(st.sampled_from([word for text in [*BURMESE, *OTHERS] for word in text.split()]), max_size=30), st.integers(0, 9)
)
def test_no_order_of_words_and_no_cut_looks_like_it(words: list[str], cut: int) -> None:
    text = " ".join(words)
    assert not is_zawgyi(text[cut:]) and not is_zawgyi(text[: len(text) - cut])


def test_the_decision_names_it(tmp_path: Path) -> None:
    inputs = world(tmp_path, [{"label": "und_Qaag"}, {"label": "eng_Latn"}, *[{}] * 400], length=40)
    run(select, tmp_path / "out", config(), inputs)
    assert [row["decision"] for row in rows(tmp_path / "out")][:3] == ["zawgyi", "language", "keep"]
    rule = next(rule for rule in LANGUAGE.rules if rule.decision == "zawgyi")
    assert "Zawgyi" in rule.words
    assert [rule.holds(label, {}) for label in ("und_Qaag", "mya_Mymr", None)] == [False, True, True]
