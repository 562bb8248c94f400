"""After a power cut the next run of the same language gets its slot, and the GPU's: nothing that died holds them for ever."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests import REPOSITORY
from tests.flows.prefect_server import Prefect, tiny_language, wait
from tests.flows.test_prefect import SERVE

LEASE_SECONDS = 300
"""Of Prefect's leases: so long may what died hold a slot."""


def taken(prefect: Prefect) -> int:
    slots: int = httpx.get(f"{prefect.api}/v2/concurrency_limits/gpu").raise_for_status().json()["active_slots"]
    return slots


@contextlib.contextmanager
def running(prefect: Prefect, folder: Path, tiny: Path, name: str) -> Iterator[None]:
    """A server started as the README says, in the folder of prefect.toml, and `lugha serve`."""
    log = folder / f"serve-{name}.log"
    arguments = ["-c", SERVE, str(folder / "workspace"), str(tiny)]
    with (
        prefect.server(folder / f"server-{name}.log"),
        prefect.process(arguments, log, lambda: "start one with" in log.read_text()),
    ):
        yield


@pytest.mark.prefect
@pytest.mark.slow
def test_server_runner_and_run_by_kill_9_in_the_middle_of_a_training(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    prefect = Prefect.of(tmp_path / "home", PYTHONPATH=f"{REPOSITORY}:{REPOSITORY / 'tools' / 'installed'}")
    tiny = tiny_language(tmp_path)
    with running(prefect, tmp_path, tiny, "before"):
        prefect.command(
            "deployment", "run", "build-lm/tiny", "--param", 'overrides=["pretrain.minutes=60", "pretrain.epochs=1e6"]'
        )
        wait(lambda: taken(prefect) == 1, 300, "the training did not begin")
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    with running(prefect, tmp_path, tiny, "after"):
        asked = prefect.command("deployment", "run", "build-lm/tiny", "--watch")
        assert "Completed" in asked.stdout
        wait(lambda: taken(prefect) == 0, LEASE_SECONDS, "the GPU is still taken")
