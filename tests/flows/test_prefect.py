"""A real Prefect server: its schedules run, there is one deployment per language, and a deployment's run completes.

A call of the flow in a test harness shows none of that: with the wrong SQLAlchemy a server starts and no schedule ever runs.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lang_configs import languages
from tests import REPOSITORY
from tests.small_corpus import documents

START_SECONDS = 120  # of a server with a new database, on a machine with much else to do

TINY = """
name: Kiswahili
code: swh
script: Latn
crawl:
  sources: [{{type: files, paths: [{texts}]}}]
tokenizer: {{vocab_size: 512}}
pretrain: {{model: {{layers: 1, width: 32, heads: 1, context: 32}}, batch_tokens: 256}}
evaluate: {{samples: 1, sample_tokens: 4, seeds: 2, bootstrap: 100}}
schedule: {{cron: "30 2 * * *", timezone: Africa/Nairobi}}
"""

SERVE = """
import sys
from pathlib import Path
from flows.deployments import serve
serve(Path(sys.argv[1]), sys.argv[2:], overrides=["pretrain.steps=3"])
"""


@pytest.mark.parametrize("module", ["flows.cli", "flows.run.build", "flows.run.plan"])
def test_building_needs_no_prefect(module: str) -> None:
    code = f"import sys, {module}; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a Prefect installation of its own: folder, port, and no notice of the one of the person who tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return others | {
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "PREFECT_SERVER_API_PORT": port,
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(REPOSITORY),
    }


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server's API."""
    api = environment["PREFECT_API_URL"]

    def answers() -> bool:
        try:
            return httpx.get(f"{api}/health").is_success
        except httpx.HTTPError:
            return False

    log = tmp_path_factory.mktemp("server") / "server.log"
    with _process(["-m", "prefect", "server", "start"], environment, log, answers):
        yield api


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML file of a language whose whole pipeline takes seconds."""
    folder = tmp_path_factory.mktemp("tiny")
    texts = documents("swahili", 120, sentences=20)
    lines = (json.dumps({"text": text, "url": f"https://example.org/{number}"}) for number, text in enumerate(texts))
    (folder / "texts.jsonl").write_text("\n".join(lines))
    (folder / "tiny.yaml").write_text(TINY.format(texts=folder / "texts.jsonl"))
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def served(
    server: str, environment: dict[str, str], tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """`lugha serve` of all packaged languages and the tiny one; gives the environment for Prefect's commands."""
    folder = tmp_path_factory.mktemp("serve")
    log = folder / "serve.log"
    arguments = ["-c", SERVE, str(folder / "workspace"), *languages(), str(tiny)]
    with _process(arguments, environment, log, lambda: "start one with" in log.read_text()):
        yield environment


@pytest.mark.prefect
def test_one_deployment_per_language(served: dict[str, str]) -> None:
    listed = _prefect(served, "deployment", "ls", "--output", "json")
    names = {deployment["name"] for deployment in json.loads(listed.stdout)}
    assert names == {*languages(), "tiny"}


@pytest.mark.prefect
def test_schedules_make_runs(served: dict[str, str]) -> None:
    def scheduled() -> bool:
        runs = _post(served, "flow_runs", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        return len({run["deployment_id"] for run in runs}) == len(languages()) + 1

    _wait(scheduled, 60, "not every deployment has a scheduled run")


@pytest.mark.prefect
def test_one_training_at_a_time_by_default(served: dict[str, str]) -> None:
    limit = httpx.get(f"{served['PREFECT_API_URL']}/v2/concurrency_limits/gpu").raise_for_status().json()
    assert limit["limit"] == 1


@pytest.mark.prefect
@pytest.mark.slow
def test_a_run_completes_and_the_next_one_reuses_it(served: dict[str, str]) -> None:
    first = _prefect(served, "deployment", "run", "build-lm/tiny", "--watch")
    assert "Completed" in first.stdout
    states = _task_states(served)
    assert {"crawl.files", "clean", "select", "tokenizer", "pretrain", "release"} <= states.keys()
    assert set(states.values()) == {"Completed"}
    artifacts = {artifact["key"]: artifact for artifact in _post(served, "artifacts", {"limit": 200})}
    assert {"tiny-select", "tiny-data-card", "tiny-model-card", "tiny-folder"} <= artifacts.keys()
    for card in ("tiny-data-card", "tiny-model-card"):
        text = artifacts[card]["data"]
        assert text.lstrip().startswith("# ")
        assert "](plots/" not in text  # the page cannot read the folder
        plots = re.findall(r"\]\(data:image/svg\+xml;base64,([^)]*)\)", text)
        assert plots and all(b"</svg>" in base64.b64decode(plot) for plot in plots)
    counts = {row["count"]: row["value"] for row in json.loads(artifacts["tiny-clean"]["data"])}
    assert counts["documents"] == "120"

    second = _prefect(served, "deployment", "run", "build-lm/tiny", "--watch")
    assert "Completed" in second.stdout
    assert set(_task_states(served).values()) == {"Reused"}


@pytest.mark.prefect
@pytest.mark.slow
def test_a_mistake_fails_the_run_with_its_sentence(served: dict[str, str]) -> None:
    asked = _prefect(served, "deployment", "run", "build-lm/tiny", "--watch", "--param", "preset=huge", succeeds=False)
    assert asked.returncode == 1
    state = _latest_run(served)["state"]
    assert state["type"] == "FAILED"
    assert state["message"].startswith("--preset huge: unknown preset")


@contextmanager
def _process(arguments: list[str], environment: dict[str, str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """A Python process and all that it starts, from when it is ready until the end of the block."""
    command = [sys.executable, *arguments]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        try:
            _wait(lambda: process.poll() is not None or ready(), START_SECONDS, "it did not start")
            assert process.poll() is None, "it ended"
        except AssertionError as error:
            raise AssertionError(f"{' '.join(arguments[:4])}: {error}:\n{log.read_text()[-4000:]}") from None
        yield
    finally:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, stop)
                process.wait(timeout=30)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def _wait(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.5)


def _prefect(environment: dict[str, str], *arguments: str, succeeds: bool = True) -> subprocess.CompletedProcess[str]:
    """A `prefect` command as a person types it, in a folder without a prefect.toml."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=environment | {"COLUMNS": "200"},
        cwd=environment["PREFECT_HOME"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not succeeds or done.returncode == 0, done.stdout + done.stderr
    return done


def _post(environment: dict[str, str], kind: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    answer = httpx.post(f"{environment['PREFECT_API_URL']}/{kind}/filter", json=query).raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


def _latest_run(environment: dict[str, str]) -> dict[str, Any]:
    """The run that ended last; scheduled ones are later still."""
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}}}
    return _post(environment, "flow_runs", {"flow_runs": ended, "sort": "END_TIME_DESC", "limit": 1})[0]


def _task_states(environment: dict[str, str]) -> dict[str, str]:
    """State name of each task of the latest run."""
    run = _latest_run(environment)["id"]
    tasks = _post(environment, "task_runs", {"flow_runs": {"id": {"any_": [run]}}})
    return {task["name"]: task["state"]["name"] for task in tasks}
