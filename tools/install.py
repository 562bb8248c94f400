"""Install what requirements.lock names into a virtual environment; write that lock.

`make install` and `make lock` call it with the system's Python, before anything is installed: the standard library only.

Everything is checked by the hashes of the lock, uv and what builds packages among it: pip fetches uv into the environment, and
what is built from its source (fastText, lugha) is built with what the lock has installed before. Where uv is not to be had, pip
installs. uv reads none of pip's settings, so it is told them here: on many machines they are the way to packages, or to a build
of torch.

On Linux torch is installed apart, as its build depends on the machine and not on the platform: the package index has only the
one for NVIDIA GPUs, with gigabytes of CUDA packages. So the lock names none of these (torch pins them itself, where it needs
them), and Linux without such a GPU gets the CPU build. Both builds are known by their versions alone.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

LOCK = Path("requirements.lock")
HEADER = """\
# Exact versions and hashes for Python 3.11 and newer, on Linux and macOS, x86-64 and ARM; made by `make lock`.
# Without torch's CUDA packages: see tools/install.py.
"""
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
BUILT = ("fasttext",)
"""Packages without wheels."""
CUDA_PACKAGE = re.compile(r"(nvidia|cuda)-.*|triton")

# What uv calls the settings of pip.
UV_FLAGS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraints",
    "trusted-host": "--allow-insecure-host",
}
UV_VARIABLES = {"cert": "SSL_CERT_FILE", "client-cert": "SSL_CLIENT_CERT", "proxy": "ALL_PROXY", "timeout": "UV_HTTP_TIMEOUT"}


def pip_settings(listing: str) -> dict[str, str]:
    """Read what `pip config list` prints: a command's section overrules the global one, and PIP_* variables overrule both."""
    settings = {}
    for section in ("global", "install", ":env:"):
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            where, _, name = key.rpartition(".")
            if where == section:
                settings[name.removeprefix("default-")] = str(ast.literal_eval(value))
    return settings


def uv_flags(settings: dict[str, str]) -> list[str]:
    """Say pip's settings as arguments of uv."""
    flags = [word for name, flag in UV_FLAGS.items() for value in settings.get(name, "").split() for word in (flag, value)]
    if settings.get("no-index", "").lower() in ("1", "on", "true", "yes"):
        flags.append("--no-index")
    if settings.get("extra-index-url"):
        flags += ["--index-strategy", "unsafe-best-match"]  # the best version of all indexes, as pip does
    return flags


def uv_environment(settings: dict[str, str]) -> dict[str, str]:
    """Say pip's settings as environment variables of uv."""
    return {variable: settings[name] for name, variable in UV_VARIABLES.items() if settings.get(name)}


def packages(lock: str) -> list[tuple[str, str]]:
    """Part a lock into names and what it says of each: a line, and lines of hashes below it."""
    entries = re.findall(r"^\w.*\n(?:[ \t].*\n)*", lock, re.MULTILINE)
    return [(re.split(r"[\s=;\[]", entry, maxsplit=1)[0], entry) for entry in entries]


def torch_version(lock: str) -> str:
    """Find the version of torch in the lock."""
    entry = dict(packages(lock))["torch"]
    return entry.split("==", 1)[1].split()[0]


def torch_attempts(build: str, version: str, settings: dict[str, str], *, by_driver: bool) -> list[tuple[str, list[str]]]:
    """List where torch may come from, best first, each with arguments for uv and pip alike (but `--torch-backend`, uv's own).

    Settings of the machine that name a source come first: they are there for a reason, and may be the only way.
    """
    own = any(settings.get(name) for name in ("find-links", "index-url", "extra-index-url"))
    if build == "cpu":
        mine = ("the sources of this machine's pip settings", ["--no-deps", f"torch=={version}+cpu"])
        pytorch = ("PyTorch's index", ["--no-deps", "--index-url", CPU_INDEX, f"torch=={version}+cpu"])
        return [mine, pytorch] if own else [pytorch]
    any_but_cpu = f"torch=={version},!={version}+cpu"
    plain = ("the package index", [any_but_cpu])
    if not by_driver:
        return [plain]
    driver = ("PyTorch's index, for the driver of this GPU", ["--torch-backend", "auto", any_but_cpu])
    return [plain, driver] if own else [driver, plain]


def run(command: list[str], **variables: str) -> bool:
    """Run a command, its output shown; whether it succeeded."""
    return subprocess.run(command, env={**os.environ, **variables}).returncode == 0


def output(command: list[str]) -> str:
    """Run a command for what it prints, nothing if it fails."""
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else ""


def part_of_lock(venv: Path, file: str, chosen: Callable[[str], bool]) -> str:
    """Write what the lock says of the packages of these names into the environment; returns the path."""
    part = venv / file
    part.write_text("".join(entry for name, entry in packages(LOCK.read_text()) if chosen(name)))
    return str(part)


class Installer:
    """An environment, and uv to install into it, or pip."""

    def __init__(self, venv: Path) -> None:
        self.python = str(venv / "bin" / "python")
        if not (venv / "bin" / "pip").exists() and not run([sys.executable, "-m", "venv", str(venv)]):
            sys.exit("Python cannot make a virtual environment: see above")
        pip = [self.python, "-m", "pip", "--disable-pip-version-check"]
        self.settings = pip_settings(output([*pip, "config", "list"]))
        own = [
            "install",
            "-qq",
            "--no-deps",
            "--require-hashes",
            "-r",
            part_of_lock(venv, "uv.lock", lambda name: name == "uv"),
        ]
        self.uv = [str(venv / "bin" / "uv"), "pip"] if run([*pip, *own]) else []
        if not self.uv:
            print("uv is not to be had here: installing with pip, which takes longer", flush=True)
        self.command = [*self.uv, "install", "--python", self.python] if self.uv else [*pip, "install"]
        if not sys.stderr.isatty():  # a log needs no bars of progress
            self.command.append("-q")

    def install(self, *arguments: str) -> bool:
        """Install; whether it succeeded."""
        settings = self.settings
        if "--require-hashes" in arguments:  # every version is pinned, and uv then takes no constraint that pins none
            settings = {name: value for name, value in settings.items() if name != "constraint"}
        flags = uv_flags(settings) if self.uv and "--index-url" not in arguments else []
        return run([*self.command, *flags, *arguments], **(uv_environment(self.settings) if self.uv else {}))


def install_torch(installer: Installer, version: str, wanted: str) -> None:
    """Install the build of torch that is asked for, or the one for this machine; keep what is there if none is asked for."""
    there = output([installer.python, "-c", "from importlib.metadata import version; print(version('torch'))"])
    if not wanted and there.split("+")[0] == version:
        print(f"torch {there} is there already (`make install TORCH=cpu` or `TORCH=cuda` changes it)", flush=True)
        return
    gpu = bool(shutil.which("nvidia-smi") and output(["nvidia-smi", "-L"]))
    build = wanted or ("cuda" if gpu else "cpu")
    reason = "as asked for" if wanted else f"as there is {'an' if gpu else 'no'} NVIDIA GPU"
    other = "cpu" if build == "cuda" else "cuda"
    print(f"torch {version}: the {build.upper()} build, {reason}; `make install TORCH={other}` takes the other", flush=True)
    by_driver = gpu and bool(installer.uv)
    for source, arguments in torch_attempts(build, version, installer.settings, by_driver=by_driver):
        print(f"torch {version}: from {source}", flush=True)
        if installer.install(*arguments):
            return
    advice = "; `make install TORCH=cuda` takes the other, some 3 GB, which needs no GPU" if build == "cpu" else ""
    sys.exit(f"This build of torch {version} is not to be had for this Python{advice}")


def install(venv: Path, wanted: str) -> None:
    """Install torch, then the rest of the lock by its hashes, then lugha itself, from this folder."""
    installer = Installer(venv)
    apart = {"torch"} if sys.platform == "linux" else set()
    if apart:
        install_torch(installer, torch_version(LOCK.read_text()), wanted)
    ready = part_of_lock(venv, LOCK.name, lambda name: name not in {*apart, *BUILT})
    built = part_of_lock(venv, "built.lock", lambda name: name in BUILT)
    by_hash, here = ["--no-deps", "--require-hashes", "-r"], "--no-build-isolation"
    steps = ([*by_hash, ready], [here, *by_hash, built], [here, "--no-deps", "-e", "."])
    if not all(installer.install(*step) for step in steps):
        sys.exit("The installation failed: see above")


def write_lock(venv: Path) -> None:
    """Write the lock from pyproject.toml for all platforms, from the package index alone: nothing of this machine gets in."""
    installer = Installer(venv)
    if not installer.uv:
        sys.exit("Only uv makes a lock for all platforms")
    index = uv_flags({name: value for name, value in installer.settings.items() if name in ("index-url", "trusted-host")})
    options = ["--universal", "--python-version", "3.11", "--extra", "dev", "--generate-hashes", "--no-annotate", "--no-header"]
    command = [*installer.uv, "compile", "-q", *options, *index, "pyproject.toml", "-o", str(LOCK)]
    if not run(command, **uv_environment(installer.settings)):
        sys.exit("uv finds no versions that go together: see above")
    LOCK.write_text(HEADER + "".join(entry for name, entry in packages(LOCK.read_text()) if not CUDA_PACKAGE.fullmatch(name)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["install", "lock"])
    parser.add_argument("--venv", type=Path, default=Path(".venv"))
    parser.add_argument("--torch", choices=["", "cpu", "cuda"], default="", help="the build, if not this machine's")
    arguments = parser.parse_args()
    if arguments.what == "lock":
        write_lock(arguments.venv)
    else:
        install(arguments.venv, arguments.torch)


if __name__ == "__main__":
    main()
