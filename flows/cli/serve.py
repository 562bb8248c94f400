"""Commands that hand builds over to Prefect."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import WORKSPACE, Languages, Preset, Set, Workspace, given


def serve(
    languages: Languages = None,
    preset: Preset = None,
    set_: Set = None,
    workspace: Workspace = WORKSPACE,
    limit: Annotated[int, typer.Option(min=1, help="Builds at the same time.")] = 1,
) -> None:
    """Serve one Prefect deployment per language, until stopped.

    Each has the refresh schedule of its language. Without languages: all packaged ones that the preset can build.
    """
    from flows.deployments import serve as run

    run(workspace.resolve(), languages, preset, set_ or [], limit)


def deploy(
    languages: Languages = None,
    *,
    work_pool: Annotated[str, typer.Option(help="Prefect work pool that runs the builds.", callback=given)],
    preset: Preset = None,
    set_: Set = None,
    workspace: Workspace = WORKSPACE,
) -> None:
    """Register the deployments with a Prefect work pool.

    Without languages: all packaged ones that the preset can build.
    """
    from flows.deployments import deploy as run

    run(workspace.resolve(), work_pool, languages, preset, set_ or [])
