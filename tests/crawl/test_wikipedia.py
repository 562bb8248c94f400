from __future__ import annotations

import bz2
import hashlib
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mwparserfromhell import parse

from lang_configs.sources import WikipediaSource
from tasks.core.documents import Document
from tasks.core.errors import StageError
from tasks.crawl import batches, estimate
from tasks.crawl.formats.wikitext import plain_text
from tasks.crawl.sources.wikipedia import Wikipedia
from tasks.net import download as download_module
from tests.net.range_server import serve_files

SITE = """<siteinfo><sitename>Wikipedia</sitename><dbname>swwiki</dbname>
<base>https://sw.wikipedia.org/wiki/Mwanzo</base>
<namespaces><namespace key="-2" case="first-letter">Media</namespace><namespace key="0" case="first-letter" />
<namespace key="6" case="first-letter">Picha</namespace><namespace key="10" case="first-letter">Kigezo</namespace>
<namespace key="14" case="first-letter">Jamii</namespace></namespaces></siteinfo>"""

NAIROBI = """{{Infobox Mji
|jina = Nairobi
|picha = [[Picha:Nairobi.jpg|300px]]
|wakazi = {{formatnum:4397073}}
}}
[[Picha:Nairobi skyline.jpg|thumb|right|Mandhari ya [[Nairobi]] mwaka 2015<ref>Picha ya ''Kenya''</ref>]]
'''Nairobi''' ni [[mji mkuu]] wa [[Kenya|Jamhuri ya Kenya]]<ref name="sensa">{{cite web|url=http://knbs.or.ke|title=Sensa}}</ref>,
na wakazi wake ni zaidi ya milioni&nbsp;nne ({{formatnum:4397073}}).<ref name="sensa" /> Jina ni {{lang|mas|Enkare Nairobi}}.

== Historia ==
Mji ulianzishwa mwaka [[1899]]<!-- tarehe kamili haijulikani --> kama kituo cha reli.
=== Wakati wa ukoloni ===
* Reli ya [[Mombasa]] hadi [[Ziwa Viktoria]]
* [http://www.nairobi.go.ke Kaunti ya Nairobi] ilianza 2013

== Wakazi ==
{| class="wikitable"
! Mwaka !! Wakazi
|-
| 1969 || 509286
|}

== Marejeo ==
<references />
== Viungo vya nje ==
{{Commons|Nairobi}}
[[Jamii:Miji ya Kenya]]
[[Category:Capitals]]
[[en:Nairobi]]
[[zh-min-nan:Nairobi]]
__NOTOC__
"""

PAGES = [
    ("Nairobi", 0, NAIROBI),
    (
        "Kaunti za Kenya",
        0,
        "Kenya ina '''kaunti''' 47. Angalia pia [[:Jamii:Kaunti]], [[:en:County|county]] na H<sub>2</sub>O.",
    ),
    ("Nairobi (kata)", 0, "#REDIRECT [[Nairobi]]"),
    ("Majadiliano:Nairobi", 1, "Nadhani picha hii si nzuri. [[Mtumiaji:Juma|Juma]]"),
    ("Mlima", 0, "{{maana}}\n'''Mlima''' unaweza kumaanisha:\n* [[Mlima Kenya]]\n* [[Mlima Meru]]"),
    ("Simba (maana)", 0, "'''Simba''' ni jina la:\n* [[Simba]]\n__DISAMBIG__"),
    ("Kigezo:Commons", 10, "<div>[[Picha:Commons.svg]]</div>"),
    ("Jedwali tu", 0, "{| class='wikitable'\n| 1 || 2\n|}\n[[Jamii:Majedwali]]"),
    (
        "Mto Tana & Athi",
        0,
        "Mto <b>Tana</b> ni mrefu.<br/>Unaishia [[Bahari ya Hindi]].<gallery>\nPicha:Tana.jpg|Mto\n</gallery>",
    ),
    (
        "Wikitext mbovu",
        0,
        "Sentensi nzuri ya kwanza.\n{{Infobox|a=[[b\nSentensi ya pili.<ref>haina mwisho\n{| \n| kiini\nSentensi ya tatu.",
    ),
    ("Hesabu", 0, "Eneo ni <math>\\pi r^2</math> ( ; ) kwa duara . Bei ni 5&nbsp;000 &amp; zaidi."),
    ("Jamii:Miji", 14, "Miji yote."),
]


def dump(pages: list[tuple[str, int, str]] = PAGES) -> str:
    rows = []
    for number, (title, namespace, text) in enumerate(pages):
        redirect = '<redirect title="Nairobi" />' if text.startswith("#REDIRECT") else ""
        rows.append(
            f"<page><title>{escape(title)}</title><ns>{namespace}</ns><id>{number}</id>{redirect}<revision><id>{number}</id>"
            f"<timestamp>2026-10-{number % 28 + 1:02d}T08:00:00Z</timestamp><model>wikitext</model><format>text/x-wiki</format>"
            f'<text bytes="1" xml:space="preserve">{escape(text)}</text></revision></page>\n'
        )
    head = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="sw">'
    return f"{head}\n{SITE}\n{''.join(rows)}</mediawiki>\n"


def read(path: Path | str, state: Path) -> tuple[list[Document], Counter[str]]:
    report: Counter[str] = Counter()
    found = list(Wikipedia(WikipediaSource(wiki="swwiki", dump=str(path))).documents(state, report))
    return found, report


@pytest.fixture
def articles(tmp_path: Path) -> dict[str, Document]:
    (tmp_path / "sw.xml").write_text(dump())
    found, report = read(tmp_path / "sw.xml", tmp_path / "state")
    assert report == {"documents": 5, "redirect": 1, "disambiguation": 2, "other_namespace": 3, "no_text": 1}
    return {str(document.title): document for document in found}


def test_articles_are_prose_with_headings(articles: dict[str, Document]) -> None:
    assert articles["Nairobi"].text.split("\n") == [
        "Nairobi ni mji mkuu wa Jamhuri ya Kenya,",
        "na wakazi wake ni zaidi ya milioni nne. Jina ni Enkare Nairobi.",
        "Historia",
        "Mji ulianzishwa mwaka 1899 kama kituo cha reli.",
        "Wakati wa ukoloni",
        "Reli ya Mombasa hadi Ziwa Viktoria",
        "Kaunti ya Nairobi ilianza 2013",
    ]
    assert articles["Kaunti za Kenya"].text == "Kenya ina kaunti 47. Angalia pia Jamii:Kaunti, county na H2O."
    assert articles["Mto Tana & Athi"].text == "Mto Tana ni mrefu.\nUnaishia Bahari ya Hindi."
    assert articles["Hesabu"].text == "Eneo ni kwa duara. Bei ni 5 000 & zaidi."


def test_no_markup_is_left_and_broken_markup_costs_only_its_lines(articles: dict[str, Document]) -> None:
    for document in articles.values():
        assert not any(mark in document.text for mark in ("[[", "]]", "{{", "}}", "<ref", "{|", "|}", "'''", "__", "thumb"))
    assert "Sentensi nzuri ya kwanza." in articles["Wikitext mbovu"].text


def test_provenance(articles: dict[str, Document]) -> None:
    assert articles["Mto Tana & Athi"].url == "https://sw.wikipedia.org/wiki/Mto_Tana_%26_Athi"
    assert articles["Nairobi"].license == "CC-BY-SA-4.0"
    assert articles["Nairobi"].published_at == datetime(2026, 10, 1, 8, tzinfo=UTC)
    assert articles["Nairobi"].fetched_at is None
    assert articles["Nairobi"].source == "wikipedia"


def test_a_dump_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sw.xml").write_text(dump())
    local, _ = read(tmp_path / "sw.xml", tmp_path / "local")
    with serve_files() as server:
        server.files["sw.xml.bz2"] = bz2.compress(dump().encode())
        fetched, _ = read(f"{server.base}/sw.xml.bz2", tmp_path / "state")
        again, _ = read(f"{server.base}/sw.xml.bz2", tmp_path / "state")
        assert len(server.requests) == 1
    assert [replace(document, fetched_at=None) for document in fetched] == local
    assert fetched == again
    assert fetched[0].fetched_at is not None
    monkeypatch.setenv("LUGHA_OFFLINE", "1")
    with pytest.raises(StageError, match=r"https://dumps.wikimedia.org/swwiki/latest/.*offline"):
        list(Wikipedia(WikipediaSource(wiki="swwiki")).documents(tmp_path / "new", Counter()))


def test_a_dump_is_resumed_and_checked_by_the_list_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "BACK_OFF", 0.001)
    packed = bz2.compress(dump(many(400)).encode())
    name, sums = "swwiki/latest/swwiki-latest-pages-articles.xml.bz2", "swwiki/latest/swwiki-latest-sha1sums.txt"
    lines = f"{'0' * 40}  swwiki-20261101-pages-articles.xml.bz2.bz2\n{{}}  swwiki-20261101-pages-articles.xml.bz2\n"
    with serve_files() as server:
        server.files = {name: packed, sums: lines.format(hashlib.sha1(packed).hexdigest()).encode()}
        cuts = iter([len(packed) // 3, len(packed) // 3])
        server.cut = lambda length: next(cuts, None)
        found, _ = read(f"{server.base}/{name}", tmp_path / "state")
        assert len(found) == 400
        assert server.sent <= 1.1 * len(packed) + 300
        server.files[sums] = lines.format("f" * 40).encode()
        with pytest.raises(StageError, match=r"not f{40} as its publisher says"):
            read(f"{server.base}/{name}", tmp_path / "other")
        source = WikipediaSource(wiki="swwiki", dump=f"{server.base}/{name}", sha256="0" * 64)
        with pytest.raises(StageError, match=r"not 0{64}"):
            list(Wikipedia(source).documents(tmp_path / "third", Counter()))
        assert estimate(WikipediaSource(wiki="swwiki", dump=f"{server.base}/{name}")).bytes == len(packed)


MARKUP = [
    "{{Infobox Mtu|jina=[[Siri]]|kazi={{Orodha|[[Siri]]|{{Siri}}}}<ref>{{cite|siri}}</ref>}}",
    '{| class="wikitable"\n|-\n! siri <ref>siri</ref>\n|-\n|\n{| \n| siri\n|}\n| [[siri]]\n|}',
    "<ref group=a name='b'>siri {{cite web|url=http://siri.example|title=[[Siri]]}} {{nukuu|{{Siri}}}}</ref>",
    '<REF NAME="siri"/><ref name=siri /><references responsive><ref name="x">siri</ref></references>',
    "[[Picha:Siri.jpg|thumb|siri [[siri|siri]] na [[siri]]<ref>siri</ref>|alt=siri]]",
    "[[File:Siri.ogg]][[Image:Siri.png|20px]][[Category:Siri|*]][[Jamii:Siri]]",
    "<gallery mode=packed>\nPicha:Siri.jpg|[[siri]]\n</gallery><math>siri_{[[x]]}</math>",
    "[[en:Siri]]\n[[fr:Siri]]\n[[zh-min-nan:Siri]]\n[[simple:Siri]]",
    "<!-- siri [[siri]] {{siri}} <ref> -->__TOC__ __NOEDITSECTION__",
    "{{#if:{{{1|}}}|siri|{{siri}}}}{{PAGENAME}}{{{siri}}}{{mbegu-jio}}",
    "<timeline>\nsiri [[siri]]\n</timeline><syntaxhighlight lang=c>siri {{ [[ </syntaxhighlight>",
    "<score>siri</score><imagemap>\nPicha:siri.png\n[[siri]]\n</imagemap>",
]
BROKEN = ["{{Siri|a=[[b", "[[Siri|", "<ref>siri", "{| siri\n| siri", "}} siri ]]", "<nowiki>[[siri]] {{siri}} <ref></nowiki>"]
MARKS = ("[[", "]]", "{{", "}}", "<ref", "{|", "'''", "__", "<!--")


def test_fifty_pages_leave_no_markup_and_keep_their_prose(tmp_path: Path) -> None:
    pages = []
    for n in range(50):
        pieces = [MARKUP[(n + k) % len(MARKUP)] for k in range(3)]
        kept = f"'''Kijiji {n}''' ni [[kijiji]] cha [[Wilaya ya Mbeya|Mbeya]]<ref>siri {n}</ref> chenye watu ''{n * 37}''."
        tail = f"== Historia ==\nKilianzishwa mwaka [[{1900 + n}]] na [http://siri.tz wakulima].\n== Marejeo ==\n<references/>"
        broken = BROKEN[n % len(BROKEN)] if n > 30 else ""
        pages.append((f"Kijiji {n}", 0, "\n".join([pieces[0], kept, pieces[1], tail, pieces[2], broken])))
    (tmp_path / "sw.xml.bz2").write_bytes(bz2.compress(dump(pages).encode()))
    found, report = read(tmp_path / "sw.xml.bz2", tmp_path / "state")
    assert report == {"documents": 50}
    for n, document in enumerate(found):
        assert not any(mark in document.text.lower() for mark in MARKS)
        lines = document.text.split("\n")
        assert lines[0] == f"Kijiji {n} ni kijiji cha Mbeya chenye watu {n * 37}."
        assert lines[1:3] == ["Historia", f"Kilianzishwa mwaka {1900 + n} na wakulima."]
        assert n > 30 or lines[3:] == []


@pytest.mark.parametrize(
    ("wiki", "base"),
    [
        ("swwiktionary", "https://sw.wiktionary.org/wiki/"),
        ("sowiki", "https://so.wikipedia.org/wiki/"),
        ("zh_min_nanwikisource", "https://zh-min-nan.wikisource.org/wiki/"),
    ],
)
def test_sister_projects_are_read_by_the_same_code(tmp_path: Path, wiki: str, base: str) -> None:
    text = dump([("kitabu", 0, "== Kiswahili ==\n# Kurasa zilizofungwa pamoja ili [[soma|zisomwe]].")])
    (tmp_path / "dump.xml").write_text(text.replace("<base>https://sw.wikipedia.org/wiki/Mwanzo</base>", ""))
    source = WikipediaSource(wiki=wiki, dump=str(tmp_path / "dump.xml"))
    found = list(Wikipedia(source).documents(tmp_path / "state", Counter()))
    assert [(document.url, document.text) for document in found] == [
        (f"{base}kitabu", "Kiswahili\nKurasa zilizofungwa pamoja ili zisomwe.")
    ]


def many(count: int) -> list[tuple[str, int, str]]:
    return [
        (f"Kijiji {i}", 0, f"Kijiji cha {i} kiko kilomita {i * 37 % 91} kutoka mjini, karibu na [[mto]] {i * i}.")
        for i in range(count)
    ]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_dump_keeps_what_comes_before(tmp_path: Path, share: float) -> None:
    whole = b"".join(bz2.compress(part) for part in blocks(dump(many(400)).encode(), 8000))
    path = tmp_path / "sw.xml.bz2"
    path.write_bytes(whole[: int(len(whole) * share)])
    found, report = read(path, tmp_path / "state")
    assert report == {"documents": len(found), "dump_cut": 1}
    assert share - 0.1 < len(found) / 400 <= share + 0.05
    assert [document.title for document in found] == [f"Kijiji {i}" for i in range(len(found))]


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def test_a_damaged_dump_keeps_what_comes_before(tmp_path: Path) -> None:
    whole = bytearray(b"".join(bz2.compress(part) for part in blocks(dump(many(400)).encode(), 8000)))
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(64)
    (tmp_path / "sw.xml.bz2").write_bytes(whole)
    found, report = read(tmp_path / "sw.xml.bz2", tmp_path / "state")
    assert report == {"documents": len(found), "dump_damaged": 1}
    assert 150 < len(found) < 250
    xml = dump(many(50)).replace("Kijiji 30</title>", "Kijiji 30</titl>")
    (tmp_path / "sw.xml").write_text(xml)
    found, report = read(tmp_path / "sw.xml", tmp_path / "other")
    assert report == {"documents": 30, "dump_damaged": 1}


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    for name, content in {"page.xml": "<html><p>404</p></html>", "empty.xml": "", "noise.bz2": "BZh9 siyo dampo"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(StageError, match="this is no dump"):
            read(tmp_path / name, tmp_path / f"state-{name}")
    with pytest.raises(StageError, match="there is no dump"):
        read(tmp_path / "hakuna.xml", tmp_path / "state")


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    (tmp_path / "siri.txt").write_text("SIRI")
    text = dump([("Bomu", 0, "Habari @ leo."), ("Nairobi", 0, "Nairobi ni mji.")])
    entities = f'<!ENTITY e "PANUA"><!ENTITY s SYSTEM "file://{tmp_path}/siri.txt">'
    (tmp_path / "sw.xml").write_text(f"<!DOCTYPE mediawiki [{entities}]>" + text.replace("@", "&e; &s;"))
    found, _ = read(tmp_path / "sw.xml", tmp_path / "state")
    assert "SIRI" not in found[0].text
    assert "PANUA" not in found[0].text
    assert found[1].text == "Nairobi ni mji."
    bomb = "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 10))
    (tmp_path / "bomb.xml").write_text(f'<!DOCTYPE mediawiki [<!ENTITY b0 "boom">{bomb}]>' + text.replace("@", "&b9;"))
    with pytest.raises(StageError, match="this is no dump"):  # libxml2 counts what the entities would become
        read(tmp_path / "bomb.xml", tmp_path / "bomb")


@pytest.mark.parametrize("stop", [1, 37, 100, 101, 399])
def test_a_stopped_crawl_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    monkeypatch.setattr(batches, "BATCH_CHARACTERS", 2000)
    (tmp_path / "sw.xml").write_text(dump(many(400)))
    whole, counts = read(tmp_path / "sw.xml", tmp_path / "whole")
    source = WikipediaSource(wiki="swwiki", dump=str(tmp_path / "sw.xml"))
    assert list(islice(Wikipedia(source).documents(tmp_path / "state", Counter()), stop)) == whole[:stop]
    kept = len(list((tmp_path / "state" / "articles").iterdir()))
    found, report = read(tmp_path / "sw.xml", tmp_path / "state")
    assert found == whole
    assert report == counts
    assert kept < len(list((tmp_path / "state" / "articles").iterdir())) or stop == 399


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "[[",
                "]]",
                "{{",
                "}}",
                "{|",
                "|}",
                "|",
                "<ref>",
                "</ref>",
                "<ref",
                "==",
                "\n",
                "'''",
                "Jina ",
                "a b",
                ":",
                "Picha:",
                "* ",
                "<br>",
                "&lt;",
                "<!--",
            ]
        )
    )
)
def test_no_wikitext_leaves_markup_or_raises(parts: list[str]) -> None:
    text = plain_text(parse("".join(parts)), frozenset({"picha"}))
    assert not any(mark in text for mark in ("[[", "]]", "{{", "}}", "{|", "<ref", "\0"))
