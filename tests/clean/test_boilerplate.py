from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lang_configs.schema import Clean
from tasks.clean import clean
from tasks.core.documents import Document
from tests.pipeline import rows, run, texts, write_documents

FOOT = "Haki zote zimehifadhiwa na Gazeti la Mfano"
HEAD = "Mwanzo > Habari > Kitaifa"


def article(number: int) -> str:
    return f"Kichwa cha habari namba {number}\nHabari yenyewe ya {number} ni ndefu kuliko kichwa chake."


def cleaned(tmp_path: Path, documents: list[str], **settings: float) -> tuple[list[str], dict]:
    metrics = run(clean, tmp_path / "out", Clean(**settings), {"a": texts(tmp_path / "raw", *documents, shard_bytes=400)})
    return [row["text"] for row in rows(tmp_path / "out")], metrics["boilerplate"]


def test_head_and_foot_of_a_site_are_removed_and_counted(tmp_path: Path) -> None:
    found, boilerplate = cleaned(tmp_path, [f"{HEAD}\n\n{article(n)}\n\u00a9 2026\n  {FOOT}\r\n" for n in range(20)])
    assert found == [f"{article(n)}\n© 2026" for n in range(20)]
    assert (boilerplate["different"], boilerplate["lines"]) == (2, 40)
    assert boilerplate["bytes"] == 20 * len(HEAD + FOOT)
    assert boilerplate["top"][0] == {"site": "test example.org", "line": FOOT, "removed": 20}
    assert not (tmp_path / "out" / ".lines").exists()


def test_what_is_common_but_no_boilerplate_stays(tmp_path: Path) -> None:
    refrain = "Tazama ilivyo vema na ya kupendeza"
    poems = [
        "\n".join(part for verse in range(8) for part in (f"Ubeti wa {verse} wa shairi {n} ni huu hapa", refrain))
        for n in range(20)
    ]
    amens = [f"{article(n)}\nAmina." for n in range(20, 40)]
    rare = [f"{article(n)}\nImeandikwa na mwandishi wetu" for n in range(40, 49)]
    documents = poems + amens + rare
    assert cleaned(tmp_path, documents)[0] == documents


def test_a_page_stored_many_times_is_no_boilerplate(tmp_path: Path) -> None:
    copies = [f"{article(1)}\n{'Sentensi ya tatu ya ukurasa huo huo.'}\nImesomwa mara {n}" for n in range(30)]
    assert cleaned(tmp_path, copies)[0] == copies


def test_a_document_of_nothing_else_stays_as_it_is(tmp_path: Path) -> None:
    documents = [f"{HEAD}\n{article(n)}\n{FOOT}" for n in range(20)] + [f"{HEAD}\n{FOOT}"]
    found, boilerplate = cleaned(tmp_path, documents)
    assert found[-1] == f"{HEAD}\n{FOOT}"
    assert boilerplate["only_boilerplate"] == 1


def test_sites_are_judged_by_themselves(tmp_path: Path) -> None:
    def of(source: str, host: str, number: int) -> Document:
        return Document(f"{article(number)}\n{FOOT}", source, f"https://{host}/{number}")

    documents = [of("a", "a.example", n) for n in range(12)] + [of("a", f"{n}.example", n) for n in range(100, 112)]
    documents += [of("b", "a.example", n) for n in range(200, 209)]
    run(clean, tmp_path / "out", Clean(), {"x": write_documents(tmp_path / "raw", documents)})
    assert [FOOT in row["text"] for row in rows(tmp_path / "out")] == [False] * 12 + [True] * 21


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    documents = [f"{article(n)}\n{FOOT}" for n in range(20)]
    found, boilerplate = cleaned(tmp_path, documents, boilerplate=0)
    assert found == documents
    assert boilerplate["lines"] == 0


def test_sharding_changes_nothing(tmp_path: Path) -> None:
    documents = [f"{HEAD}\n{article(n)}\n{FOOT}" if n % 3 else article(n) for n in range(60)]
    results = []
    for size in (1, 700, 1 << 20):
        raw = texts(tmp_path / f"raw-{size}", *documents, shard_bytes=size)
        out = tmp_path / f"out-{size}"
        metrics = run(clean, out, Clean(), {"a": raw})
        results.append((rows(out), metrics))
    assert len(list((tmp_path / "raw-1").iterdir())) == 60
    assert results[0] == results[1] == results[2]


@given(st.lists(st.text(alphabet="abcdefghij \n\u1361é", max_size=60), min_size=1, max_size=30))
def test_sizes_and_ids_of_any_documents(tmp_path_factory, documents: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    raw = texts(folder / "raw", *[text + f"\nmstari wa mwisho\n{FOOT}" for text in documents])
    metrics = run(clean, folder / "out", Clean(), {"a": raw})
    found = rows(folder / "out")
    assert [row["id"] for row in found] == [row["id"] for row in rows(raw)]
    assert all(row["bytes"] == len(row["text"].encode()) for row in found)
    assert metrics["bytes"] == sum(row["bytes"] for row in found)
    assert all(row["text"] for row in found)
