"""Prefect as a person has it: a server of its own, commands typed in some folder, and what its API knows of runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

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


def tiny_language(folder: Path) -> Path:
    """The YAML file of a language whose whole pipeline takes seconds."""
    texts = documents("swahili", 120, sentences=20)
    lines = (json.dumps({"text": text, "url": f"https://example.org/{number}"}) for number, text in enumerate(texts))
    (folder / "texts.jsonl").write_text("\n".join(lines))
    (folder / "tiny.yaml").write_text(TINY.format(texts=folder / "texts.jsonl"))
    return folder / "tiny.yaml"


@dataclass(frozen=True)
class Prefect:
    """An installation: its Python, and variables that keep it apart from the one of the person who tests."""

    python: str
    environment: dict[str, str]

    @classmethod
    def of(cls, home: Path, python: str = sys.executable, **more: str) -> Prefect:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        others = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
        own = {
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_API_PORT": port,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        return cls(python, others | own | more)

    @property
    def api(self) -> str:
        return self.environment["PREFECT_API_URL"]

    @contextmanager
    def server(self, log: Path) -> Iterator[None]:
        def answers() -> bool:
            try:
                return httpx.get(f"{self.api}/health").is_success
            except httpx.HTTPError:
                return False

        # in the folder of prefect.toml, as the README says
        with self.process(["-m", "prefect", "server", "start"], log, answers, REPOSITORY):
            yield

    def process(self, arguments: Sequence[str], log: Path, ready: Callable[[], bool], folder: Path | None = None) -> Any:
        return process([self.python, *arguments], self.environment, log, ready, folder)

    def command(self, *arguments: str, succeeds: bool = True, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A `prefect` command as a person types it, in a folder without a prefect.toml."""
        done = subprocess.run(
            [self.python, "-m", "prefect", *arguments],
            env=self.environment | {"COLUMNS": "200"},
            cwd=folder or self.environment["PREFECT_HOME"],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not succeeds or done.returncode == 0, done.stdout + done.stderr
        return done

    def post(self, kind: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.api}/{kind}/filter", json=query).raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def latest_run(self) -> dict[str, Any]:
        """The run that ended last; scheduled ones are later still."""
        ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}}}
        return self.post("flow_runs", {"flow_runs": ended, "sort": "END_TIME_DESC", "limit": 1})[0]

    def task_states(self) -> dict[str, str]:
        """State name of each task of the latest run."""
        tasks = self.post("task_runs", {"flow_runs": {"id": {"any_": [self.latest_run()["id"]]}}})
        return {task["name"]: task["state"]["name"] for task in tasks}


@contextmanager
def process(
    command: list[str], environment: dict[str, str], log: Path, ready: Callable[[], bool], folder: Path | None = None
) -> Iterator[None]:
    """A process and all that it starts, from when it is ready until the end of the block; starts in `folder`."""
    with open(log, "wb") as output:
        running = subprocess.Popen(
            command, env=environment, cwd=folder or log.parent, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        try:
            wait(lambda: running.poll() is not None or ready(), START_SECONDS, "it did not start")
            assert running.poll() is None, "it ended"
        except AssertionError as error:
            raise AssertionError(f"{' '.join(command[1:5])}: {error}:\n{log.read_text()[-4000:]}") from None
        yield
    finally:
        for stop in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(running.pid, stop)
                running.wait(timeout=30)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def wait(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.5)
