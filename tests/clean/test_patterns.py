"""Every cleaning rule on long texts of one pattern: in linear time. What is asserted is processor time, far above the due."""

from __future__ import annotations

import time

import pytest

from tasks.clean import clean_text
from tasks.clean.personal import Masks
from tasks.clean.text import repair, tidy

CHARACTERS = 300_000
SECONDS = 10.0
"""Due is 1 s; what was not linear took 47 s and more."""

PATTERNS = (
    *(
        "<!--",
        "<!-- a ",
        "&lt;!--",
        "<!-- -->",
        "<",
        "<a",
        "<a ",
        "<a b=",
        "<a b='",
        '<a b="',
        "<a b=c ",
        "<p a='x' ",
        "</p",
        "<b>",
    ),
    *("{{", "{{ $a ", "{{ $", "[[", "[[a|", "-{", "'", '"', "&", "&amp;", "&#", "&#1;", "&#x", "`", "``a", "```", "` `"),
    *(
        "@",
        "@if(",
        "@if (a ",
        "a@",
        "a@b",
        "a@b.",
        "@a.",
        "a.b@",
        "juma [at] ",
        "a [at] b.",
        "[at]",
        "( at )",
        "a-b.",
        "a.",
        ".",
    ),
    *("1", "1.", "1 ", "1-", "1.1.1.", "+254 ", "0712 ", "4111 1111 ", "4111-", "A", "A1", "Q1W2E3R4T5 ", "AA00 ", "MPESA "),
    *("id ", "id no no ", "kitambulisho cha ", "nida no. ", "ab:", "::", "f:f:", "\u0301", "a\u0301", "a\u0323\u0301\u0327"),
    *(
        "a",
        "\n",
        " ",
        "  \n",
        " \n",
        "\n ",
        "\r",
        "\r\n",
        "\t",
        "\u200d",
        "\u200f",
        "\u00a0",
        "\u0640",
        "\u1361",
        "\u1200\u1361",
    ),
    *(
        "\u0645\u0640",
        "\ufb01",
        "\ufdfa",
        "\u1100\u1161",
        "\u00c3",
        "\u00c3\u00a9",
        "\u00e2\u20ac\u2122",
        "a\u0080",
        "\u00c2\u00a0",
    ),
    *("\u00f0\u0178\u02dc\u20ac", "\u00c3\u0192\u00c2", "\U0001f600", "\u2581", "-", "()", "( ,", "{|", "|}", "http://a "),
)
MASKS = Masks(countries=(234, 254, 255, 257))


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS, ids=ascii)
def test_a_long_text_of_one_pattern_is_cleaned_in_linear_time(pattern: str) -> None:
    repair("ngâ€™ombe")  # what is loaded late counts for no text's time
    body = (pattern * (CHARACTERS // len(pattern) + 1))[:CHARACTERS]
    begun = time.process_time()
    clean_text(f"Habari za leo, {body} kwaheri\n", MASKS)  # all signs: every rule is asked
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a <!-- b --> c", "a c"),
        ("a <!-- b <!-- c --> d --> e", "a d --> e"),
        ("<!-->a--> b", "b"),
        ("a <!-- b", "a <!-- b"),
        (f"a <!-- {'b' * 6000} --> c", f"a <!-- {'b' * 6000} --> c"),
        (f"<!-- {'b' * 6000} <!-- c --> d", f"<!-- {'b' * 6000} d"),
        ("`<!-- a -->` <!-- b -->c", "`<!-- a -->` c"),
        ("```\n<!-- a -->\n``` <!-- b -->c", "```\n<!-- a -->\n``` c"),
        ("<!-- `a` --> <!-- ` --> b", "b"),
    ],
)
def test_comments(text: str, clean: str) -> None:
    assert tidy(text)[0] == clean
