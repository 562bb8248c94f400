"""A real Prefect server: its schedules run, there is one deployment per language, and a deployment's run completes.

A call of the flow in a test harness shows none of that: with the wrong SQLAlchemy a server starts and no schedule ever runs.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lang_configs import languages
from tests import REPOSITORY
from tests.flows.prefect_server import Prefect, tiny_language, wait

SERVE = """
import sys
from pathlib import Path
from flows.deployments import serve
serve(Path(sys.argv[1]), sys.argv[2:], overrides=["pretrain.steps=3"])
"""

TWO_MODELS = """
import sys
from pathlib import Path
from prefect import flow
from flows.build_lm import run
from flows.run.request import Request
from tests.flows.test_labels import two_models

@flow(name="two-models")
def two():
    return run(Request(sys.argv[1], workspace=Path(sys.argv[2]), overrides=["pretrain.steps=2"]), two_models)

two()
"""


@pytest.mark.parametrize("module", ["flows.cli", "flows.run.build", "flows.run.plan"])
def test_building_needs_no_prefect(module: str) -> None:
    code = f"import sys, {module}; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """Prefect's commands, and a server that runs."""
    here = f"{REPOSITORY}:{REPOSITORY / 'tools' / 'installed'}"
    installation = Prefect.of(tmp_path_factory.mktemp("prefect"), PYTHONPATH=here)
    with installation.server(tmp_path_factory.mktemp("server") / "server.log"):
        yield installation


@pytest.fixture(scope="module")
def served(prefect: Prefect, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """`lugha serve` of all packaged languages and the tiny one."""
    folder = tmp_path_factory.mktemp("serve")
    log = folder / "serve.log"
    tiny = tiny_language(tmp_path_factory.mktemp("tiny"))
    arguments = ["-c", SERVE, str(folder / "workspace"), *languages(), str(tiny)]
    with prefect.process(arguments, log, lambda: "start one with" in log.read_text()):
        yield prefect


@pytest.mark.slow
@pytest.mark.prefect
def test_one_deployment_per_language(served: Prefect) -> None:
    listed = served.command("deployment", "ls", "--output", "json")
    names = {deployment["name"] for deployment in json.loads(listed.stdout)}
    assert names == {*languages(), "tiny"}


@pytest.mark.prefect
def test_schedules_make_runs(served: Prefect) -> None:
    def scheduled() -> bool:
        runs = served.post("flow_runs", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        return len({run["deployment_id"] for run in runs}) == len(languages()) + 1

    wait(scheduled, 60, "not every deployment has a scheduled run")


@pytest.mark.prefect
def test_one_training_at_a_time_by_default(served: Prefect) -> None:
    limit = httpx.get(f"{served.api}/v2/concurrency_limits/gpu").raise_for_status().json()
    assert limit["limit"] == 1


@pytest.mark.prefect
@pytest.mark.slow
def test_a_run_completes_and_the_next_one_reuses_it(served: Prefect) -> None:
    first = served.command("deployment", "run", "build-lm/tiny", "--watch")
    assert "Completed" in first.stdout
    states = served.task_states()
    assert {"crawl.files", "clean", "select", "tokenizer", "pretrain", "release"} <= states.keys()
    assert set(states.values()) == {"Completed"}
    artifacts = {artifact["key"]: artifact for artifact in served.post("artifacts", {"limit": 200})}
    assert {"tiny-select", "tiny-data-card", "tiny-model-card", "tiny-folder"} <= artifacts.keys()
    for card in ("tiny-data-card", "tiny-model-card"):
        text = artifacts[card]["data"]
        assert text.lstrip().startswith("# ")
        assert "](plots/" not in text  # the page cannot read the folder
        plots = re.findall(r"\]\(data:image/svg\+xml;base64,([^)]*)\)", text)
        assert plots and all(b"</svg>" in base64.b64decode(plot) for plot in plots)
    counts = {row["count"]: row["value"] for row in json.loads(artifacts["tiny-clean"]["data"])}
    assert counts["documents"] == "120"

    second = served.command("deployment", "run", "build-lm/tiny", "--watch")
    assert "Completed" in second.stdout
    assert set(served.task_states().values()) == {"Reused"}


@pytest.mark.prefect
@pytest.mark.slow
def test_a_mistake_fails_the_run_with_its_sentence(served: Prefect) -> None:
    asked = served.command("deployment", "run", "build-lm/tiny", "--watch", "--param", "preset=huge", succeeds=False)
    assert asked.returncode == 1
    state = served.latest_run()["state"]
    assert state["type"] == "FAILED"
    assert state["message"].startswith("--preset huge: unknown preset")


@pytest.mark.prefect
@pytest.mark.slow
def test_the_graph_of_a_run_with_two_models_shows_which_reads_which(prefect: Prefect, tmp_path: Path) -> None:
    tiny = tiny_language(tmp_path)
    command = [prefect.python, "-c", TWO_MODELS, str(tiny), str(tmp_path / "w")]
    done = subprocess.run(command, env=prefect.environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    run = prefect.latest_run()["id"]
    graph = httpx.get(f"{prefect.api}/flow_runs/{run}/graph-v2").raise_for_status().json()
    nodes = dict(graph["nodes"])
    labels = {identity: node["label"] for identity, node in nodes.items()}
    reads = {labels[i]: {labels[parent["id"]] for parent in node["parents"]} for i, node in nodes.items()}
    assert reads["pretrain.teacher"] == {"tokens", "tokenizer"}
    assert reads["evaluate.teacher"] == {"pretrain.teacher", "tokenizer", "corpus"}
    assert reads["evaluate"] == {"pretrain", "tokenizer", "corpus"}
    assert reads["cards"] == set(labels.values()) - {"cards"}
