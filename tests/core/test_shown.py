"""What others wrote, as it is shown: no control character, nothing invisible, nothing that looks like a line of ours."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.core.documents import Document, kept_line, to_table
from tasks.core.shown import shown, shown_json, shown_line, shown_within

ANY = st.text(st.characters())  # lone surrogates, too
ESCAPES = ["\x1b[2J", "\x1b]0;kichwa\x07", "\x9b31m", "\x90q\x9c", "\x08\x08", "\x7f", "\0", "\ufffe", "\ud800"]
HIDDEN = [*map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200E, 0x200F, 0x061C, 0x2060, 0xFEFF, 0xAD])]
HIDDEN += ["\U000e0041", "\u3164", "\u180e", "\u200c", "\u200d"]
SPELLINGS = [
    "می\u200cخواهم",
    "क्\u200dष",
    "ng'ombe",
    "ɓera",
    "Ọjọ́",
    "ཀྵ",
    "سورة ۝١",
    "一二三",
    "\N{FAMILY}",
    "a\tb\nc",
    "ß\u00a0é",
]


@given(ANY)
@example("".join(ESCAPES + HIDDEN))
def test_whatever_is_shown_acts_on_nothing(text: str) -> None:
    kinds = {unicodedata.category(one) for one in shown(text) if one not in "\n\t" and one not in "\u200c\u200d"}
    assert not kinds & {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert shown(shown(text)) == shown(text)
    assert "\n" not in shown_line(text) and "\t" not in shown_line(text)
    shown(text).encode()


@given(ANY)
@example("".join(ESCAPES + HIDDEN))
def test_json_loses_nothing_and_acts_on_nothing(text: str) -> None:
    document = shown_json({text: [text]})
    assert json.loads(document) == {text: [text]}
    assert shown(document) == document


@pytest.mark.parametrize("text", ESCAPES)
def test_what_a_terminal_obeys_is_replaced(text: str) -> None:
    assert shown(f"a{text}b").startswith("a\ufffd")


@pytest.mark.parametrize("character", HIDDEN)
def test_what_nobody_sees_is_left_out(character: str) -> None:
    assert shown(f"benki{character}.example") == "benki.example"


@pytest.mark.parametrize("text", SPELLINGS)
def test_what_a_language_is_written_with_stays(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize("end", ["\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029", "\n", " \n\t "])
def test_a_title_is_one_line(end: str) -> None:
    assert shown_line(f"moja{end}mbili") == "moja mbili"


def test_values_are_shown_inside() -> None:
    assert shown_within({"a\x1b": ["b\x07", 1, None, {"c": "\u202ed"}]}) == {"a\ufffd": ["b\ufffd", 1, None, {"c": "d"}]}


@given(ANY)
@example("\ud800")
def test_what_is_kept_of_a_title_can_be_written_and_is_one_line(text: str) -> None:
    kept = kept_line(text)
    assert not [one for one in kept if unicodedata.category(one) in ("Cc", "Cs")]
    to_table([Document("maandishi", "files", url=text, title=text, license=text)])


def test_an_address_of_a_document_holds_no_secret_and_no_folder() -> None:
    one, other = (Document("neno", "files", url=f"https://{user}example.org/a") for user in ("juma:siri@", ""))
    assert (one.url, one.id) == (other.url, other.id) == ("https://example.org/a", other.id)
    assert Document("neno", "files", url="file:///home/juma/a.html").url == "file:a.html"
    assert Document("neno", "files", title="/sokoni/ kuna nini").title == "/sokoni/ kuna nini"
