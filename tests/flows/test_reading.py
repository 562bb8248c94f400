"""Reading and ruling a corpus: samples and stories say what the stages said, and what is forgotten is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pipeline import rows
from starter import TINY, lugha, query

from flows.reading import EXCERPT, LastRun
from tasks.stage import StageError

SITE = "https://starter.lugha.example"
OLD, NEW = f"{SITE}/zamani/toleo-la-kwanza/makande-ya-bweni.html", f"{SITE}/mapishi/makande-ya-bweni.html"


@pytest.fixture
def run(built: Path) -> LastRun:
    return LastRun(built, "swahili")


def folder_of(run: LastRun, stage: str) -> Path:
    return run.stages[stage].folder


def story(run: LastRun, name: str) -> dict[str, Any]:
    (found,) = run.stories(name)
    return found


def test_a_sample_is_the_same_for_the_same_seed_and_a_part_of_a_larger_one(run: LastRun) -> None:
    def ids(count: int, seed: int) -> list[str]:
        return [document["id"] for document in run.sample(None, False, None, count, seed)]

    assert ids(12, 1) == ids(12, 1) == ids(30, 1)[:12]
    assert len(set(ids(12, 1))) == 12
    assert ids(12, 1) != ids(12, 2)
    assert len(ids(10_000, 1)) == len(rows(folder_of(run, "select")))


def test_a_sample_shows_the_text_that_the_stages_read(run: LastRun) -> None:
    texts = {row["id"].hex(): row["text"] for row in rows(folder_of(run, "clean"))}
    decisions = {row["id"].hex(): row for row in rows(folder_of(run, "select"))}
    for document in run.sample(None, False, None, 50, 3):
        row = decisions[document["id"]]
        assert document["text"] == texts[document["id"]][:EXCERPT]
        assert (document["url"], document["source"], document["decision"]) == (row["url"], row["source"], row["decision"])
        assert (document["label"], document["score"]) == (row["language"], row["language_score"])
        assert bool(document["because"]) == (row["decision"] != "keep")


def test_each_reason_comes_with_its_numbers(run: LastRun) -> None:
    assert {document["decision"] for document in run.sample(None, True, "starter", 500, 1)} == {"keep"}
    for document in run.sample("language", False, None, 5, 1):
        because = document["because"]
        assert (because["signal"], because["value"], because["threshold"]) == ("language", document["label"], "swh_Latn")
        assert (document["label"] != "swh_Latn", because["holds"]) == (True, False)
    kept = {document["id"] for document in run.sample(None, True, None, 500, 1)}
    for reason, least in (("near_duplicate", 0.7), ("exact_duplicate", 1.0)):
        for document in run.sample(reason, False, None, 5, 1):
            because = document["because"]
            assert because["kept"] in kept
            assert least <= because["jaccard"] <= 1
            assert because["threshold"] == 0.7


@pytest.mark.parametrize(
    ("decision", "source", "message"),
    [
        (
            "quality_max_digits",
            None,
            "quality_max_digits: no document of the last complete run has this decision; there are: e",
        ),
        (None, "gazeti", "gazeti: no document of the last complete run has this source; there are: starter"),
    ],
)
def test_what_no_document_has_is_said(run: LastRun, decision: str | None, source: str | None, message: str) -> None:
    with pytest.raises(StageError) as error:
        run.sample(decision, False, source, 5, 1)
    assert str(error.value).startswith(message)


def test_a_story_has_the_evidence_of_duplicates_both_ways(run: LastRun) -> None:
    old, new = story(run, OLD), story(run, NEW)
    assert (old["decision"], new["decision"]) == ("near_duplicate", "keep")
    assert old["duplicate_of"] == {
        "id": new["id"], "url": NEW, "decision": "keep", "kind": "near", "jaccard": old["because"]["jaccard"],
    }  # fmt: skip
    assert [copy["id"] for copy in new["duplicates"]] == [old["id"]]
    assert new["duplicates"][0]["jaccard"] == old["duplicate_of"]["jaccard"]
    assert old["kept_of_these"] == new["kept_of_these"] == new["id"]
    assert (old["duplicates"], new["duplicate_of"]) == ([], None)
    assert old["related_documents"] >= 1


def test_a_story_is_found_by_id_and_by_address_and_names_the_stages(run: LastRun, built: Path) -> None:
    document = story(run, NEW)
    assert story(run, document["id"]) == story(run, NEW.replace("https", "http") + "#juu") == document
    for said in document["stages"]:
        stage = said["stage"].removesuffix("-starter")
        assert (built / "swahili" / stage / said["fingerprint"] / "manifest.json").is_file()
    assert [said["stage"] for said in document["stages"]][0::7] == ["crawl-starter", "corpus"]
    assert (document["license"], document["split"] in ("train", "validation")) == ("CC0-1.0", True)
    thresholds = {check["decision"]: check["threshold"] for check in document["signals"]}
    assert thresholds["quality_max_symbols"] == 0.15
    assert all(check["holds"] for check in document["signals"])


@pytest.mark.parametrize("name", ["https://example.org/hakuna", "0" * 32, "hakuna", ""])
def test_an_unknown_document_is_one_sentence(run: LastRun, name: str) -> None:
    with pytest.raises(StageError, match=r"no document of the last complete run of swahili has this (id|address)$"):
        run.stories(name)


def test_the_commands_print_for_people_and_for_programs(built: Path) -> None:
    arguments = ("sample", "swahili", "--dropped", "near_duplicate", "-n", "2")
    documents = json.loads(lugha(built, *arguments, "--json").stdout)
    printed = lugha(built, *arguments).stdout
    for document in documents:
        assert f"Jaccard {document['because']['jaccard']:.3f} with {document['because']['duplicate_of']}" in printed
        assert document["text"].splitlines()[-1] in printed
    (told,) = json.loads(lugha(built, "explain", "swahili", OLD, "--json").stdout)
    lines = lugha(built, "explain", "swahili", OLD).stdout.splitlines()
    assert any(line.split() == ["symbols", "0", "at", "most", "0.15"] for line in lines)
    assert any(line.startswith("duplicate of") and told["duplicate_of"]["id"] in line for line in lines)
    assert all(any(said["fingerprint"] in line for line in lines) for said in told["stages"])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sample", "swahili", "--kept", "--dropped", "language"], 2, "--kept and --dropped exclude each other"),
        (["sample", "hausa"], 1, "hausa: no build reached its end in"),
        (["explain", "swahili", "hakuna"], 1, "hakuna: no document of the last complete run of swahili has this address"),
        (["forget", "swahili"], 1, "forget: give one of url, domain and id"),
        (["forget", "klingon", "--domain", "example.org"], 2, "klingon: unknown language"),
        (["forget", "swahili", "--domain", "example.org", "--undo"], 1, "domain example.org is not on the block list"),
    ],
)
def test_mistakes_end_in_one_clear_sentence(built: Path, arguments: list[str], code: int, message: str) -> None:
    result = lugha(built, *arguments, check=False)
    assert (result.returncode, len(result.stderr.strip().splitlines())) == (code, 1), result.stderr
    assert message in result.stderr


def steps_to_run(workspace: Path) -> dict[str, str]:
    steps = json.loads(lugha(workspace, "plan", "swahili", *TINY, "--json").stdout)
    return {step["label"]: step["why"] for step in steps if not step["done"]}


def test_forgetting_reruns_select_and_what_follows_until_it_is_undone(built: Path, tmp_path: Path) -> None:
    workspace = shutil.copytree(built, tmp_path / "w")
    said = lugha(workspace, "forget", "swahili", "--url", NEW, "--reason", "mwandishi aliomba").stdout
    assert "that match: 1, of these in the corpus: 1" in said
    assert OLD in said  # the copy that would take its place
    after = ["select", "corpus", "tokenizer", "tokens", "pretrain", "evaluate", "cards", "release"]
    assert list(steps_to_run(workspace)) == after
    assert steps_to_run(workspace)["select"] == "its snapshot, files or block list changed"
    told = story(LastRun(workspace, "swahili"), NEW)
    assert (told["decision"], told["block_list"]["reason"]) == ("keep", "mwandishi aliomba")
    lugha(workspace, "forget", "swahili", "--url", NEW, "--undo")
    assert steps_to_run(workspace) == {}


def test_a_language_that_was_never_built_can_have_a_block_list(tmp_path: Path) -> None:
    said = lugha(tmp_path, "forget", "hausa", "--domain", "example.org").stdout
    assert "no build reached its end here; every one from now on leaves it out" in said
    assert (tmp_path / "hausa" / "forgotten.jsonl").is_file()


@pytest.mark.slow
def test_the_next_build_leaves_out_what_is_forgotten_and_its_card_says_so(built: Path, tmp_path: Path) -> None:
    workspace = shutil.copytree(built, tmp_path / "w")
    lugha(workspace, "forget", "swahili", "--url", NEW)
    identity = story(LastRun(workspace, "swahili"), OLD)["id"]
    lugha(workspace, "forget", "swahili", "--id", identity)
    lugha(workspace, "build", "swahili", *TINY)
    run = LastRun(workspace, "swahili")
    assert {document["url"] for document in run.sample("forgotten", False, None, 5, 1)} == {OLD, NEW}
    assert (story(run, NEW)["decision"], story(run, NEW)["because"]["url"]) == ("forgotten", NEW)
    assert story(run, identity)["decision"] == "forgotten"
    left = {row["url"] for row in rows(folder_of(run, "corpus"))}
    assert left and not {OLD, NEW} & left
    card = (folder_of(run, "release") / "corpus" / "README.md").read_text()
    assert "| `forgotten` | taken out on request | 2 |" in card
    funnel = query(workspace, "SELECT documents FROM funnel WHERE decision = 'forgotten'")
    assert funnel == [{"documents": 2}]
