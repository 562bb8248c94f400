from __future__ import annotations

import csv
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lang_configs.schema import LanguageId, Select
from tasks.annotate.language import (
    PACKAGED,
    SCHEMA,
    WINDOW,
    identify,
    identify_column,
    language,
    model_digest,
    normalise,
    script_of,
    windows,
)
from tasks.annotate.language.confusion import SCORES, measured, threshold
from tasks.core.documents import Document, to_table, write_table
from tasks.core.engines import Processes
from tasks.core.errors import StageError
from tasks.core.files import sha256
from tasks.core.stage import Work
from tools.lid.bundle import documents

TEXTS = {
    "swh_Latn": (
        "Wakulima wa kijiji chetu wamevuna mahindi mengi mwaka huu kwa sababu mvua ilinyesha kwa wakati. Hata"
        " hivyo, bei ya sokoni imeshuka na wengi wao wanasubiri hadi mwezi ujao ili wauze mazao yao."
    ),
    "eng_Latn": (
        "The farmers of our village harvested a lot of maize this year because the rain came in time. The "
        "price at the market has fallen, however, and many of them are waiting until next month."
    ),
    "kin_Latn": (
        "Abahinzi bo mu mudugudu wacu basaruye ibigori byinshi muri uyu mwaka kubera ko imvura yaguye ku "
        "gihe. Ariko igiciro ku isoko cyaragabanutse, kandi abenshi muri bo barategereza ukwezi gutaha."
    ),
    "lug_Latn": (
        "Abalimi b'omu kyalo kyaffe baakungula kasooli mungi omwaka guno kubanga enkuba yatonnya mu budde. "
        "Naye omuwendo mu katale gukendedde era bangi ku bo balindirira omwezi ogujja okutunda ebirime "
        "byabwe."
    ),
    "amh_Ethi": (
        "የመንደራችን ገበሬዎች ዝናብ በወቅቱ ስለጣለ በዚህ ዓመት ብዙ በቆሎ ሰብስበዋል። ይሁን እንጂ በገበያ ላይ ያለው ዋጋ ቀንሷል፤ ብዙዎቹም እስከሚቀጥለው ወር ድረስ እየጠበቁ ናቸው።"
    ),
    "yor_Latn": (
        "Àwọn àgbẹ̀ abúlé wa kórè àgbàdo púpọ̀ ní ọdún yìí nítorí pé òjò rọ̀ ní àkókò. Ṣùgbọ́n owó rẹ̀ ní ọjà"
        " ti lọ sílẹ̀, ọ̀pọ̀ nínú wọn sì ń dúró de oṣù tí ń bọ̀ kí wọ́n tó ta irè oko wọn."
    ),
    "hau_Latn": (
        "Manoman ƙauyenmu sun girbi masara mai yawa a bana saboda ruwan sama ya sauka a kan lokaci. Amma "
        "farashinta a kasuwa ya fadi, kuma da yawa daga cikinsu suna jira har zuwa wata mai zuwa."
    ),
}
"""The same few sentences about a harvest, written for this test."""


@pytest.mark.parametrize("label", TEXTS)
def test_identifies_a_paragraph(label: str) -> None:
    (found,) = identify([TEXTS[label]])
    assert (found.label, found.script) == (label, label[4:])
    assert found.score > 0.8 > found.runner_up_score


def test_letter_case_and_layout_do_not_matter() -> None:
    text = TEXTS["swh_Latn"]
    assert (
        len({entry.label for entry in identify([text, text.upper(), text.replace(" ", "\n"), f"* {text} (2024) https://"])})
        == 1
    )
    assert normalise("  Ng'ombe WATATU,\n\t3 na 'mbuzi'! ") == "ng'ombe watatu na 'mbuzi"


def test_a_page_of_two_languages_gets_a_low_score() -> None:
    (found,) = identify([TEXTS["swh_Latn"] * 4 + TEXTS["eng_Latn"] * 2])
    assert (found.label, found.runner_up) == ("swh_Latn", "eng_Latn")
    assert 0.5 < found.score < 0.8
    assert found.runner_up_score > 0.2


@pytest.mark.parametrize("text", ["", " \n\t ", "2024-11-21 (3) ...", "😀👍", "’’"])
def test_text_without_letters_is_undetermined(text: str) -> None:
    assert identify([text]) == [("und_Zzzz", 0.0, "", 0.0, "Zzzz")]


def test_a_script_that_the_model_does_not_know_is_undetermined() -> None:
    (found,) = identify(["ߒߞߏ ߞߊ߲ ߦߋ߫ ߡߊ߲߬ߘߋ߲ ߠߎ߬ ߟߊ߫ ߞߊ߲ ߠߋ߬ ߘߌ߫"])
    assert (found.label, found.score, found.script) == ("und_Nkoo", 0.0, "Nkoo")


def test_script_is_that_of_most_letters() -> None:
    assert script_of("Habari ሰላም") == "Latn"
    assert script_of("Hi ሰላም ለሁላችሁ") == "Ethi"
    assert script_of("日本語です") == "Hani"
    assert script_of("e\u0301ʼ 12") == "Latn"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=1500), max_size=4))
def test_any_text_gets_one_answer_and_always_the_same(texts: list[str]) -> None:
    found = identify(texts)
    assert len(found) == len(texts)
    for entry in found:
        assert 0 <= entry.runner_up_score <= entry.score <= 1.0001
        assert entry.label != entry.runner_up
    assert [identify([text])[0] for text in texts] == found


@settings(deadline=None)
@given(st.text(st.sampled_from("ab \n\tሰö"), max_size=2000))
def test_windows_are_short_parts_without_cut_words(text: str) -> None:
    parts = windows(text)
    if len(text) <= 3 * WINDOW:
        assert parts == [text]
        return
    assert len(parts) == 3
    words = set(text.split())
    for part in parts:
        assert part in text
        assert 0 < len(part) <= WINDOW
        cut = set(part.split()) - words
        assert not cut or len(part) == WINDOW  # nothing but one long word, or two that fill the window


def test_one_row_for_each_document_in_a_file_of_the_same_name(tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    clean.mkdir()
    for name, chosen in {"web-00000": list(TEXTS.values()), "web-00001": [TEXTS["swh_Latn"] + " Tena.", ""]}.items():
        write_table(to_table(Document(text, "web") for text in chosen), clean / f"{name}.parquet")
    results = []
    for name, work in {"one": Work(), "two": Work(Processes(2))}.items():
        out = tmp_path / name
        out.mkdir()
        results.append(language({"clean": clean}, LanguageId(), out, work))
        for shard in clean.iterdir():
            table = pq.read_table(out / shard.name)
            assert table.schema.equals(SCHEMA)
            assert table.column("id").equals(pq.read_table(shard).column("id"))
    assert results[0] == results[1]
    assert results[0]["documents"] == 9
    assert next(iter(results[0]["labels"].items())) == ("swh_Latn", 2)
    assert results[0]["labels"]["und_Zzzz"] == 1
    for shard in clean.iterdir():
        assert (tmp_path / "one" / shard.name).read_bytes() == (tmp_path / "two" / shard.name).read_bytes()


def test_the_share_of_lines_shows_a_mixed_page(tmp_path: Path) -> None:
    swahili, english = (TEXTS[label].replace(". ", ".\n").replace(", ", ",\n") for label in ("swh_Latn", "eng_Latn"))
    texts = [f"{swahili}\n{swahili}", f"{swahili}\n{swahili}\n{english}", TEXTS["swh_Latn"], "Habari\nKaribu\nSokoni", "2026"]
    found = identify_column(pa.array(texts))
    assert found.column("label").to_pylist()[:3] == ["swh_Latn"] * 3
    whole, mixed, one_line, short_lines, nothing = found.column("line_share").to_pylist()
    assert whole == one_line == short_lines == 1.0
    assert 0.5 <= mixed < 0.9
    assert nothing is None


def test_the_metrics_tell_what_is_confused_with_the_language(tmp_path: Path) -> None:
    clean, out = tmp_path / "clean", tmp_path / "out"
    clean.mkdir()
    out.mkdir()
    known = language({"clean": clean}, LanguageId(label="swh_Latn"), out, Work())["identification"]
    assert known["known"]
    assert known["threshold"] == threshold(LanguageId(), "swh_Latn")
    assert known["recall"] > 0.9
    assert known["false_positives"] <= 0.001
    assert all(len(entry) == 3 for entry in known["mistaken"])
    other = language({"clean": clean}, LanguageId(label="xyz_Latn"), out, Work())["identification"]
    assert (other["known"], other["threshold"]) == (False, threshold(LanguageId(), "xyz_Latn")) == (False, 0.5)


def test_the_threshold_is_the_least_score_that_keeps_neighbours_out() -> None:
    lines = {
        "swh_Latn": [("swh_Latn", 0.9)] * 95 + [("swh_Latn", 0.45)] * 5,
        "swb_Latn": [("swb_Latn", 0.9)] * 96 + [("swh_Latn", 0.52)] * 4,
        **{f"a{number:02}_Latn": [(f"a{number:02}_Latn", 1.0)] * 20 for number in range(60)},
        "few_Latn": [("few_Latn", 0.9)] * 19,
    }
    rows = measured(lines)
    assert "few_Latn" not in rows
    row = rows["swh_Latn"]
    assert row["threshold"] == 0.55  # at 0.5 four of a hundred lines of one neighbour get in
    assert row["recall"][SCORES.index(0.45)] == 1.0
    assert row["recall"][SCORES.index(0.55)] == 0.95
    assert row["mistaken"] == [["swb_Latn", 100, 0.04]]
    assert rows["swb_Latn"]["taken_for"] == [["swh_Latn", 100, 0.04]]
    assert rows["a00_Latn"]["threshold"] == 0.2
    lines["run_Latn"] = [("swh_Latn", 0.99)] * 20
    assert [measured(lines)["swh_Latn"][key] for key in ("threshold", "separable")] == [0.5, False]


def test_a_model_of_ones_own_may_have_any_labels(tmp_path: Path) -> None:
    own = tmp_path / "own.ftz"
    own.write_bytes(PACKAGED.read_bytes().replace(b"__label__swh_Latn\0", b"__label__kiswahili"[:17] + b"\0"))
    config = LanguageId(model=str(own))
    found = identify([TEXTS["swh_Latn"], TEXTS["amh_Ethi"], ""], own)
    assert [entry.label for entry in found] == ["kiswahil", "amh_Ethi", "und_Zzzz"]
    assert model_digest(config) == sha256(own) != model_digest(LanguageId())


def test_missing_damaged_or_other_models_are_one_clear_error(tmp_path: Path) -> None:
    def run(config: LanguageId) -> None:
        language({"clean": tmp_path}, config, tmp_path, Work())

    with pytest.raises(StageError, match=r"no language identification model; correct language\.model"):
        run(LanguageId(model=str(tmp_path / "missing.ftz")))
    (tmp_path / "notes.txt").write_text("This is no model.")
    with pytest.raises(StageError, match="no fastText classifier"):
        run(LanguageId(model=str(tmp_path / "notes.txt")))
    (tmp_path / "short.ftz").write_bytes(PACKAGED.read_bytes()[:20])
    with pytest.raises(StageError, match="no fastText classifier"):
        run(LanguageId(model=str(tmp_path / "short.ftz")))
    with pytest.raises(StageError, match="has the SHA-256"):
        run(LanguageId(model=str(PACKAGED), sha256="0" * 64))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "lid.ftz").write_bytes(PACKAGED.read_bytes())

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, directory=str(tmp_path / "web"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/lid.ftz"
        running.shutdown()


def test_a_model_at_an_address_is_downloaded_once_and_checked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    clean, out = tmp_path / "clean", tmp_path / "out"
    clean.mkdir()
    out.mkdir()
    inputs = {"clean": clean}
    with pytest.raises(StageError, match=r"needs its checksum; state it as language\.sha256"):
        language(inputs, LanguageId(model=server), out, Work())
    with pytest.raises(StageError, match="SHA-256"):
        language(inputs, LanguageId(model=server, sha256="0" * 64), out, Work())
    good = LanguageId(model=server, sha256=hashlib.sha256(PACKAGED.read_bytes()).hexdigest())
    assert model_digest(LanguageId()).startswith(model_digest(good))
    assert language(inputs, good, out, Work())["documents"] == 0
    (tmp_path / "web" / "lid.ftz").unlink()
    language(inputs, good, out, Work())


def test_the_packaged_model_is_small_and_the_one_its_card_describes() -> None:
    assert PACKAGED.stat().st_size <= 2_000_000
    assert sha256(PACKAGED) in PACKAGED.with_name("lid_card.md").read_text("utf-8")


def _lines(bundle: Path, *splits: str) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for split in splits:
        for line in (bundle / "lid" / f"{split}.txt").read_text("utf-8").splitlines():
            label, _, text = line.removeprefix("__label__").partition(" ")
            lines.setdefault(label, []).append(text)
    return lines


def _share(texts: list[str], label: str, score: float) -> float:
    return sum(entry.label == label and entry.score >= score for entry in identify(texts)) / len(texts)


def test_finds_swahili_news(bundle: Path) -> None:
    articles = []
    for split in ("dev", "test"):
        with open(bundle / "eval" / "masakhanews" / "swa" / f"{split}.tsv", encoding="utf-8", newline="") as handle:
            articles += [f"{row['headline']}\n{row['text']}" for row in csv.DictReader(handle, delimiter="\t")]
    assert _share(articles, "swh_Latn", threshold(LanguageId(), "swh_Latn")) >= 0.98


def _taken(lines: list[str], label: str) -> float:
    """Share of the lines that select takes for `label`: by the score, and by the word list where the score is not sure."""
    rule, least = Select(), threshold(LanguageId(), label)
    found = identify_column(pa.array(lines))
    rows = zip(lines, *(found.column(name).to_pylist() for name in ("label", "score", "affinity")), strict=True)
    return sum(
        one == label
        and score >= least
        and (score >= rule.sure_language_score or affinity >= rule.min_affinity or len(line.split()) < 5)
        for line, one, score, affinity in rows
    ) / len(lines)


def test_finds_short_lines_of_stories_that_it_was_not_trained_on(bundle: Path) -> None:
    stories = [document for name, document in documents(bundle / "raw" / "swahili") if name.startswith("african_storybook")]
    lines = [line for story in stories if "NC" in story["license"] for line in story["text"].split("\n") if line.split()]
    assert len(lines) > 200
    assert _share(lines, "swh_Latn", threshold(LanguageId(), "swh_Latn")) >= 0.85
    assert _taken(lines, "swh_Latn") >= 0.85


def test_takes_few_other_languages_for_swahili(bundle: Path) -> None:
    lines = _lines(bundle, "test")
    assert _taken(lines["swh_Latn"], "swh_Latn") >= 0.95
    wrong = {label: _taken(lines[label], "swh_Latn") for label in lines if label != "swh_Latn"}
    assert len(wrong) > 300
    assert sum(wrong.values()) / len(wrong) <= 0.001
    more = _lines(bundle, "dev", "test")
    comorian = more["swb_Latn"] + more["zdj_Latn"]
    assert len(comorian) > 40
    assert _taken(comorian, "swh_Latn") <= 0.02


def test_finds_the_other_languages_of_the_configs(bundle: Path) -> None:
    lines = _lines(bundle, "test")
    for label, least in {"swh_Latn": 0.93, "amh_Ethi": 0.98, "hau_Latn": 0.95}.items():
        found = identify(lines[label])
        assert sum(entry.label == label for entry in found) / len(found) >= least, label
    found = [entry for entry in identify(lines["yor_Latn"]) if entry.label != "eng_Latn"]  # one line in ten is in English
    assert sum(entry.label == "yor_Latn" for entry in found) / len(found) >= 0.9
