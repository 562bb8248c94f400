"""Nothing in a release says where, by whom and with which password it was made; and no record says the password."""

from __future__ import annotations

import bz2
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.run.request import Request
from tasks import ledger
from tasks.annotate.language.confusion import PACKAGED
from tests.crawl.test_wikipedia import PAGES, SITE
from tests.flows.prefect_server import tiny_language
from tests.flows.starter import lugha
from tests.net.range_server import serve_files

SECRET = "siri4711"
FOLDER = "nyumba-ya-juma"


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """The name of each file with its bytes as text, those of Parquet files unpacked."""
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        yield str(path.relative_to(folder)), path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield f"{path.name} (rows)", json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False)


def dump() -> bytes:
    pages = "".join(
        f"<page><title>{title}</title><ns>{space}</ns><id>{n}</id><revision><id>{n}</id><text>{text}</text></revision></page>"
        for n, (title, space, text, *_) in enumerate(PAGES[:1], 1)
        for text in [text.replace("&", "&amp;").replace("<", "&lt;")]
    )
    return bz2.compress(f"<mediawiki>{SITE}{pages}</mediawiki>".encode())


@pytest.mark.slow
def test_a_release_of_files_and_of_an_address_with_a_password(tmp_path: Path) -> None:
    here = tmp_path / FOLDER
    here.mkdir()
    tiny = tiny_language(here)
    rows = [json.loads(line) for line in (here / "texts.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["url"] = [
            f"https://juma:{SECRET}@example.org/{number}?X-Amz-Signature={SECRET}",
            f"file://{here}/{number}.html",
            None,
        ][number % 3]
        row["title"] = f"\x1b]0;{number}\x07\u202eKichwa"
    (here / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serve_files() as server:
        server.files[f"dump.xml.bz2?token={SECRET}"] = dump()
        address = server.base.replace("://", f"://juma:{SECRET}@") + f"/dump.xml.bz2?token={SECRET}"
        sources = [
            {"type": "files", "paths": [str(here / "texts.jsonl")]},
            {"type": "wikipedia", "wiki": "swwiki", "dump": address},
        ]
        options = ["--set", f"crawl.sources={json.dumps(sources)}", "--set", f"runtime={{tensorboard: '{here / 'tb'}'}}"]
        options += ["--set", "pretrain.steps=3", "--set", "release.version=1.2.3"]
        done = lugha(here / "workspace", "build", str(tiny), *options)
    (release,) = (here / "workspace").glob("tiny/release/[!.]*")
    forbidden = [SECRET, FOLDER, str(Path.home()), str(tmp_path)]
    forbidden += [name] if len(name := socket.gethostname()) > 4 else []  # a shorter one stands in any weights
    found = [(name, word) for name, text in contents(release) for word in forbidden if word in text]
    assert not found
    card = (release / "corpus" / "README.md").read_text()
    assert (
        "texts.jsonl" in card
        and "pretrain.steps=3" in card
        and "runtime" not in card.partition("lugha build")[2].partition("\n")[0]
    )
    assert "\x1b" not in card and "\u202e" not in card
    urls = {
        row["url"]
        for path in (release / "corpus").glob("*.parquet")
        for row in pq.read_table(path, columns=["url"]).to_pylist()
    }
    assert {url for url in urls if url and not url.startswith("https://example.org/")} <= {
        "https://sw.wikipedia.org/wiki/Nairobi"
    }
    kept = [(name, text) for name, text in contents(here / "workspace") if "/." not in f"/{name}"]
    assert not [name for name, text in kept if SECRET in text]
    assert SECRET not in done.stdout + done.stderr
    assert SECRET not in str(
        ledger.query(here / "workspace", "SELECT * FROM stages") + ledger.query(here / "workspace", "FROM decisions")
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pretrain.steps=5", "--set pretrain.steps=5"),
        ("language.model={model}", '--set language.model="lid.ftz"'),
        ("release.curators='~/juma/a'", '--set release.curators="a"'),
        ("crawl.snapshot='2026-11'", "--set crawl.snapshot='2026-11'"),
        ("runtime.tensorboard=/home/juma/tb", ""),
        (" runtime.workers =2", ""),
        ("runtime={workers: 2}", ""),
        ("release.contact=https://juma:siri@example.org/?a=1&sig=siri", '--set release.contact="https://example.org/?a=1"'),
    ],
)
def test_the_command_of_the_cards_names_files_by_their_names(override: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Habari za leo")
    model = shutil.copy(PACKAGED, tmp_path / "lid.ftz")
    overrides = [override.format(model=model) if "{model}" in override else override]
    request = Request("swahili", documents=[str(tmp_path / "a.txt")], overrides=overrides, workspace=tmp_path)
    command = request.resolve()[1].command.replace("'\"'\"'", "'")
    assert command.startswith("lugha build swahili --documents a.txt")
    assert command.replace("'", "") == f"lugha build swahili --documents a.txt {said}".strip().replace("'", "")
