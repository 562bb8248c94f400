"""The wheel among other people's things: started in their folders, beside their distributions, by Prefect and by Dask.

The repository is out of reach here: a wheel is installed in an environment that has everything else from the one of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.flows.prefect_server import Prefect, process, tiny_language
from tests.flows.starter import TINY

NAMES = ("flows", "tasks", "lang_configs")


@dataclass(frozen=True)
class Place:
    """An environment with the wheel, and a folder to work in."""

    bin: Path
    folder: Path

    def run(self, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command of the environment, in the folder."""
        others = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PREFECT_", "LUGHA_"))}
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=folder or self.folder,
            env=others,
            capture_output=True,
            text=True,
            timeout=1200,  # the first command compiles what numba compiles
            check=False,
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The wheel beside a distribution that has installed `tasks`, and a folder with modules of a person's own."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, capture_output=True)
    place = Place(environment / "bin", tmp_path_factory.mktemp("work"))
    assert not place.run("python", "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)).returncode
    site = Path(place.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    (site / "everything_else.pth").write_text(sysconfig.get_path("purelib"))
    (site / "tasks").mkdir()
    for module in (site / "tasks" / "__init__.py", *(place.folder / name for name in ("tasks.py", "utils.py"))):
        module.write_text("OWNER = 'another'\n")
    for name in ("flows", "lang_configs"):
        (place.folder / name).mkdir()
        (place.folder / name / "__init__.py").write_text("OWNER = 'another'\n")
    return place


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def prefect(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """The Prefect of the environment, with a server that runs."""
    installation = Prefect.of(tmp_path_factory.mktemp("prefect"), str(place.bin / "python"))
    with installation.server(tmp_path_factory.mktemp("server") / "server.log"):
        yield installation


def test_a_wheel_installs_one_name(wheel: Path) -> None:
    files = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in files} == {"lugha"}
    assert {name.split("/")[1] for name in files} == {*NAMES, "__init__.py", "__main__.py", "deployed.py"}


def test_a_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", *NAMES], cwd=REPOSITORY, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git repository")
    assert {f"lugha/{path}" for path in tracked.stdout.split()} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_names_of_others_stay_theirs_until_lugha_is_imported(place: Place) -> None:
    show = "print(*(m.__file__ for m in (tasks, flows, lang_configs)), sep='\\n')"
    theirs = place.run("python", "-c", f"import tasks, flows, lang_configs; {show}").stdout.split()
    assert theirs == [str(place.folder / path) for path in ("tasks.py", "flows/__init__.py", "lang_configs/__init__.py")]
    installed = place.run("python", "-P", "-c", "import tasks; print(tasks.OWNER)").stdout
    assert installed == "another\n"
    ours = place.run("python", "-c", f"import lugha, tasks, flows, lang_configs; {show}").stdout.split()
    assert [path.split("/site-packages/")[1] for path in ours] == [f"lugha/{n}/__init__.py" for n in ("tasks", *NAMES[::2])]


@pytest.mark.parametrize("found", ["tasks.py", "flows/__init__.py", "lang_configs/"])
def test_a_foreign_module_that_is_loaded_already_is_named(tmp_path: Path, found: str) -> None:
    name = found.split("/")[0].removesuffix(".py")
    (tmp_path / found).parent.mkdir(exist_ok=True)
    (tmp_path / found).mkdir() if found.endswith("/") else (tmp_path / found).touch()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "tools" / "installed")}
    # -S: without the editable install of the tests' environment, whose package goes before a mere folder
    command = [sys.executable, "-S", "-c", f"import {name}, lugha"]
    last = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {tmp_path / found} was imported as `{name}`, the name of a package of lugha: import")


@pytest.mark.slow
def test_build_in_an_empty_folder(place: Place, tiny: Path, tmp_path: Path) -> None:
    done = place.run("lugha", "build", str(tiny), "--set", "pretrain.steps=3", folder=tmp_path)
    assert not done.returncode, done.stdout + done.stderr
    assert list(tmp_path.glob("workspace/tiny/release/*/manifest.json"))


@pytest.mark.slow
def test_build_in_a_folder_with_modules_of_its_own(place: Place, tmp_path: Path) -> None:
    command = ["lugha", "build", "swahili", *TINY, "--set", "runtime.processes=2", "--workspace", str(tmp_path)]
    done = place.run(*command)
    assert not done.returncode, done.stdout + done.stderr
    assert list(tmp_path.glob("swahili/release/*/manifest.json"))


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["local", "started by hand"])
def test_build_on_a_dask_cluster(place: Place, tiny: Path, tmp_path: Path, cluster: str) -> None:
    command = ["lugha", "build", str(tiny), "--set", "pretrain.steps=3", "--workspace", str(tmp_path)]
    command += ["--set", "runtime.engine=dask", "--set", "runtime.workers=2"]
    if cluster == "local":
        done = place.run(*command)
    else:
        with _cluster(place, tmp_path) as address:
            done = place.run(*command, "--set", f"runtime.address={address}")
    assert not done.returncode, done.stdout + done.stderr
    assert list(tmp_path.glob("tiny/release/*/manifest.json"))


@contextmanager
def _cluster(place: Place, scratch: Path) -> Iterator[str]:
    """A scheduler and a worker, started in the folder with modules of its own; gives the scheduler's address."""
    file, python = scratch / "scheduler.json", str(place.bin / "python")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = [python, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common]
    worker = [python, "-m", "distributed.cli.dask_worker", "--nworkers", "2", "--nthreads", "1", *common]
    log = scratch / "worker.log"
    with (
        process(scheduler, environment, scratch / "scheduler.log", file.exists, place.folder),
        process(worker, environment, log, lambda: "Registered to" in log.read_text(), place.folder),
    ):
        yield json.loads(file.read_text())["address"]


@pytest.mark.prefect
@pytest.mark.slow
def test_serve(place: Place, prefect: Prefect, tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    command = ["-m", "lugha", "serve", *TINY, "--workspace", str(tmp_path / "built")]
    with prefect.process(command, log, lambda: "start one with" in log.read_text(), place.folder):
        listed = json.loads(prefect.command("deployment", "ls", "--output", "json").stdout)
        assert {deployment["name"] for deployment in listed} == {"swahili"}
        (left_out,) = [line for line in log.read_text().splitlines() if "left out: " in line]  # all for the same reason
        assert ", hausa, " in left_out
        assert ": this language has no starter site" in left_out
        run = prefect.command("deployment", "run", "build-lm/swahili", "--watch", folder=place.folder)
    assert "Completed" in run.stdout
    assert list(tmp_path.glob("built/swahili/release/*/manifest.json"))


@pytest.mark.prefect
@pytest.mark.slow
def test_work_pool(place: Place, prefect: Prefect, tiny: Path, tmp_path: Path) -> None:
    prefect.command("work-pool", "create", "shamba", "--type", "process")
    deploy = ["lugha", "deploy", str(tiny), "--work-pool", "shamba", "--set", "pretrain.steps=3"]
    command = [prefect.python, "-m", *deploy, "--workspace", str(tmp_path / "built")]
    subprocess.run(command, env=prefect.environment, cwd=tmp_path, check=True, capture_output=True)
    log = tmp_path / "worker.log"
    worker = ["-m", "prefect", "worker", "start", "--pool", "shamba"]
    with prefect.process(worker, log, lambda: "started!" in log.read_text(), place.folder):
        for folder in ([], ["--job-variable", f"working_dir={place.folder}"]):
            run = prefect.command("deployment", "run", "build-lm/tiny", "--watch", *folder)
            assert "Completed" in run.stdout, log.read_text()
    assert list(tmp_path.glob("built/tiny/release/*/manifest.json"))
