from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tasks.annotate.language import PACKAGED, identify_column
from tasks.annotate.language.pieces import as_column, pieces
from tasks.annotate.language.words import affinity, derive_lists, list_sizes, lists_beside, write_lists
from tasks.core.errors import StageError
from tests.annotate.language.test_language import TEXTS


def test_lists_hold_frequent_words_that_others_hardly_have() -> None:
    own = ["shamba letu na mahindi yetu", "neno na mji"] * 2000
    lists = derive_lists({"swh_Latn": own, "zdj_Latn": ["mji na yilo"] * 4000, "few_Latn": ["mahindi moja"] * 50})
    assert lists["swh_Latn"] == ["letu", "neno", "shamba", "yetu"]  # mahindi is frequent in another one, na and mji too
    assert lists["zdj_Latn"] == ["yilo"]
    assert "few_Latn" not in lists


def test_words_are_found_without_their_diacritics() -> None:
    lists = derive_lists({"yor_Latn": ["oṣù tí ó kọjá"] * 3000, "swh_Latn": ["mwezi uliopita"] * 6000})
    assert {"oṣù", "osu", "kọjá", "koja"} <= set(lists["yor_Latn"])


def test_affinity_is_the_share_of_listed_words(tmp_path: Path) -> None:
    model = tmp_path / "mine.ftz"
    write_lists(lists_beside(model), {"swh_Latn": ["mahindi", "ng'ombe"], "amh_Ethi": ["ሰላም"]})
    texts = ["Mahindi mengi, NG'OMBE wawili", "mahindi", "ሰላም ለሁላችሁ", "mahindi", "2026"]
    labels = ["swh_Latn", "amh_Ethi", "amh_Ethi", "eng_Latn", "swh_Latn"]
    found = affinity(pieces(as_column(texts)), labels, model)
    assert np.allclose(found, [0.5, 0.0, 0.5, np.nan, np.nan], equal_nan=True)
    assert list_sizes(model) == {"swh_Latn": 2, "amh_Ethi": 1}
    before = lists_beside(model).read_bytes()
    write_lists(lists_beside(model), {"amh_Ethi": ["ሰላም"], "swh_Latn": ["mahindi", "ng'ombe"]})
    assert lists_beside(model).read_bytes() == before
    lists_beside(model).write_bytes(b"no list")
    with pytest.raises(StageError, match="not the word lists"):
        affinity(pieces(as_column(texts)), labels, model)


def test_the_packaged_lists_are_small_and_know_the_languages_of_the_configs() -> None:
    assert lists_beside(PACKAGED).stat().st_size <= 300_000
    assert {"swh_Latn", "hau_Latn", "amh_Ethi", "kin_Latn", "lug_Latn"} <= set(list_sizes(PACKAGED))
    texts = {label: TEXTS[label] for label in ("swh_Latn", "hau_Latn", "amh_Ethi", "kin_Latn", "lug_Latn")}
    found = identify_column(as_column(list(texts.values())))
    assert found.column("label").to_pylist() == list(texts)
    assert min(found.column("affinity").to_pylist()) > 0.05
