"""How exactly personal data is found, on a list of sentences from many countries."""

from __future__ import annotations

import unicodedata
from functools import cache

import pyarrow as pa
import pytest

from tasks.clean.signs import ADDRESS, AT, NUMBER, signs
from tests.clean.personal_data import lines, measured

found = cache(measured)


def test_the_list_is_of_many_countries_and_scripts() -> None:
    every = lines()
    scripts = {unicodedata.name(character, "").split()[0] for line in every for character in line.text if character.isalpha()}
    assert len(every) >= 400
    assert len({code for line in every for code in line.countries}) >= 40
    assert len(scripts) >= 20
    assert sum(line.text == line.due for line in every) >= 120


@pytest.mark.parametrize(
    ("name", "precision", "recall"),
    [("email", 0.97, 0.97), ("phone", 0.98, 0.98), ("ip", 0.98, 0.98), ("id", 0.98, 0.98), ("card", 0.98, 0.98)],
)
def test_precision_and_recall(name: str, precision: float, recall: float) -> None:
    figures, wrong = found()
    assert figures[name][0] >= precision, wrong
    assert figures[name][1] >= recall, wrong


def test_what_is_found_bears_its_sign() -> None:
    every = lines()
    given = signs(pa.array([line.text for line in every]))
    for name, sign in (("email", AT), ("phone", NUMBER), ("ip", ADDRESS)):
        assert not [line.text for line, bits in zip(every, given, strict=True) if f"[{name}]" in line.due and not bits & sign]
