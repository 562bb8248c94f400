"""Prefect deployments of `build-lm`: one for each language, with the refresh schedule from its YAML file."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.build_lm import GPU, build_lm  # first: it switches the telemetry off before prefect is imported

# isort: split
import httpx
import prefect
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron
from prefect.settings import get_current_settings

from flows.cli.terminal import say
from flows.run.request import Request
from lang_configs import ConfigError, LanguageConfig, find, names_a_file, stem
from lang_configs import languages as packaged_languages
from tasks.core.paths import child_environment

ENTRYPOINT = "lugha.deployed.build_lm"
"""What a run imports. Prefect looks first in the folder where the run starts, which may hold another `flows` or `tasks`."""

START_SECONDS = 60
"""How long a server may take to answer: a new database needs ten seconds on a slow machine."""


def serve(
    workspace: Path,
    languages: Sequence[str] | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    limit: int = 1,
) -> None:
    """Register the deployments and run what is due or asked for, until SIGTERM or Ctrl-C; schedules stay active after it.

    `languages` are packaged names or YAML files (default: all packaged ones that the preset can build; the others are
    named), `preset` and `overrides` the default parameters of their runs, `limit` the runs at the same time. Raises
    ConfigError when a language cannot be built or no server answers.
    """
    deployments = _deployments(workspace, languages, preset, overrides)
    _wait_for_server()
    _create_gpu_limit()
    for deployment in deployments:
        deployment.apply()
        say(f"serving {build_lm.name}/{deployment.name}")
    say(f"start one with `prefect deployment run {build_lm.name}/{deployments[0].name} --watch`; stop serving with Ctrl-C")
    os.environ.update(child_environment())  # a run is a child of this process, in the same folder
    # Prefect's own message comes before the deployments are registered: a run asked for at once is told "not found"
    prefect.serve(*deployments, pause_on_shutdown=False, print_starting_message=False, limit=limit)


def deploy(
    workspace: Path,
    work_pool: str,
    languages: Sequence[str] | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """Register the deployments with `work_pool`, whose workers have this package installed and see `workspace`.

    Languages are chosen as by `serve`. Raises ConfigError when a language cannot be built, no server answers or the pool
    does not exist.
    """
    deployments = _deployments(workspace, languages, preset, overrides, work_pool)
    _wait_for_server()
    _create_gpu_limit()
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(work_pool)
        except ObjectNotFound:
            make = f"prefect work-pool create {work_pool} --type process"
            raise ConfigError(f"--work-pool {work_pool}: there is no such pool; make it with `{make}`") from None
    for deployment in deployments:
        deployment.apply()
        say(f"{build_lm.name}/{deployment.name} -> {work_pool}")


def _deployments(
    workspace: Path, languages: Sequence[str] | None, preset: str | None, overrides: Sequence[str], work_pool: str | None = None
) -> list[RunnerDeployment]:
    made = []
    for language, config in _configs(workspace, languages, preset, overrides).items():
        # runs start in a temporary folder: every path must be absolute
        file = str(find(language).resolve()) if names_a_file(language) else language
        parameters: dict[str, Any] = {"language": file, "workspace": str(workspace.resolve())}
        parameters |= {"preset": preset} if preset else {}
        parameters |= {"overrides": list(overrides)} if overrides else {}
        deployment = RunnerDeployment.from_flow(
            build_lm,
            name=stem(language),
            description=f"{config.name} ({config.label}): corpus, tokenizer, model, evaluation and cards",
            parameters=parameters,
            schedules=[Cron(config.schedule.cron, timezone=config.schedule.timezone)],
            concurrency_limit=1,
            tags=["lugha", config.label],
            work_pool_name=work_pool,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        deployment.entrypoint = ENTRYPOINT
        made.append(deployment)
    return made


def _configs(
    workspace: Path, languages: Sequence[str] | None, preset: str | None, overrides: Sequence[str]
) -> dict[str, LanguageConfig]:
    """The config of each language; of those that nobody named, the ones that can be built at all."""
    found: dict[str, LanguageConfig] = {}
    refused: dict[str, ConfigError] = {}
    for language in languages or packaged_languages():
        try:
            found[language], _ = Request(language, preset, overrides=list(overrides), workspace=workspace).resolve()
        except ConfigError as error:
            refused[language] = error
    if refused and (languages or not found):
        raise next(iter(refused.values()))
    reasons: dict[str, list[str]] = {}
    for language, why in refused.items():
        reasons.setdefault(str(why).removeprefix(f"{language}: "), []).append(language)
    for reason, left_out in reasons.items():
        say(f"left out: {', '.join(left_out)}: {reason}")
    return found


def _wait_for_server() -> None:
    url = get_current_settings().api.url
    if not url:
        raise ConfigError(
            "no Prefect server is configured; run `prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api` "
            "and, in a terminal of its own, `prefect server start`"
        )
    deadline, said = time.monotonic() + START_SECONDS, False
    while True:
        try:
            httpx.get(f"{url}/health", timeout=5).raise_for_status()
            return
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"{url}: no Prefect server answers ({error}); run `prefect server start` in a terminal of its own"
                ) from None
        if not said:
            say(f"waiting for the Prefect server at {url} (`prefect server start` in a terminal of its own)")
            said = True
        time.sleep(0.5)


def _create_gpu_limit() -> None:
    """One training at a time, unless the server already has a limit of this name: then its owner decides."""
    with get_client(sync_client=True) as client:
        # asked first, because the server writes a traceback to its log when it is told to make a second one
        try:
            client.read_global_concurrency_limit_by_name(GPU)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU, limit=1))
