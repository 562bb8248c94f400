"""The benchmark of our reader of fastText models measures each reader, and compares labels and probabilities."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from data import HERE
from language_reader import DAMAGED, Row, agreement, damage, deaths, measure, table

from tests.annotate.language.test_language import TEXTS


@pytest.mark.slow
def test_ours_and_the_library_give_the_same_labels(tmp_path: Path) -> None:
    file = tmp_path / "strings.json"
    file.write_text(json.dumps(["habari za leo", "the farmers of our village", "", *map(str.lower, TEXTS.values())]))
    commands = {"ours": [sys.executable, HERE / "language_reader.py", "ours"],
                "fasttext": [sys.executable, HERE / "peer_fasttext.py", "all"]}  # fmt: skip
    rows = [measure(name, command, "strings", 10, file) for name, command in commands.items()]
    same, difference = agreement(rows[0].best, rows[1].best)
    assert same == 1
    assert difference < 1e-4
    lines = table(rows, {"ours": 0, "fasttext": 7}).splitlines()
    assert lines[2].startswith("| ours | 10 strings |")
    assert lines[3].endswith(f"| 100.0000% | 0.0e+00 | 7 of {DAMAGED} |")


def test_damaged_models_do_not_end_our_process(tmp_path: Path) -> None:
    files = damage(tmp_path / "damaged")
    assert len({file.read_bytes() for file in files}) == len(files) == DAMAGED
    assert deaths([sys.executable, HERE / "language_reader.py", "ours"], files[:2]) == 0
    assert deaths(["bash", "-c", "kill -SEGV $$"], files[:2]) == 2


def test_another_label_and_another_probability_are_seen() -> None:
    ours, theirs = [("swh_Latn", 0.9), ("eng_Latn", 0.8)], [("swh_Latn", 0.89), ("kin_Latn", 0.8)]
    assert agreement(ours, theirs)[0] == 0.5
    assert abs(agreement(ours, theirs)[1] - 0.01) < 1e-9
    rows = [Row(name, "lines", 2, 10, 1.0, 1.0, best) for name, best in (("fasttext", theirs), ("ours", ours))]
    assert "| 50.0000% | 1.0e-02 |" in table(rows, {"ours": 0, "fasttext": 0})
