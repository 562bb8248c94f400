"""The block list: what an entry blocks, that select obeys it before all else, and that the fingerprint follows its content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lang_configs import ConfigError
from tasks.core.errors import StageError
from tasks.core.stage import Output, Step, describe
from tasks.select import SELECT, SelectConfig, select
from tasks.select.forgotten import BlockList, Entry, add, entry, is_public_suffix, read, remember, remove
from tests.pipeline import rows, run
from tests.select import judged
from tests.select.judged import world

PAGE = "https://www.mwanzo.example.org/habari/mvua?id=3"
ID = bytes(range(16))


def config(*entries: Entry) -> SelectConfig:
    return judged.config(forgotten=BlockList(entries=entries))


@pytest.mark.parametrize(
    ("url", "address", "blocked"),
    [
        (PAGE, PAGE, True),
        (PAGE, "http://WWW.mwanzo.example.org:80/habari/./mvua?id=3&utm_source=x#juu", True),
        ("www.mwanzo.example.org/habari/mvua?id=3", PAGE, True),
        ("https://example.org/a/", "https://example.org/a", True),
        ("https://example.org/siku%20njema", "https://example.org/siku njema", True),
        ("https://ዜና.example/ቀን", "http://xn--h1d9l.example/%E1%89%80%E1%8A%95", True),
        ("https://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4", True),
        ("https://example.org/a", "https://example.org/a#part36", True),
        ("https://example.org/a#part36", "https://example.org/a", True),
        ("https://example.org/a#part36", "https://example.org/a/#part36", True),
        ("https://example.org/a#part36", "https://example.org/a#part3", False),
        (PAGE, "https://www.mwanzo.example.org/habari/mvua?id=33", False),
        (PAGE, "https://www.mwanzo.example.org/habari/mvua", False),
        (PAGE, "https://mwanzo.example.org/habari/mvua?id=3", False),
        ("https://example.org/a", "https://example.org/a/b", False),
        ("faili/hati-3.txt", "faili/hati-3.txt", True),
        (PAGE, None, False),
    ],
)
def test_a_page_is_blocked_however_its_address_is_written(url: str, address: str | None, blocked: bool) -> None:
    assert (BlockList(entries=(Entry(url=url),)).find(ID, address) is not None) == blocked


@pytest.mark.parametrize(
    ("domain", "address", "blocked"),
    [
        ("example.org", "https://example.org/a", True),
        ("example.org", "http://habari.sw.Example.ORG:8080", True),
        ("https://Example.org/", "https://example.org/a", True),
        ("bücher.example", "https://xn--bcher-kva.example/", True),
        ("127.0.0.1", "http://127.0.0.1:4200/a", True),
        ("example.org", "https://notexample.org/a", False),
        ("example.org", "https://example.org.evil.test/a", False),
        ("example.org", "https://other.test/example.org", False),
        ("example.org", "https://example.org@other.test/", False),
        ("www.example.org", "https://example.org/", False),
        ("example.org", None, False),
    ],
)
def test_a_domain_is_blocked_with_its_subdomains(domain: str, address: str | None, blocked: bool) -> None:
    assert (BlockList(entries=(Entry(domain=domain),)).find(ID, address) is not None) == blocked


def test_an_id_blocks_one_document_with_or_without_an_address() -> None:
    listed = BlockList(entries=(Entry(id=ID.hex().upper()),))
    assert listed.find(ID, None) == listed.find(ID, PAGE) == listed.entries[0]
    assert listed.find(bytes(16), PAGE) is None


@given(st.one_of(st.none(), st.text()), st.binary(min_size=16, max_size=16))
def test_no_address_of_a_document_breaks_the_search(url: str | None, identity: bytes) -> None:
    listed = BlockList(entries=(Entry(url=PAGE), Entry(domain="example.org"), Entry(id=identity.hex())))
    assert listed.find(identity, url) == listed.entries[2]
    if url is not None and url.strip():
        assert BlockList(entries=(Entry(url=url),)).find(identity, url) is not None


@pytest.mark.parametrize(
    ("url", "domain", "identity", "message"),
    [
        (None, None, None, "give one of url, domain and id"),
        (PAGE, "example.org", None, "give one of url, domain and id"),
        (None, None, "abc", "'abc' is no id: an id is 32 hexadecimal digits"),
        (None, "https://example.org/habari", None, "is no domain, such as example.org"),
        (None, "*.example.org", None, "is no domain, such as example.org"),
        (None, "", None, "is no domain, such as example.org"),
        (" ", None, None, "the url is empty"),
    ],
)
def test_an_entry_names_one_thing(url: str | None, domain: str | None, identity: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^forget: ") as error:
        entry(url, domain, identity)
    assert message in str(error.value)


def test_lines_are_added_once_and_taken_off_again(tmp_path: Path) -> None:
    path = tmp_path / "swahili" / "forgotten.jsonl"
    assert read(path).entries == ()
    assert add(path, entry(PAGE, None, None, "mwandishi aliomba – ombi la 3"))
    assert add(path, entry(None, "example.com", None))
    before = path.read_bytes()
    assert not add(path, entry(PAGE + "&utm_source=x", None, None))
    assert path.read_bytes() == before
    first, second = (json.loads(line) for line in before.decode().splitlines())
    assert (first["url"], first["reason"], set(first)) == (PAGE, "mwandishi aliomba – ombi la 3", {"url", "reason", "date"})
    assert second["domain"] == "example.com"
    assert not remove(path, Entry(domain="example.net"))
    assert remove(path, Entry(domain="EXAMPLE.com"))
    assert [found.url for found in read(path).entries] == [PAGE]


@pytest.mark.parametrize("line", ["{", '{"page": "https://example.org/"}', '{"reason": "kwa nini"}', '{"id": "12"}', "[]"])
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "forgotten.jsonl"
    path.write_text(f'{{"domain": "example.org"}}\n\n{line}\n')
    with pytest.raises(StageError, match=r"forgotten\.jsonl:3: .*a line is one JSON object with url, domain or id"):
        read(path)


def decided(folder: Path, notes: list[dict[str, Any]], *numbers: int) -> list[str]:
    """Decisions when the documents of these numbers are forgotten: one half by address, the other by id."""
    inputs = world(folder, [*notes, *({} for _ in range(200))])
    documents = rows(inputs["clean"])
    by = [Entry(url=documents[n]["url"]) if n % 2 else Entry(id=documents[n]["id"].hex()) for n in numbers]
    run(select, folder / "out", config(*by), inputs)
    return [row["decision"] for row in rows(folder / "out")]


def test_forgotten_comes_before_every_other_reason(tmp_path: Path) -> None:
    notes = [{}, {}, {"item": "news/test/3"}, {"words": 0}, {"label": "eng_Latn"}, {"symbols": 0.5}, {}]
    found = decided(tmp_path, notes, 0, 1, 2, 3, 4)
    assert found[:7] == ["forgotten"] * 5 + ["quality_max_symbols", "keep"]
    assert set(found[7:]) == {"keep"}


def test_a_copy_that_was_not_forgotten_takes_the_place(tmp_path: Path) -> None:
    notes = [{}, {"of": 0, "kind": "exact"}, {"of": 0}]
    assert decided(tmp_path / "a", notes, 0)[:3] == ["forgotten", "keep", "near_duplicate"]
    assert decided(tmp_path / "b", notes, 0, 1)[:3] == ["forgotten", "forgotten", "keep"]


def test_the_columns_are_the_same_with_and_without_a_block_list(tmp_path: Path) -> None:
    inputs = world(tmp_path, [{} for _ in range(50)])
    first = rows(inputs["clean"])[0]
    for name, settings in (("without", config()), ("with", config(Entry(id=first["id"].hex())))):
        run(select, tmp_path / name, settings, inputs)
    without, within = rows(tmp_path / "without"), rows(tmp_path / "with")
    assert [list(row) for row in without] == [list(row) for row in within]
    assert (within[0]["split"], within[0]["weight"]) == (None, 0.0)


def test_a_whole_domain_can_go(tmp_path: Path) -> None:
    inputs = world(tmp_path, [{} for _ in range(30)])
    with pytest.raises(StageError, match=r"all 30 documents were dropped \(forgotten 30; "):
        run(select, tmp_path / "out", config(Entry(domain="example.org")), inputs)


def test_the_fingerprint_follows_what_is_blocked_and_nothing_else(tmp_path: Path) -> None:
    def fingerprint(*entries: Entry) -> str:
        settings = config(*entries)
        assert "forgotten" not in settings.model_dump(mode="json")
        return describe(Step(SELECT, settings, {"clean": Output("clean", "a", tmp_path)}), tmp_path, "swahili").fingerprint

    page, domain = Entry(url=PAGE), Entry(domain="example.com", reason="a", date="2026-11-01")
    others = [fingerprint(), fingerprint(page), fingerprint(domain), fingerprint(Entry(url="https://example.com"))]
    assert len({*others, fingerprint(page, domain)}) == 5
    same = fingerprint(
        Entry(domain="Example.com", reason="b"), page, Entry(url=PAGE.replace("https", "http"), date="2026-11-02")
    )
    assert same == fingerprint(page, domain)
    assert BlockList().digest() == ""  # a workspace without a list keeps the fingerprints that it had


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(""),
        lambda path: path.write_text("\n\n"),
        lambda path: path.unlink(),
        lambda path: path.write_text(path.read_text().splitlines(keepends=True)[0]),
        lambda path: path.write_text(path.read_text().replace("example.com", "example.net")),
    ],
)
def test_a_list_that_was_emptied_cut_or_lost_is_no_list(damage: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "forgotten.jsonl"
    for known in (entry(PAGE, None, None), entry(None, "example.com", None)):
        add(path, known)
    damage(path)
    with pytest.raises(StageError, match=r"forgotten\.jsonl: [12] of its entries are gone .* --undo; restore the file"):
        read(path)
    for known in (entry(PAGE, None, None), entry(None, "example.com", None)):  # each of the cures
        add(path, known) if known.url else remove(path, known)
    assert PAGE in [found.url for found in read(path).entries]


def test_lines_written_by_hand_are_missed_once_a_build_has_seen_them(tmp_path: Path) -> None:
    path = tmp_path / "forgotten.jsonl"
    path.write_text('{"domain": "example.org"}\n')
    remember(path, read(path))
    path.write_text("")
    with pytest.raises(StageError, match="1 of its entries are gone"):
        read(path)
    path.write_text('{"url": "https://example.org/b"}\n{"domain": "EXAMPLE.org", "reason": "tena"}\n')  # another way to say it
    assert len(read(path).entries) == 2


@pytest.mark.parametrize("piece", ["a", "a.", "%41", "://", "a/", "?a=1&", "@", "#", ";", "ä", "1"])
def test_an_address_of_a_million_characters_takes_no_time_of_its_own(piece: str) -> None:
    long = piece * (1_000_000 // len(piece))
    for url in (long, f"https://{long}", f"https://example.org/{long}", f"https://example.org/?{long}", f"{long}://a"):
        assert BlockList(entries=(Entry(url=url),)).find(ID, PAGE) is None


@pytest.mark.parametrize(
    ("domain", "many"),
    [
        *[(name, True) for name in ("com", "COM.", "tz", "co.tz", "go.tz", "co.uk", "рф", "xn--p1ai", "github.io")],
        *[(name, True) for name in ("localhost", "https://org/", "blogspot.com", "co.ck", "foo.kawasaki.jp")],
        *[(name, False) for name in ("example.org", "bbc.co.uk", "juma.blogspot.com", "www.ck", "127.0.0.1", "habari.go.tz")],
    ],
)
def test_domains_of_many_owners_are_known(domain: str, many: bool) -> None:
    assert is_public_suffix(domain) == many


def test_a_page_with_a_password_is_the_page_without_it() -> None:
    listed = BlockList(entries=(entry("https://juma:siri@example.org/a?token=siri&b=1", None, None),))
    assert "siri" not in listed.model_dump_json()
    assert listed.find(ID, "https://example.org/a?b=1") is not None
    assert BlockList(entries=(Entry(url="https://example.org/a?b=1"),)).find(ID, "https://example.org/a?token=siri&b=1")
