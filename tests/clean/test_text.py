from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.clean import clean_text
from tasks.clean.personal import Masks
from tasks.clean.signs import SUSPECT, signs
from tasks.clean.text import repair

MASKS = Masks(countries=[254, 255, 256, 250, 257])
PIECES = [
    "habari", "ya", "leo", " ", "  ", "\n", "\n\n\n", "\t", "\r\n", "\u00a0", "\u200b", "\u00ad", "\ufeff", "e", "\u0301", "ọ̀",
    "កខ", "ា", "ẹ", "ɗan", "ƙasa", "ʼ", "’", "“", "”", "é", "â€™", "Ã©", "\x92", "ሰላም", "\u1361", "\u1361\u1361",
    "፩", "።", "هـ", "عـ", "ـا",
    "ﻻ", "ﬁ", "<", ">", "<br/>", "<p>", "</b>", "<!--", "-->", "```", "@if", "@", "(", ")", "[at]", "at", "{{ $a }}", "0712",
    "345", "678", "+254", "-", ".", "41.90.64.12", ":", "::", "2001:db8", "QGH7A1B2C3", "M-PESA", "4111", "1111",
    "Kitambulisho",
    "12345678", "juma@example.org", "gmail.com", "가", "\u1161", "\u11a8", "😀", "\u2581",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
ANY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200)


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("Habari\u00a0za \t leo", "Habari za leo"),
        ("moja\r\nmbili\rtatu", "moja\nmbili\ntatu"),
        ("aya\n \n\n\naya", "aya\n\naya"),
        ("e\u0301", "\u00e9"),
        ("o\u0323\u0300ro\u0323\u0300", "\u1ecd\u0300r\u1ecd\u0300"),
        ("wa\u00adtoto wa\u200b\ufeffnne", "watoto wanne"),
        ("Tom &amp; Jerry &#39;leo&#x27; &nbsp;kesho", "Tom & Jerry 'leo' kesho"),
        ("AT&T; R&D", "AT&T; R&D"),
        ("\u2581neno\u2581\u2581lingine", "neno lingine"),
        ("ki\u200dswa", "ki\u200dswa"),
        ("ខ្ញុំ\u200bទៅ\u200b\ufeff\u200bសាលា\u200b", "ខ្ញុំ\u200bទៅ\u200bសាលា"),
        ("ไป\u200bโรงเรียน \u200b5\u200bคน", "ไป\u200bโรงเรียน 5คน"),
        ("ပြည်\u200bသူ", "ပြည်\u200bသူ"),
        ("日本\u200b語", "日本語"),
        ("  \n\x00\n ", ""),
    ],
)
def test_unicode_and_white_space(dirty: str, expected: str) -> None:
    assert clean_text(dirty)[0] == expected


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("\u1230\u120b\u121d\u1361\u1208\u12d3\u1208\u121d\u1362", "ሰላም ለዓለም።"),
        ("ቤት\u1361ሠራ\u1361\u1361 ልጅ\u1361መጣ\u1361\u1361", "ቤት ሠራ። ልጅ መጣ።"),
        ("እኔ\u1361ቤት\u1361ሄድኩ\u1361 እሱ\u1361መጣ", "እኔ ቤት ሄድኩ እሱ መጣ"),
        ("ኣነ ኣብ ገዛ\u1361 ንሱ ኣብ ስራሕ\u1361 ኣለና", "ኣነ ኣብ ገዛ\u1361 ንሱ ኣብ ስራሕ\u1361 ኣለና"),
        ("በ12\u136130 ሰዓት በ፩\u1361፪", "በ12\u136130 ሰዓት በ፩\u1361፪"),
        ("عـــاش سنة 245 هـ", "عاش سنة 245 هـ"),
        ("\ufefb \ufe91\ufeec\ufe8e", "لا بها"),
        ("sa\ufb01 na \ufb02", "safi na fl"),
        ("\ufdfa", "\ufdfa"),
        ("他说，好。", "他说，好。"),
        ("ߒߞߏ ߞߊ߲", "ߒߞߏ ߞߊ߲"),
        ("𞤀𞤣𞤤𞤢𞤥 𞤆𞤵𞤤𞤢𞤪", "𞤀𞤣𞤤𞤢𞤥 𞤆𞤵𞤤𞤢𞤪"),
        ("ދިވެހި ބަސް", "ދިވެހި ބަސް"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("ශ්\u200dරී ලංකා", "ශ්\u200dරී ලංකා"),
        ("র\u200d্যাম", "র\u200d্যাম"),
        ("അവന്\u200d", "അവന്\u200d"),
        ("བོད་སྐད། དེ་རིང་", "བོད་སྐད། དེ་རིང་"),
        ("ᐃᓄᒃᑎᑐᑦ ᖃᓂᐅᔮᖅᐸᐃᑦ", "ᐃᓄᒃᑎᑐᑦ ᖃᓂᐅᔮᖅᐸᐃᑦ"),
        ("ꆈꌠꁱꂷ", "ꆈꌠꁱꂷ"),
    ],
)
def test_scripts(dirty: str, expected: str) -> None:
    assert clean_text(dirty)[0] == expected


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("<p>Habari</p><p>za leo</p>", "Habari\n\nza leo"),
        ("moja<br/>mbili<BR>tatu", "moja\nmbili\ntatu"),
        ('Soma <a href="https://example.org/a?b=1">hapa</a> zaidi', "Soma hapa zaidi"),
        ("ki<b>swa</b>hili &lt;i&gt;safi&lt;/i&gt;", "kiswahili safi"),
        ("juu<!-- maoni\nya ndani -->chini", "juuchini"),
        ("Vitabu\n@foreach ($books as $book)\nBei: {{ $book->price }}\n  @endforeach\nNyuma", "Vitabu\nNyuma"),
    ],
)
def test_leftovers_of_html_and_templates(dirty: str, expected: str) -> None:
    text, counts = clean_text(dirty)
    assert text == expected
    assert counts["markup"] >= 1


@pytest.mark.parametrize(
    "text",
    [
        "a < b na b > c", "x <y> z", "nakupenda <3", "<music>\nnaam", "<UNK> pamoja", "git push origin <branch>",
        "an <a> element", "@juma: habari @if", "{{lang}}: neno", "a <- b --> c",
        "Tumia `<h1>` au `</p>` hapa", "`{{ $a }}` au `{{ $b }}`", "```a```@if", "@if `a`",
        "Andika hivi:\n```html\n<p>Habari</p>\n<!-- hapa -->\n```\nBasi.",
    ],
)  # fmt: skip
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert clean_text(text)[0] == text


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("ngâ€™ombe", "ng’ombe"),
        ("eneo la Misalai â€“ shule", "eneo la Misalai – shule"),
        ("cafÃ© crÃ¨me", "café crème"),
        ("áˆ°áˆ‹áˆ\u009d", "ሰላም"),
        ("Ngi\u0092jabule", "Ngi’jabule"),
    ],
)
def test_wrong_decodings_are_repaired(dirty: str, expected: str) -> None:
    text, counts = clean_text(dirty)
    assert (text, counts["repaired"]) == (expected, 1)


@pytest.mark.parametrize(
    "text",
    [
        "“ẹbí” àti “Gbà sọ́kọ̀”; ohun tá “owó-ò mi lára ṣòkòtò yìí”", "Ɗan ƙasa mai ɓoye ya ’yanta “mu”",
        "À côté du CAFÉ — « forêt », où l’été… naïf", "São Paulo não é ilhã–ã", "ሰላም ለዓለም። “ዛሬ”", "Ng’ombe – bei £5, €10, 20°",
    ],
)  # fmt: skip
def test_good_text_is_not_repaired(text: str) -> None:
    assert clean_text(text)[0] == text


def test_a_lost_letter_is_no_dash() -> None:
    assert clean_text("የሚያገ\x97ቸውን")[0] == "የሚያገቸውን"


@given(st.text(alphabet="abiouọẹṣàáèéìíòóùúńǹɗɓƙƴ’ ,.\n'-ñçêîôûëïÉÀሰላምለዓ።", max_size=300))
def test_text_without_wrong_decodings_is_unchanged(text: str) -> None:
    assert repair(text) == text


@settings(deadline=None)  # the first example loads the compiled kernel
@given(TEXTS | ANY)
@example("&\u200bamp;")
@example("07\u200b12 345\u200b 678")
@example("``````@if")
def test_signs_never_hide_a_need(text: str) -> None:
    assert clean_text(text, MASKS, int(signs(pa.array([text]))[0])) == clean_text(text, MASKS)


@settings(deadline=None)
@given(TEXTS | ANY)
def test_cleaning_is_nfc_and_idempotent(text: str) -> None:
    once = clean_text(text, MASKS)[0]
    assert unicodedata.is_normalized("NFC", once)
    assert not set(once) & set("\r\t\u00a0\u2581")
    assert not re.search("(?<![ក-៓])\u200b|\u200b(?![ក-៓])", once)
    assert "  " not in once
    assert "\n\n\n" not in once
    # what was resolved or taken out may leave the halves of another one (`&amp;lt;` is the text `&lt;`, and stays it), and
    # ftfy weighs the evidence of a whole line
    if not set("&<>{@") & set(text) and not signs(pa.array([once]))[0] & SUSPECT:
        assert clean_text(once, MASKS)[0] == once


@pytest.mark.parametrize(
    "name", ["yoruba/masakhanews_train", "hausa/masakhanews_fewshot_train", "amharic/masakhanews_fewshot_train"]
)
def test_real_news_has_nothing_to_repair(bundle: Path, name: str) -> None:
    with zstandard.open(bundle / "raw" / f"{name}.jsonl.zst", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    cleaned = [clean_text(text) for text in texts]
    assert texts
    assert not any(counts["repaired"] or counts["markup"] for _, counts in cleaned)
