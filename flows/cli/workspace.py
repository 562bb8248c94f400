"""Commands that change what a workspace knows: takedowns, and the index of what was built."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import WORKSPACE, AsJson, Language, Workspace, given
from flows.cli.terminal import say


def forget(
    language: Language,
    url: Annotated[str | None, typer.Option(help="A page; later versions of it stay out, too.", callback=given)] = None,
    domain: Annotated[str | None, typer.Option(help="A domain and its subdomains.", callback=given)] = None,
    id_: Annotated[str | None, typer.Option("--id", metavar="HEX", help="One document.", callback=given)] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who read the block list.")] = "",
    copies: Annotated[bool, typer.Option("--copies", help="Also documents with the same or nearly the same words.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take it off the block list.")] = False,
    workspace: Workspace = WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Keep documents out of every later build (a takedown)."""
    from flows.cli.tables import print_json
    from flows.run.forgetting import forget as block
    from lang_configs import ConfigError
    from tasks.select.forgotten import entry

    wanted = entry(url, domain, id_, reason)
    if copies and undo:
        raise ConfigError("forget: --copies and --undo exclude each other; take copies off by their own addresses")
    told = block(workspace, language, wanted, copies, undo)
    if as_json:
        print_json({"entry": wanted.model_dump(exclude_none=True), "blocked": not undo, "told": told})
        return
    for line in told:
        say(line)


def rebuild(workspace: Workspace = WORKSPACE, as_json: AsJson = False) -> None:
    """Make the ledger anew from the manifests."""
    from flows.cli.tables import print_json
    from tasks import ledger

    read = ledger.rebuild(workspace)
    if as_json:
        print_json({"ledger": workspace / ledger.LEDGER, "read": read})
    else:
        say(f"{workspace / ledger.LEDGER}: made from {read} manifests and runs")
