"""Which of two extractors is believed, and that neither lets navigation through."""

from __future__ import annotations

import pytest
from lxml.html import document_fromstring

from tasks.crawl.pages.main_text import Shown, main_text

FACTS = (
    "Wakulima wa kijiji hiki walivuna magunia mengi ya mahindi baada ya mvua za masika kunyesha kwa wakati.",
    "Mkuu wa shule amesema kwamba wanafunzi wote watapata vitabu vipya kabla ya mwezi huu kwisha.",
    "Wavuvi wa ziwa wameomba serikali ijenge soko la samaki karibu na bandari ya zamani ya mji.",
)
CARDS = "".join(
    f"<div class='card'><h3>Kadi ya {number}</h3><p>{fact}</p></div>"
    for number, fact in zip(("kwanza", "pili", "tatu"), FACTS, strict=True)
)
NAVIGATION = "<a class='skip-link' href='#hapa'>Ruka menyu</a><nav><a href='/'>Mwanzo</a> <a href='/duka'>Duka letu</a></nav>"
FOOTER = "<footer><p>Simu ya ofisi na anwani ya posta</p></footer>"
OTHERS = "".join(f"<li><a href='/{number}'>Habari nyingine kuhusu jambo namba {number}</a></li>" for number in range(12))


def page(body: str) -> tuple[Shown, str]:
    html = f"<html><head><title>Kijiji</title></head><body>{NAVIGATION}<main>{body}</main>{FOOTER}</body></html>"
    shown = Shown(html)
    return shown, main_text(shown, document_fromstring(html))


def test_a_page_of_cards_keeps_their_headings_and_all_else_that_is_no_navigation() -> None:
    shown, text = page(f"<h1>Habari za kijiji</h1>{CARDS}")
    assert shown.is_mostly_main()
    expected = ["Habari za kijiji"]
    for number, fact in zip(("kwanza", "pili", "tatu"), FACTS, strict=True):
        expected += [f"Kadi ya {number}", fact]
    assert text.split("\n") == expected


@pytest.mark.parametrize(
    ("beside", "lost"),
    [
        (f"<div class='sidebar'><h4>Matangazo ya biashara</h4><p>{FACTS[2]}</p></div>", FACTS[2]),
        (f"<div><ul>{OTHERS}</ul></div>", "jambo namba 7"),
    ],
    ids=["side bar", "links"],
)
def test_what_class_names_or_links_make_doubtful_is_left_to_trafilatura(beside: str, lost: str) -> None:
    shown, text = page(f"<article><h1>Habari</h1><p>{FACTS[0]}</p><p>{FACTS[1]}</p><p>{FACTS[0][::-1]}</p></article>{beside}")
    assert not shown.is_mostly_main()
    assert FACTS[0] in text
    assert FACTS[1] in text
    assert lost not in text
    assert "Duka letu" not in text


def test_where_trafilatura_keeps_one_article_of_many_the_rest_is_not_lost() -> None:
    articles = "".join(f"<section><h2>Sehemu {n}</h2><div>{FACTS[n % 3]} {n}</div></section>" for n in range(20))
    shown, text = page(
        f"<article><p>{FACTS[0]}</p></article>{articles}<aside><p>{FACTS[1]} {FACTS[2]}</p><ul>{OTHERS * 3}</ul></aside>"
    )
    assert not shown.is_mostly_main()
    assert sum(f"{FACTS[n % 3]} {n}" in text for n in range(20)) >= 18


def test_cells_of_a_row_are_kept_apart() -> None:
    rows = "".join(f"<tr><td>Zao namba {n}<td>{n} gunia" for n in range(3, 6))
    shown, text = page(f"<p>{FACTS[0]}</p><table>{rows}</table><p>one<br>two <i>a</i>  b</p>")
    assert shown.is_mostly_main()
    assert text.split("\n")[1:] == ["Zao namba 3\t3 gunia", "Zao namba 4\t4 gunia", "Zao namba 5\t5 gunia", "one", "two a b"]


def test_a_page_without_text_has_no_main_text() -> None:
    assert page("")[1] == ""
