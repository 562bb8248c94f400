"""Names of namespaces and variants of words, in the wikis of many languages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mwparserfromhell import parse

from tasks.crawl.formats.namespaces import TABLE, folded, hidden_names
from tasks.crawl.formats.wikitext import plain_text
from tests.crawl.test_wikipedia import SITE, dump, read

PROSE = "Mto unaishia baharini."


def shown(markup: str, code: str = "sw", script: str | None = None) -> str:
    return plain_text(parse(markup), hidden_names(code), script)


@pytest.mark.parametrize(
    ("code", "markup"),
    [
        ("sw", "[[Faili:Mto.jpg|thumb|Maelezo]]"),
        ("sw", "[[Picha:Mto.jpg|200px|Maelezo]]"),  # the name before it was renamed
        ("sw", "[[image:mto.jpg]]"),
        ("yo", "[[Fáìlì:Odò|thumb|àwòrán]] [[Ẹ̀ka:Odò]]"),
        ("yo", "[[Fáìlì:Odò|àwòrán]]"),
        ("am", "[[ስዕል:ወንዝ|መግለጫ]] [[መደብ: ወንዞች]]"),
        ("kk", "[[Swret:өзен|сипаттама]] [[سانات:ب]]"),  # aliases in other scripts
        ("ar", "[[\u200fملف:نهر|تصغير|وصف]]"),  # as it is pasted beside text from right to left
        ("fa", "[[پرونده:رود|بندانگشتی|شرح]] [[رده:رود]]"),
        ("tr", "[[Dosya:Irmak|küçükresim|açıklama]] [[KATEGORİ:Irmak]]"),
        ("zh-min-nan", "[[Tóng-àn:Hô|kái-soeh]] [[Lūi-pia̍t:Hô]]"),
        ("bm", "[[Fichier:Ba|vignette|ba]] [[Catégorie:Ba]]"),
        ("wo", "[[Fichier:Dex|dex]]"),  # of the language that it falls back to, as its pages have it
        ("qq", "[[Ukuza:mto.JPG |dextra|maelezo [[marefu]] ]]"),  # no table has the wiki: the name of the file says it
        ("qq", "[[Ukuza:wimbo.ogg]]"),
        ("qq", "[[Ukuza:mto|thumb|maelezo]]"),
        ("qq", "[[Ukuza:mto|x120px]]"),
        ("qq", "[[Ukuza:mto|upright=1.2|maelezo]]"),
    ],
)
def test_files_and_categories_show_nothing_in_any_wiki(code: str, markup: str) -> None:
    assert shown(f"{markup}{PROSE}", code) == PROSE


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("[[Star Wars: Tumaini Jipya|filamu]]", "filamu"),
        ("[[Star Wars: Tumaini Jipya]]", "Star Wars: Tumaini Jipya"),
        ("[[Vita: Kifo|left]]", "left"),
        ("[[:Picha:Mto.jpg|picha]]", "picha"),
        ("[[Lango:Historia|historia]]", "historia"),
        ("[[Mto.jpg|thumb]]", "thumb"),
    ],
)
def test_ordinary_links_with_a_colon_show_their_text(markup: str, text: str) -> None:
    assert shown(markup) == text


def test_a_dump_names_its_own_namespaces(tmp_path: Path) -> None:
    site = SITE.replace(">Picha<", ">Ukuza<").replace(">Jamii<", ">Kundi la\u00a0Vitu<")
    text = f"[[Ukuza:Mto|maelezo]] [[ukuza : Mto|maelezo]] [[Faili:Mto|maelezo]] [[kundi_la vitu:Mito]] {PROSE}"
    (tmp_path / "sw.xml").write_text(dump([("Mto", 0, text)]).replace(SITE, site))
    found, _ = read(tmp_path / "sw.xml", tmp_path / "state")
    assert [document.text for document in found] == [PROSE]


def test_the_table_has_the_names_of_all_wikipedias() -> None:
    rows = dict(line.split("\t") for line in TABLE.read_text("utf-8").splitlines()[1:])
    assert len(rows) > 270
    assert all(folded(name) == name and name for names in rows.values() for name in names.split("|"))
    assert {"faili", "picha", "jamii"} <= hidden_names("sw")
    assert "faili" not in hidden_names("so")


@given(st.text(max_size=30))
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    assert folded(folded(name)) == folded(name)


@pytest.mark.parametrize(
    ("markup", "script", "text"),
    [
        ("-{kk-cyrl:Ш;kk-latn:Sh;kk-arab:ش}-", "Arab", "ش"),
        ("-{kk-cyrl:Ш;kk-latn:Sh;}-", "Latn", "Sh"),
        ("-{kk-cyrl:Ш;kk-latn:Sh}-", None, "Ш"),
        ("-{kk-cyrl:Ш;kk-latn:Sh}-", "Arab", "Ш"),
        ("-{sr-ec:А;sr-el:A}-", "Latn", "A"),
        ("-{zh-cn:网络; zh-tw:網路;}-", "Hant", "網路"),
        ("-{zh:网;zh-hans:网;zh-hant:網}-", "Hant", "網"),
        ("-{巨集=>zh-cn:宏;}-", "Hans", "宏"),
        ("-{A|zh-cn:a;zh-hk:b}-", "Hant", "b"),
        ("-{ike-latn:Nunavut;ike-cans:ᓄᓇᕗᑦ}-", "Cans", "ᓄᓇᕗᑦ"),
        ("-{shi-tfng:ⴰⵎⴰⵏ; shi-latn:aman}-", "Latn", "aman"),
        ("-{en:hello;en-x-piglatin:ellohay}-", "Latn", "hello"),
        ("-{H|zh-cn:a;zh-tw:b}--{R|raw}-", "Hans", "raw"),
        ("saa -{10:30}-", "Latn", "saa 10:30"),
    ],
)
def test_of_a_word_in_several_scripts_the_language_s_own_is_kept(markup: str, script: str | None, text: str) -> None:
    assert shown(markup, "kk", script) == text


VARIANTS = {
    "kk": {"Cyrl": ("kk-cyrl", "kk-kz", "kk"), "Latn": ("kk-latn", "kk-tr"), "Arab": ("kk-arab", "kk-cn")},
    "iu": {"Cans": ("ike-cans", "iu-cans", "iu"), "Latn": ("ike-latn", "iu-latn")},
    "sr": {"Cyrl": ("sr-ec", "sr-cyrl", "sr"), "Latn": ("sr-el", "sr-latn")},
    "ku": {"Latn": ("ku-latn", "ku"), "Arab": ("ku-arab",)},
}
WORDS = {"Cyrl": "Шыңғыстау", "Latn": "Shyńǵystaý", "Arab": "شىڭعىستاۋ", "Cans": "ᓄᓇᕗᑦ"}


@given(st.data())
def test_each_script_is_found_by_each_of_its_codes_in_any_order(data: st.DataObject) -> None:
    code = data.draw(st.sampled_from(sorted(VARIANTS)))
    scripts = data.draw(st.permutations(sorted(VARIANTS[code])))
    blank = data.draw(st.sampled_from(["", " "]))
    parts = [f"{blank}{data.draw(st.sampled_from(VARIANTS[code][script]))}{blank}:{blank}{WORDS[script]}" for script in scripts]
    end = data.draw(st.sampled_from(["", ";", " ; "]))
    wanted = data.draw(st.sampled_from(scripts))
    assert shown(f"Ol -{{{';'.join(parts)}{end}}}- edi.", code, wanted) == f"Ol {WORDS[wanted]} edi."


@pytest.mark.parametrize(
    "name", ["Сурет", "Санат", "Таспа", "Файл", "Swret", "Sanat", "Taspa", "سۋرەت", "سانات", "تاسپا", "File", "Санат "]
)
def test_namespaces_in_all_three_scripts_of_a_wiki(name: str) -> None:
    assert shown(f"Бірінші. [[{name}:Абай|Абай]] Екінші.", "kk") == "Бірінші. Екінші."
