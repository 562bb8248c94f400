"""Reading and ruling a corpus: samples and stories say what the stages said, and what is forgotten is left out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.run.build import Build
from flows.run.progress import watch
from flows.run.reading import EXCERPT, SHORTEST_PREFIX, LastRun
from flows.run.request import Request
from lang_configs import ConfigError
from tasks import ledger
from tasks.annotate.contamination import ContaminationConfig, contamination
from tasks.core.errors import StageError
from tasks.core.stage import Output
from tasks.select import select
from tasks.select.explain import ITEM_EXCERPT
from tests.flows.starter import TASKS, TINY, lugha, query
from tests.pipeline import publish, rows

SITE = "https://starter.lugha.example"
OLD, NEW = f"{SITE}/zamani/toleo-la-kwanza/makande-ya-bweni.html", f"{SITE}/mapishi/makande-ya-bweni.html"


@pytest.fixture
def run(built: Path) -> LastRun:
    return LastRun(built, "swahili")


def folder_of(run: LastRun, stage: str) -> Path:
    return run.explainer.outputs[stage].folder


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
        assert document["characters"] == len(texts[document["id"]])
        assert (document["url"], document["source"], document["decision"]) == (row["url"], row["source"], row["decision"])
        assert (document["label"], document["score"]) == (row["language"], row["language_score"])
        assert bool(document["because"]) == (row["decision"] != "keep")


def test_reading_the_corpus_is_not_reading_the_test_set(run: LastRun) -> None:
    kept = run.sample(None, True, None, 10_000, 1)
    held_out = [document["split"] for document in kept].count("test")
    for seed in (1, 2, 3):  # 1 is the seed of the split
        first = run.sample(None, True, None, len(kept) // 4, seed)
        expected = len(first) * held_out / len(kept)
        deviation = (expected * (1 - held_out / len(kept)) * (1 - len(first) / len(kept))) ** 0.5
        assert abs([document["split"] for document in first].count("test") - expected) <= 4 * deviation
    # those that the split took are not those that the sample begins with, nor those that it ends with
    places = [place for place, document in enumerate(kept) if document["split"] == "test"]
    assert 0.25 < sum(places) / len(places) / len(kept) < 0.75


def test_a_sample_names_every_rule_that_a_document_fails(run: LastRun) -> None:
    for document in run.sample(None, False, None, 10_000, 1):
        signals = [story for story in run.stories(document["id"]) for story in story["signals"]] if document["fails"] else []
        assert document["fails"] == [check for check in signals if not check["holds"]]
        if document["decision"] == "keep":
            assert not document["fails"]
        if document["decision"].startswith(("language", "quality")):
            assert document["fails"][0] == document["because"]


@pytest.mark.parametrize("part", ["starter", "STARTER", "art"])
def test_a_source_is_found_by_a_part_of_its_name(run: LastRun, part: str) -> None:
    assert run.sample(None, False, part, 5, 1) == run.sample(None, False, None, 5, 1)


def test_an_ambiguous_or_unknown_source_is_one_sentence_with_the_names(run: LastRun) -> None:
    sources = ["Habari", "habari za leo", "Habari za jana", *(f"kitabu {number}" for number in range(8))]
    for number, source in enumerate(sources):
        run.explainer._database.execute("UPDATE decisions SET source = $s WHERE rowid = $n", {"s": source, "n": number})
    assert [d["source"] for d in run.sample(None, False, "habari", 5, 1)] == ["Habari"]
    assert [d["source"] for d in run.sample(None, False, "ZA JANA", 5, 1)] == ["Habari za jana"]
    with pytest.raises(StageError, match=r'^za: 2 sources have this in their names; .*: "Habari za jana", "habari za leo"$'):
        run.sample(None, False, "za", 5, 1)
    with pytest.raises(StageError, match=r'^vitabu: no source has this .* of 12 the most alike are: "kitabu 0", ') as error:
        run.sample(None, False, "vitabu", 5, 1)
    assert str(error.value).count('"') == 2 * 5


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
            assert because.get("threshold") == (0.7 if reason == "near_duplicate" else None)


@pytest.mark.parametrize(
    ("decision", "source", "message"),
    [
        (
            "quality_max_digits",
            None,
            "quality_max_digits: no document of the last complete run has this decision; there are: e",
        ),
        (None, "gazeti", 'gazeti: no source has this in its name; of 1 the most alike are: "starter"'),
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
        stage = said["stage"].partition(".")[0]
        assert (built / "swahili" / stage / said["fingerprint"] / "manifest.json").is_file()
    assert [said["stage"] for said in document["stages"]][0::7] == ["crawl.starter", "corpus"]
    assert (document["license"], document["split"] in ("train", "validation", "test")) == ("CC0-1.0", True)
    thresholds = {check["decision"]: check["threshold"] for check in document["signals"]}
    assert thresholds["quality_max_symbols"] == 0.1
    assert all(check["holds"] for check in document["signals"])


@pytest.mark.parametrize("name", ["https://example.org/hakuna", "0" * 32, "0" * 12, "hakuna", ""])
def test_an_unknown_document_is_one_sentence(run: LastRun, name: str) -> None:
    has = r"has (this id|this address|an id that begins so)$"
    with pytest.raises(StageError, match=f"^{name}: no document of the last complete run of swahili {has}"):
        run.stories(name)


def test_a_document_is_found_by_how_its_id_begins(run: LastRun) -> None:
    document = story(run, NEW)
    for digits in (SHORTEST_PREFIX, 20):
        assert story(run, document["id"][:digits]) == story(run, document["id"][:digits].upper()) == document
    with pytest.raises(StageError, match="too short; give the first 6 digits"):
        run.stories(document["id"][: SHORTEST_PREFIX - 1])
    first, second = (bytes.fromhex(f"abcdef{number:026x}") for number in (1, 2))
    run.explainer._database.execute(
        "UPDATE decisions SET id = CASE rowid WHEN 0 THEN $a ELSE $b END WHERE rowid < 2", {"a": first, "b": second}
    )
    with pytest.raises(StageError, match=f"^abcdef0: 2 ids begin so; give more digits of one: {first.hex()}, {second.hex()}$"):
        run.stories("abcdef0")


def test_a_text_is_cut_where_it_is_asked_to_be(run: LastRun) -> None:
    (document,) = run.stories(NEW, characters=100_000)
    (cut,) = run.stories(NEW, characters=50)
    assert len(document["text"]) == document["characters"] == cut["characters"] > 50
    assert cut["text"] == document["text"][:50]


@pytest.fixture
def evaluation(run: LastRun, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The decisions of the last run, made anew with a set that holds the beginning of one document and a half of another."""
    first, second = (document["text"] for document in run.sample(None, True, None, 2, 1))
    other = "Wanasayansi wamegundua sayari mpya iliyo mbali mno na jua letu kuliko zote zilizojulikana hapo awali duniani"
    items = [" ".join(first.split())[:500], f"{' '.join(second.split())[:100]} {other}"]
    file = tmp_path / "eval" / "afrisenti" / "swa" / "test.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(["tweet\tlabel", *(f"{item}\tneutral" for item in items)]) + "\n")
    settings = run.explainer.manifests["contamination"]["config"]
    settings["data"]["folder"] = tmp_path / "eval"
    inputs = {label: output.folder for label, output in run.explainer.outputs.items()}
    made = dict(run.explainer.outputs)
    for function, config in (
        (contamination, ContaminationConfig.model_validate(settings)),
        (select, run.explainer.config),
    ):
        folder, _ = publish(function, tmp_path / "w", config, inputs)
        inputs[function.__name__], made[function.__name__] = folder, Output(function.__name__, folder.name, folder)
    monkeypatch.setattr("flows.run.reading.last_run", lambda workspace, language, having=None: made)
    return tmp_path / "eval"


def test_an_evaluation_item_comes_with_its_text_and_the_rule_that_decided(built: Path, evaluation: Path) -> None:
    lines = (evaluation / "afrisenti" / "swa" / "test.tsv").read_text().splitlines()[1:]
    run = LastRun(built, "swahili", evaluation)
    found = {document["because"]["item"]: document["because"] for document in run.sample("contamination", False, None, 9, 1)}
    whole, half = (found[f"afrisenti/test/{number}"] for number in range(2))
    assert [because["item_text"] for because in (whole, half)] == [line.split("\t")[0][:ITEM_EXCERPT] for line in lines]
    assert (whole["coverage"], whole["threshold"], half["threshold"]) == (1, 0.8, 0.3)
    assert 0.3 < half["coverage"] < 0.8
    assert ("however common" in whole["rule"], half["rule"].endswith("n-grams that are not common")) == (True, True)
    for document in run.sample("contamination", False, None, 9, 1):
        assert story(run, document["id"])["evaluation"] == document["because"]


def test_the_text_of_an_item_that_is_not_the_one_measured_is_not_shown(built: Path, evaluation: Path) -> None:
    assert {d["because"]["item_text"] for d in LastRun(built, "swahili").sample("contamination", False, None, 9, 1)} == {None}
    file = evaluation / "afrisenti" / "swa" / "test.tsv"
    file.write_text("tweet\tlabel\n" + "Habari nyingine kabisa ambayo haimo katika matini yoyote\tneutral\n")
    run = LastRun(built, "swahili", evaluation)
    assert {d["because"]["item_text"] for d in run.sample("contamination", False, None, 9, 1)} == {None}
    with pytest.raises(ConfigError, match=r"hakuna: there is no such folder$"):
        LastRun(built, "swahili", evaluation / "hakuna")


def test_the_commands_print_for_people_and_for_programs(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    arguments = ("sample", "swahili", "--dropped", "near_duplicate", "-n", "2")
    documents = json.loads(lugha(built, *arguments, "--json").stdout)
    printed = lugha(built, *arguments).stdout
    for document in documents:
        assert f"Jaccard {document['because']['jaccard']:.3f} with {document['because']['duplicate_of']}" in printed
        assert document["text"].splitlines()[-1] in printed
        marked = f"[cut: {EXCERPT:,} of {document['characters']:,} characters"
        assert (marked in printed) == (document["characters"] > EXCERPT)
        assert document["because"]["jaccard"] == round(document["because"]["jaccard"], 4)
    short = lugha(built, *arguments, "--characters", "40").stdout
    assert all(f"[cut: 40 of {document['characters']:,} characters" in short for document in documents)
    (told,) = json.loads(lugha(built, "explain", "swahili", OLD, "--json").stdout)
    lines = lugha(built, "explain", "swahili", OLD).stdout.splitlines()
    assert any(line.split() == ["symbols", "0", "at", "most", "0.1"] for line in lines)
    words = [line for line in lines if line.startswith("words ")]
    assert len(words) == 1 and words[0].count("at least") == words[0].count("at most") == 1
    assert any(line.startswith("duplicate of") and told["duplicate_of"]["id"] in line for line in lines)
    assert all(any(said["fingerprint"] in line for line in lines) for said in told["stages"])


def steps_to_run(workspace: Path) -> dict[str, str]:
    steps = json.loads(lugha(workspace, "plan", "swahili", *TINY, "--no-measure", "--json").stdout)
    return {step["label"]: step["why"] for step in steps if not step["done"]}


def test_forgetting_reruns_select_and_what_follows_until_it_is_undone(built: Path, tmp_path: Path) -> None:
    workspace = shutil.copytree(built, tmp_path / "w")
    said = lugha(workspace, "forget", "swahili", "--url", NEW, "--reason", "mwandishi aliomba").stdout
    assert "that match: 1, of these in the corpus: 1" in said
    assert OLD in said  # the copy that would take its place
    after = ["select", "corpus", "tokenizer", "tokens", "pretrain", "evaluate", *TASKS, "cards", "release"]
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


def test_a_run_that_went_less_far_hides_nothing(built: Path, tmp_path: Path) -> None:
    workspace = shutil.copytree(built, tmp_path / "w")
    lugha(workspace, "build", "swahili", *TINY, "--until", "clean")
    assert lugha(workspace, "generate", "swahili", "--tokens", "3").stdout
    said = lugha(workspace, "forget", "swahili", "--url", NEW, "--copies").stdout
    assert "that match: 1, of these in the corpus: 1" in said
    (damaged,) = workspace.glob("swahili/select/[!.]*/manifest.json")
    damaged.unlink()
    said = lugha(workspace, "forget", "swahili", "--url", OLD, "--copies").stdout
    assert "was not counted, nor its copies looked for" in said
    assert "is gone or damaged; run `lugha build swahili` again" in said
    (workspace / ledger.LEDGER).unlink()
    said = lugha(workspace, "sample", "swahili", check=False).stderr
    assert "the ledger is gone; `lugha ledger rebuild` makes it anew" in said


def test_a_signal_while_the_ledger_is_written_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise RuntimeError("Query interrupted")  # DuckDB's word for Ctrl-C

    monkeypatch.setattr(ledger, "catch_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Build(Request("swahili", "starter", workspace=tmp_path), watch).all()
    (record,) = (tmp_path / "swahili" / "runs").glob("[!.]*.json")
    assert json.loads(record.read_text())["status"] == "interrupted"
