"""What the installer tells uv, and which builds of torch it asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import install

PIP_CONFIG_LIST = """\
:env:.cert='/etc/ssl/other.crt'
:env:.default-timeout='180'
global.cert='/etc/ssl/some.crt'
global.extra-index-url='\\nhttps://one.example/simple\\nhttps://two.example/simple'
global.find-links='/wheels'
global.index-url='https://global.example/simple'
install.constraint='/etc/constraints.txt'
install.index-url='https://install.example/simple'
download.find-links='/elsewhere'
"""

LOCK = """\
# a comment
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:cc
torch==2.13.0 \\
    --hash=sha256:dd
xxhash==4.1.0
"""


def test_settings_of_pip_by_precedence() -> None:
    settings = install.pip_settings(PIP_CONFIG_LIST)
    assert settings["cert"] == "/etc/ssl/other.crt"  # the variable, not the file
    assert settings["index-url"] == "https://install.example/simple"  # of `pip install`, not of all commands
    assert settings["timeout"] == "180"
    assert settings["find-links"] == "/wheels"  # not those of `pip download`


def test_uv_is_told_the_settings_of_pip() -> None:
    settings = install.pip_settings(PIP_CONFIG_LIST)
    flags = install.uv_flags(settings)
    pairs = list(zip(flags[::2], flags[1::2], strict=True))
    assert pairs == [
        ("--default-index", "https://install.example/simple"),
        ("--index", "https://one.example/simple"),
        ("--index", "https://two.example/simple"),
        ("--find-links", "/wheels"),
        ("--constraints", "/etc/constraints.txt"),
        ("--index-strategy", "unsafe-best-match"),
    ]
    assert install.uv_environment(settings) == {"SSL_CERT_FILE": "/etc/ssl/other.crt", "UV_HTTP_TIMEOUT": "180"}


def test_no_settings_of_pip() -> None:
    settings = install.pip_settings("")
    assert install.uv_flags(settings) == []
    assert install.uv_environment(settings) == {}


@pytest.mark.parametrize(("value", "flags"), [("true", ["--no-index"]), ("1", ["--no-index"]), ("false", []), ("", [])])
def test_no_index(value: str, flags: list[str]) -> None:
    assert install.uv_flags(install.pip_settings(f":env:.no-index={value!r}")) == flags


def test_this_pip_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nfind-links = /in/file\ntimeout = 7\n[install]\nno-index = yes\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    for name in ("PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    settings = install.pip_settings(install.output([sys.executable, "-m", "pip", "config", "list"]))
    assert settings["timeout"] == "7"
    flags = install.uv_flags(settings)
    assert "--no-index" in flags
    assert [flags[i + 1] for i, flag in enumerate(flags) if flag == "--find-links"] == ["/one", "/two"]


def test_a_lock_by_package() -> None:
    entries = install.packages(LOCK)
    assert [name for name, _ in entries] == ["numpy", "numpy", "torch", "xxhash"]
    assert "".join(entry for _, entry in entries) == LOCK.removeprefix("# a comment\n")
    assert install.torch_version(LOCK) == "2.13.0"


def test_our_lock_has_hashes_and_nothing_of_cuda() -> None:
    entries = install.packages((Path(__file__).parents[2] / install.LOCK).read_text())
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for _, entry in entries)
    assert not [name for name, _ in entries if install.CUDA_PACKAGE.fullmatch(name)]
    assert install.torch_version("".join(entry for _, entry in entries)).replace(".", "").isdigit()


def sources(build: str, settings: dict[str, str], *, by_driver: bool = False) -> list[str]:
    attempts = install.torch_attempts(build, "2.13.0", settings, by_driver=by_driver)
    return [" ".join(arguments) for _, arguments in attempts]


def test_cpu_build_of_torch() -> None:
    index = f"--no-deps --index-url {install.CPU_INDEX} torch==2.13.0+cpu"
    assert sources("cpu", {}) == [index]
    assert sources("cpu", {"timeout": "180"}) == [index]
    assert sources("cpu", {"find-links": "/wheels"}) == ["--no-deps torch==2.13.0+cpu", index]


def test_cuda_build_of_torch() -> None:
    plain = "torch==2.13.0,!=2.13.0+cpu"
    assert sources("cuda", {}) == [plain]
    assert sources("cuda", {}, by_driver=True) == [f"--torch-backend auto {plain}", plain]
    assert sources("cuda", {"index-url": "https://mirror.example"}, by_driver=True) == [plain, f"--torch-backend auto {plain}"]


class Machine:
    """A machine on which commands are only written down; `fails` says which do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: str = "nothing", torch: str = "", gpu: str = "") -> None:
        self.commands: list[str] = []
        self.fails, self.torch, self.gpu = fails, torch, gpu
        monkeypatch.setattr(install, "run", self.run)
        monkeypatch.setattr(install, "output", self.output)
        monkeypatch.setattr(install.shutil, "which", lambda name: name if gpu else None)
        monkeypatch.setattr(install.sys, "platform", "linux")
        monkeypatch.chdir(Path(__file__).parents[2])

    def run(self, command: list[str], **variables: str) -> bool:
        self.commands.append(" ".join(command))
        return self.fails not in self.commands[-1]

    def output(self, command: list[str]) -> str:
        if "config" in command:
            return "global.find-links='/wheels'\nglobal.constraint='/etc/constraints.txt'"
        return self.gpu if command[0] == "nvidia-smi" else self.torch


def test_uv_installs_torch_then_the_lock_then_lugha(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch)
    install.install(tmp_path, "")
    _venv, fetch, *installs = machine.commands
    assert fetch.endswith(f"--require-hashes -r {tmp_path}/uv.lock")
    assert [name for name, _ in install.packages((tmp_path / "uv.lock").read_text())] == ["uv"]
    assert all(command.startswith(f"{tmp_path}/bin/uv pip install --python ") for command in installs)
    assert all("--find-links /wheels" in command for command in installs)
    asked = ["torch==2.13.0+cpu", f"{tmp_path}/requirements.lock", f"{tmp_path}/built.lock", "."]
    assert [command.split()[-1] for command in installs] == asked
    texts = ((tmp_path / file).read_text() for file in ("requirements.lock", "built.lock"))
    ready, built = ([name for name, _ in install.packages(text)] for text in texts)
    assert built == ["fasttext"] and not {"torch", "fasttext"} & set(ready)
    assert {"setuptools", "pybind11", "hatchling"} <= set(ready)  # what builds is there before
    assert all("--require-hashes" in command and "--constraints" not in command for command in installs[1:3])
    assert "--constraints /etc/constraints.txt" in installs[0]
    assert all("--no-build-isolation" in command for command in installs[2:])


def test_where_torch_has_one_build_it_is_of_the_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch)
    monkeypatch.setattr(install.sys, "platform", "darwin")
    install.install(tmp_path, "")
    assert not [command for command in machine.commands if "torch==" in command]
    assert "torch" in [name for name, _ in install.packages((tmp_path / "requirements.lock").read_text())]


def test_pip_installs_where_uv_is_not_to_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(monkeypatch, fails="uv.lock", gpu="GPU 0")
    install.install(tmp_path, "")
    installs = machine.commands[2:]
    assert all(command.startswith(f"{tmp_path}/bin/python -m pip ") for command in installs)
    assert not [command for command in installs if "--find-links" in command or "--torch-backend" in command]  # uv's words
    assert "installing with pip" in capsys.readouterr().out


def test_the_next_source_of_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, fails="constraints.txt --no-deps torch==")
    install.install(tmp_path, "")
    assert [command.split()[-1] for command in machine.commands if install.CPU_INDEX in command] == ["torch==2.13.0+cpu"]
    assert not [command for command in machine.commands if install.CPU_INDEX in command and "/wheels" in command]


def test_no_source_of_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, fails="torch==")
    with pytest.raises(SystemExit, match="TORCH=cuda"):
        install.install(tmp_path, "")
    assert not [command for command in machine.commands if "requirements.lock" in command]  # hundreds of megabytes for nothing


@pytest.mark.parametrize(
    ("there", "wanted", "gpu", "asked"),
    [
        ("2.13.0+rocm7.0", "", "", None),  # somebody's own build stays
        ("2.13.0", "cpu", "GPU 0", "+cpu"),
        ("2.13.0+cpu", "cuda", "", "!=2.13.0+cpu"),
        ("2.12.0", "", "", "+cpu"),
        ("", "", "GPU 0", "!=2.13.0+cpu"),
    ],
)
def test_which_build_of_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: str, wanted: str, gpu: str, asked: str | None
) -> None:
    machine = Machine(monkeypatch, torch=there, gpu=gpu)
    install.install(tmp_path, wanted)
    torch = [command for command in machine.commands if "torch==" in command]
    assert [command.endswith(asked) for command in torch] == [True] if asked else not torch


def test_make_installs_again_where_a_build_is_asked_for() -> None:
    root = Path(__file__).parents[2]
    made = subprocess.run(["make", "-n", "install", "TORCH=cpu"], cwd=root, capture_output=True, text=True, check=True)
    assert '--torch "cpu"' in made.stdout


def test_make_clean_keeps_the_workspace() -> None:
    root = Path(__file__).parents[2]
    made = subprocess.run(["make", "-n", "clean"], cwd=root, capture_output=True, text=True, check=True)
    assert "workspace" not in made.stdout
