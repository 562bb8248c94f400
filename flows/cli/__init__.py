"""The command line: what there is, and how a command ends.

Heavy imports happen inside the commands: `lugha --help` answers in under half a second.
"""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from textwrap import fill
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from flows.cli import build, model, read, serve, workspace
from flows.cli.terminal import Warnings, say
from tasks.core.errors import INTERRUPTED, TERMINATED, known, was_interrupted

ABOUT = "From the name of a language to a documented corpus, a tokenizer, a small language model, its evaluation and cards."
FIRST_STEPS = f"""{fill(ABOUT, 80)}

  lugha build swahili --preset starter     all of it, from a small site
  lugha stats swahili                      where the text went, and the scores
  lugha generate swahili --prompt Habari   what the model writes

`lugha --help` lists all commands, `lugha COMMAND --help` their options."""

STOPPED_BUILD = "what is finished is kept: the same command goes on from there"
STOPPED = "nothing is left half done: give the same command again"

_PLAIN = {"rich_markup_mode": None, "context_settings": {"help_option_names": ["-h", "--help"]}}

app = typer.Typer(help=ABOUT, pretty_exceptions_enable=False, **_PLAIN)  # type: ignore[arg-type]
command: Callable[..., None]
for command in (build.build, build.plan, read.status, read.stats, read.sample, read.explain, model.generate, model.evaluate):
    app.command()(command)
for command in (workspace.forget, read.languages):
    app.command()(command)
app.command("train-lid")(model.train_lid)
app.command()(serve.serve)
app.command()(serve.deploy)
ledger = typer.Typer(help="The DuckDB index of all that was built.", **_PLAIN)  # type: ignore[arg-type]
ledger.command()(workspace.rebuild)
app.add_typer(ledger, name="ledger")


@ledger.callback()
def ledger_commands() -> None:
    """The DuckDB index of all that was built."""


@app.callback(invoke_without_command=True)
def first_steps(
    context: typer.Context,
    version_: Annotated[bool, typer.Option("--version", help="Show the versions of this program, Python and torch.")] = False,
) -> None:
    """Of `lugha` alone: what to do first."""
    if version_:
        say(f"lugha {_version('lugha')} (Python {platform.python_version()}, torch {_version('torch')})")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(FIRST_STEPS)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point. A known mistake ends in one sentence, a fault of this program in a traceback.

    Exit codes: 2 for arguments and configs, 1 for a stage and what is on disk, 130 after Ctrl-C, 143 after SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 has not every letter
    logging.basicConfig(handlers=[Warnings(logging.WARNING)], format="%(message)s")
    with _termination_as_interrupt() as terminated:
        try:
            code = typer.main.get_command(app).main(arguments, prog_name="lugha", standalone_mode=False) or 0
        except KeyboardInterrupt:
            code = INTERRUPTED
        except typer.TyperException as error:
            code = error.exit_code
            say(_usage(error), file=sys.stderr)
        except Exception as error:
            if was_interrupted(error):
                code = INTERRUPTED
            elif (explained := known(error)) is not None:
                sentence, code = explained
                say(sentence, file=sys.stderr)
            else:
                raise
    if code == INTERRUPTED:
        words = sys.argv[1:] if arguments is None else arguments
        say(f"\nstopped; {STOPPED_BUILD if 'build' in words[:1] else STOPPED}", file=sys.stderr)
        code = TERMINATED if terminated else code
    sys.exit(code)


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[list[int]]:
    """SIGTERM ends a command as Ctrl-C does; gives the list of those that came.

    Python swallows what is raised in a finalizer, where a signal may find it as well as anywhere: it is raised once more.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    def swallowed(ignored: sys.UnraisableHookArgs) -> None:
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            again = partial(
                signal.pthread_kill, threading.main_thread().ident or 0, received.pop() if received else signal.SIGINT
            )
            threading.Timer(0.01, again).start()  # in this thread it would be answered, and swallowed, here
        else:
            sys.__unraisablehook__(ignored)

    before, hook = signal.signal(signal.SIGTERM, interrupt), sys.unraisablehook
    sys.unraisablehook = swallowed
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = hook


def _usage(error: Any) -> str:
    """One line for what typer says in four."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "lugha"
    return f"{path}: {' '.join(error.format_message().split())} (`{path} --help` says what it takes)"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
