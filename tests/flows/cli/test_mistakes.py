"""What a person gets wrong ends in one sentence with the right exit code, and never in a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.errors import StageError, known
from tests import REPOSITORY
from tests.flows.cli.running import command

EMPTY = "{empty}"  # a workspace in which nothing was built
HERE = ["--workspace", EMPTY]

ARGUMENTS = [  # exit code 2
    (["hakuna"], "No such command 'hakuna'"),
    (["ledger"], "Missing command"),
    (["ledger", "rebuld"], "No such command 'rebuld'"),
    (["build"], "Missing argument 'LANGUAGE|FILE.yaml'"),
    (["build", "", *HERE], "it is empty; give it a value"),
    (["build", "swahilli", *HERE], 'swahilli: unknown language, did you mean "swahili"?'),
    (["build", "dothraki", *HERE], "dothraki: unknown language; `lugha languages` lists them"),
    (["build", "{nowhere}.yaml", *HERE], "nowhere.yaml: there is no such file"),
    (["build", "{folder}.yaml", *HERE], "folder.yaml: there is no such file"),
    (["build", "{dots}", *HERE], "/...yaml: the file's name is that of the language's folder in the workspace"),
    (["forget", "{dots}", "--domain", "a.example", *HERE], "/...yaml: the file's name is that of the language's folder"),
    (["plan", "{bytes}", *HERE], "the file's name is that of the language's folder in the workspace"),
    (["plan", "{day}", *HERE], "day.yaml:1: not valid YAML: month must be in 1..12"),
    (["plan", "{half}", *HERE], "half.yaml:1: not valid YAML: '\\ud83d' holds half of a letter"),
    (["plan", "{large}", *HERE], "large.yaml:1: not valid YAML"),
    (["plan", "{listed}", *HERE], "listed.yaml:6: crawl.sources[0].preset: "),
    (["plan", "{nameless}", *HERE], "nameless.yaml:6: crawl.sources[0].paths[0]: '' does not look right"),
    (["plan", "swahili", "--set", "duplicates.bands=100000000", *HERE], "duplicates.bands: input should be less than or equal"),
    (["plan", "swahili", "--set", "duplicates.rows=9223372036854775807", *HERE], "duplicates.rows: "),
    (["generate", "swahili", "--prompt", "x\udcff", *HERE], "it holds bytes that are no UTF-8"),
    (["stats", "--sql", "SELECT '\udcff'", *HERE], "it holds bytes that are no UTF-8"),
    (["build", "{tabs}", *HERE], "tabs.yaml:2: not valid YAML"),
    (["build", "{latin}", *HERE], "latin.yaml:1: not valid YAML"),
    (["build", "{list}", *HERE], "list.yaml:1: expected keys such as"),
    (["build", "{endless}", *HERE], "endless.yaml:5: pretrain.minutes: input should be a finite number"),
    (["build", "swahili", "--preset", "startre", *HERE], '--preset startre: unknown preset, did you mean "starter"?'),
    (["build", "swahili", "--preset", "", *HERE], "it is empty; give it a value"),
    (["build", "yoruba", "--preset", "starter", *HERE], "yoruba: this language has no starter site"),
    (["build", "swahili", "--documents", "{nowhere}.jsonl", *HERE], "--documents {nowhere}.jsonl: no such file"),
    (["build", "swahili", "--documents", "{folder}.yaml", *HERE], "nothing to read there"),
    (["build", "swahili", "--documents", "{folder}/**x/*", *HERE], "--documents "),
    (["build", "swahili", "--documents", "", *HERE], "it is empty; give it a value"),
    (["build", "swahili", "--evaluation", "{nowhere}", *HERE], "nowhere: there is no such folder"),
    (["build", "swahili", "--evaluation", "{file}", *HERE], "there is no such folder"),
    (["build", "swahili", "--snapshot", "a b", *HERE], "--snapshot a b: this does not look right: Name of the"),
    (["build", "swahili", "--snapshot", "", *HERE], "it is empty; give it a value"),
    (["build", "swahili", "--set", "pretrain.steps", *HERE], "write it as section.key=value"),
    (["build", "swahili", "--set", "pretrain.stps=5", *HERE], 'unknown key, did you mean "steps"?'),
    (["build", "swahili", "--set", "pretrain.steps=-1", *HERE], "--set pretrain.steps=-1: pretrain.steps: "),
    (["build", "swahili", "--set", "pretrain.minutes=.nan", *HERE], "pretrain.minutes: input should be"),
    (["build", "swahili", "--set", "pretrain.minutes=.inf", *HERE], "input should be a finite number"),
    (["build", "swahili", "--set", "select.sources={a: [}", *HERE], "the value is not valid YAML"),
    (["build", "swahili", "--set", "name.sub=1", *HERE], "name is not a section"),
    (["build", "swahili", "--set", "", *HERE], "it is empty; give it a value"),
    (["build", "swahili", "--max-rate", "fast", *HERE], "--max-rate fast: this does not look right: Most bytes per second"),
    (["build", "swahili", "--max-rate", "-5k", *HERE], "--max-rate -5k: this does not look right"),
    (["build", "swahili", "--workspace", "{file}"], "file.txt is a file; name a folder"),
    (["build", "swahili", "--workspace", ""], "it is empty; name a folder"),
    (["build", "swahili", "--fast"], "No such option: --fast"),
    (["plan", "swahilli", *HERE], 'did you mean "swahili"?'),
    (["plan", "swahili", "--preset", "huge", *HERE], "--preset huge: unknown preset; choose from base, large"),
    (["plan", "swahili", "--snapshot", "../x", *HERE], "--snapshot ../x: this does not look right"),
    (["plan", "swahili", "--documents", "{nowhere}", *HERE], "no such file or nothing to read there"),
    (["plan", "swahili", "--workspace", "{file}"], "is a file; name a folder"),
    (["status", "--workspace", "{file}"], "is a file; name a folder"),
    (["status", "swahili"], "Got unexpected extra argument(s) (swahili)"),
    (["stats", "swahilli", *HERE], 'swahilli: unknown language, did you mean "swahili"?'),
    (["stats", "..", *HERE], "..: unknown language"),
    (["stats", "swahili", "--sql", "SELECT 1", *HERE], "--sql asks the whole ledger"),
    (["stats", "--sql", "", *HERE], "it is empty; give it a value"),
    (["sample", "swahilli", *HERE], 'did you mean "swahili"?'),
    (["sample", "swahili", "--kept", "--dropped", "language", *HERE], "--kept and --dropped exclude each other"),
    (["sample", "swahili", "-n", "0", *HERE], "'-n': Input should be greater than or equal to 1"),
    (["sample", "swahili", "-n", "many", *HERE], "'-n': Input should be a valid integer"),
    (["sample", "swahili", "-n", str(10**30), *HERE], "'-n': Input should be less than or equal to"),
    (["sample", "swahili", "--seed", "-1", *HERE], "'--seed': Input should be greater than or equal to 0"),
    (["sample", "swahili", "--characters", "-5", *HERE], "'--characters': Input should be greater than or equal to 1"),
    (["sample", "swahili", "--source", "", *HERE], "it is empty; give it a value"),
    (["sample", "swahili", "--evaluation", "{file}", *HERE], "is a file; name a folder"),
    (["explain", "swahili"], "Missing argument 'ID|URL'"),
    (["explain", "swahili", "", *HERE], "it is empty; give it a value"),
    (["explain", "swahilli", "abcdef", *HERE], 'did you mean "swahili"?'),
    (["forget", "swahili", *HERE], "forget: give one of url, domain and id"),
    (["forget", "swahili", "--url", "https://a.example/", "--domain", "a.example", *HERE], "give one of url, domain and id"),
    (["build", "swahili", "--until", "korpus", *HERE], '--until korpus: there is no such stage, did you mean "corpus"?'),
    (["plan", "swahili", "--until", "", *HERE], "it is empty; give it a value"),
    (["forget", "swahili", "--domain", "no domain", *HERE], "'no domain' is no domain"),
    (["forget", "swahili", "--id", "xyz", *HERE], "'xyz' is no id: an id is 32 hexadecimal digits"),
    (["forget", "swahilli", "--domain", "a.example", *HERE], 'did you mean "swahili"?'),
    (["forget", "..", "--domain", "a.example", *HERE], "..: unknown language"),
    (["languages", "swahili"], "Got unexpected extra argument(s) (swahili)"),
    (["generate", "swahilli", *HERE], 'did you mean "swahili"?'),
    (["generate", "swahili", "--temperature", "-1", *HERE], "'--temperature': Input should be greater than or equal to 0"),
    (["generate", "swahili", "--temperature", "nan", *HERE], "'--temperature': Input should be"),
    (["generate", "swahili", "--temperature", "inf", *HERE], "'--temperature': Input should be less"),
    (["generate", "swahili", "--temperature", "1e-30", *HERE], "1e-30 is too little; give 0"),
    (["generate", "swahili", "--top-p", "1.5", *HERE], "'--top-p': Input should be less than or equal to 1"),
    (["generate", "swahili", "--top-p", "nan", *HERE], "'--top-p': Input should be"),
    (["generate", "swahili", "--tokens", "0", *HERE], "'--tokens': Input should be greater than or equal to 1"),
    (["generate", "swahili", "--seed", str(2**64), *HERE], "'--seed': Input should be less than or equal to"),
    (["train-lid", "{nowhere}", "--out", "{folder}/a.ftz"], "does not exist"),
    (["train-lid", "{file}"], "Missing option '--out'"),
    (["train-lid", "{file}", "--out", "{folder}/a.bin"], "the name of a quantised fastText model ends in .ftz"),
    (["train-lid", "{file}", "--out", "{folder}/a.ftz", "--test", "{folder}"], "is a directory"),
    (["serve", "--limit", "0"], "'--limit': Input should be greater than or equal to 1"),
    (["serve", "--workspace", "{file}"], "is a file; name a folder"),
    (["serve", "hausa", "--preset", "starter"], "hausa: this language has no starter site"),
    (["deploy", "swahilli", "--work-pool", "shamba"], 'did you mean "swahili"?'),
    (["deploy"], "Missing option '--work-pool'"),
    (["deploy", "--work-pool", ""], "it is empty; give it a value"),
    (["ledger", "rebuild", "--workspace", "{file}"], "is a file; name a folder"),
]  # fmt: skip
STATES = [  # exit code 1
    (["status", *HERE], "nothing was built here yet; start with `lugha build swahili --preset starter`"),
    (["stats", *HERE], "nothing was built here yet"),
    (["stats", "hausa", *HERE], "hausa: no build reached its end in"),
    (["stats", "--sql", "SELECT 1", *HERE], "nothing was built here yet"),
    (["sample", "hausa", *HERE], "hausa: no build reached its end with `select` in"),
    (["explain", "hausa", "abcdef", *HERE], "hausa: no build reached its end with `select` in"),
    (["generate", "hausa", *HERE], "hausa: no model was built in"),
    (["forget", "hausa", "--domain", "a.example", "--undo", *HERE], "domain a.example is not on the block list"),
    (["ledger", "rebuild", *HERE], "nothing was built here yet"),
    (["train-lid", "{file}", "--out", "{folder}/a.ftz"], "file.txt: line 1 has no label or no text"),
    (["train-lid", "{latin}", "--out", "{folder}/a.ftz"], "latin.yaml: cannot be read"),
    (["train-lid", "{marked}", "--out", "/proc/a.ftz"], "/proc/a.ftz: cannot be written there"),
    (["train-lid", "{folder}", "--out", "{folder}/a.ftz"], "train.txt: cannot be read"),
    (["generate", "{model}", *HERE], "no language model that transformers can read"),
    (["generate", "{cut}", *HERE], "no language model that transformers can read"),
    (["stats", "--workspace", "{damaged}"], "ledger.duckdb: cannot be read"),
    (["plan", "swahili", "--preset", "starter", "--workspace", "{blocked}"], "forgotten.jsonl: not UTF-8 text"),
]  # fmt: skip
OF_A_RUN = [  # of a workspace with a complete run
    (["stats", "--sql", "SELECT nothing FROM runs"], 2, '--sql: Binder Error: Referenced column "nothing" not found'),
    (["stats", "--sql", "SELEC 1"], 2, "--sql: Parser Error"),
    (["stats", "--sql", "SELECT 1; SELECT 2"], 2, "--sql: give one SELECT"),
    (["stats", "--sql", "-- nothing"], 2, "--sql: give one SELECT"),
    (["stats", "--sql", "DELETE FROM runs"], 2, "--sql: give one SELECT"),
    (["stats", "--sql", "COPY runs TO 'runs.csv'"], 2, "--sql: give one SELECT"),
    (["sample", "swahili", "--source", "gazeti"], 1, "gazeti: no source has this in its name"),
    (["sample", "swahili", "--dropped", "hakuna"], 1, "hakuna: no document of the last complete run has this decision"),
    (["sample", "swahili", "--evaluation", "nowhere"], 2, "--evaluation nowhere: there is no such folder"),
    (["explain", "swahili", "hakuna"], 1, "hakuna: no document of the last complete run of swahili has this address"),
    (["explain", "swahili", "abc"], 1, "abc: too short; give the first 6 digits"),
    (["explain", "swahili", "0" * 32], 1, "no document of the last complete run of swahili has this id"),
    (["forget", "swahili", "--domain", "a.example", "--undo"], 1, "domain a.example is not on the block list"),
    (["generate", "swahili", "--prompt", "neno " * 5000], 1, "the prompt has 5"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("places")
    found = {name: root / name for name in ("nowhere", "empty", "folder", "model", "cut", "damaged", "blocked")}
    found |= {name: root / f"{name}.yaml" for name in ("tabs", "latin", "list", "endless")} | {"file": root / "file.txt"}
    for name in ("folder", "model", "cut", "damaged", "blocked/swahili", "folder.yaml"):
        (root / name).mkdir(parents=True)
    found["file"].write_text("Habari za leo\n")
    found["tabs"].write_text("name: Test\n\tcode: tst\n")
    found["latin"].write_bytes("name: Wolof Caytué\n".encode("latin-1"))
    found["list"].write_text("- a\n- b\n")
    found["endless"].write_text("name: Test\ncode: tst\nscript: Latn\npretrain:\n  minutes: .inf\n")
    found["dots"], found["bytes"] = root / "...yaml", root / os.fsdecode(b"\xff.yaml")
    head = "name: Test\ncode: tst\nscript: Latn\n"
    written = {
        "day": "autonym: 2026-99-99\n",
        "half": 'autonym: "\\ud83d"\n',
        "large": 'autonym: "\\UFFFFFFFF"\n',
        "listed": "crawl:\n  sources:\n    - {type: hub, preset: [a]}\n",
        "nameless": 'crawl:\n  sources:\n    - {type: files, paths: [""]}\n',
    }
    for name, more in written.items():
        found[name] = root / f"{name}.yaml"
        found[name].write_text(head + more)
    found["marked"] = root / "marked.txt"
    found["marked"].write_text(
        "".join(f"\ufeff__label__aaa_Latn neno {n}\n__label__bbb_Latn word {n}\n"[n > 0 :] for n in range(9))
    )
    for name in ("dots", "bytes"):
        found[name].write_text(head)
    (found["model"] / "config.json").write_text("{}")
    (found["cut"] / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    (found["cut"] / "model.safetensors").write_bytes(b"")
    (found["damaged"] / "ledger.duckdb").write_bytes(b"no database" * 1000)
    (found["blocked"] / "swahili" / "forgotten.jsonl").write_bytes(b"\xff\xfe\n")
    return found


def check(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = command(*arguments)
    printed = capsys.readouterr()
    assert (ended, printed.out) == (code, "")
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1, printed.err


def test_there_are_enough_of_them() -> None:
    assert len(ARGUMENTS) + len(STATES) + len(OF_A_RUN) >= 60
    names = {"build", "plan", "status", "stats", "sample", "explain", "forget", "languages", "generate", "train-lid", "serve"}
    assert {arguments[0] for arguments, _ in ARGUMENTS} >= names | {"deploy", "ledger"}


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_wrong_arguments_end_with_2(
    arguments: list[str], message: str, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    check([_filled(one, places) for one in arguments], 2, _filled(message, places), capsys)
    assert not places["empty"].exists()  # and leave nothing behind


@pytest.mark.parametrize(("arguments", "message"), STATES)
def test_what_is_not_there_or_damaged_ends_with_1(
    arguments: list[str], message: str, places: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    check([_filled(one, places) for one in arguments], 1, _filled(message, places), capsys)


@pytest.mark.parametrize(("arguments", "code", "message"), OF_A_RUN)
def test_mistakes_about_a_run(
    arguments: list[str], code: int, message: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check([*arguments, "--workspace", str(built)], code, message, capsys)


def test_what_the_disk_does_is_one_sentence_and_a_fault_of_the_program_is_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(error: Exception) -> tuple[int, str]:
        def fails(*_: object) -> None:
            raise error

        monkeypatch.setattr("flows.run.record.latest", fails)
        return command("status"), capsys.readouterr().err

    code, said = ends(PermissionError(errno.EACCES, "Permission denied", "/data/w"))
    assert (code, said) == (
        1,
        "/data/w: permission denied; this needs the right to read and write there; change it, or name another place\n",
    )
    code, said = ends(OSError(errno.EROFS, "Read-only file system", b"/data/w"))
    assert (code, said.partition(";")[0]) == (1, "/data/w: read-only file system")
    code, said = ends(OSError(errno.ENOSPC, "No space left on device"))
    assert (code, "finished work is kept" in said) == (1, True)

    class NarrowerError(StageError):
        """As tasks/net/download.py and others have them."""

    assert ends(NarrowerError("https://example.org/a: there is no such file")) == (
        1,
        "https://example.org/a: there is no such file\n",
    )
    for fault in (KeyError("a"), FileNotFoundError(errno.ENOENT, "No such file", "a"), OSError("odd")):
        assert known(fault) is None
        with pytest.raises(type(fault)):
            ends(fault)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_workspace_without_the_right_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    check(["build", "swahili", "--preset", "starter", "--workspace", str(tmp_path / "w")], 1, "permission denied", capsys)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["build", "klingon"], 2, "klingon: unknown language"),
        (["generate", "swahili", "--tokens", "0"], 2, "'--tokens': Input should be greater than or equal to 1"),
        (["sample", "hausa"], 1, "hausa: no build reached its end with `select` in"),
    ],
)
def test_a_process_of_its_own_ends_so_too(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    program = [sys.executable, "-c", "from flows.cli import main; main()", *arguments, "--workspace", str(tmp_path)]
    result = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (code, "", 1), result.stderr
    assert message in result.stderr


def _filled(text: str, places: dict[str, Path]) -> str:
    for name, path in places.items():
        text = text.replace(f"{{{name}}}", str(path))
    return text
