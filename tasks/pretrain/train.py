"""A training process: `python -m tasks.pretrain.train --tokens FOLDER --out FOLDER --config JSON --runtime JSON`.

It runs in a process of its own and prints a JSON object a line: {"tokens": ..., "total": ...} as it goes, {"warning": ...},
{"error": ...}, and at the end {"metrics": ...}. SIGINT, SIGTERM and, with --watch-stdin, the end of its input make it
save and exit with code 75; the same command goes on from there. In fp32 on one machine and with a budget of steps or
epochs, the result is bit for bit that of a run without the stop.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain
from tasks.core.errors import StageError
from tasks.pretrain import models
from tasks.pretrain.loop import train
from tasks.pretrain.publish import publish
from tasks.pretrain.start import start
from tasks.pretrain.state import STOP_SECONDS, STOPPED, State, Stop, Stopped

REPORT_SECONDS = 1.0
OUT_OF_MEMORY = (
    "the GPU's memory ran out; end other programs on it, set pretrain.checkpointing to true, or make pretrain.model smaller;"
    " the last checkpoint is kept"
)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns 0, STOPPED after a signal, or 1 after an error."""
    parser = argparse.ArgumentParser(prog="python -m tasks.pretrain.train")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of token files")
    parser.add_argument("--out", type=Path, required=True, help="folder for model/, metrics.parquet and checkpoints")
    parser.add_argument("--config", required=True, help="the pretrain section of the config, as JSON")
    parser.add_argument("--runtime", default="{}", help="the runtime section of the config, as JSON")
    parser.add_argument("--family-module", help="module that declares the model's family, if that is not one of ours")
    parser.add_argument("--watch-stdin", action="store_true", help="save and exit when standard input ends")
    options = parser.parse_args(arguments)
    logging.basicConfig(handlers=[_JsonLines()], level=logging.WARNING, force=True)
    if options.watch_stdin:
        threading.Thread(target=_stop_when_input_ends, daemon=True).start()
    stop = Stop()
    try:
        signal.signal(signal.SIGINT, stop.on_signal)
        signal.signal(signal.SIGTERM, stop.on_signal)
        if options.family_module:
            models.register_from(options.family_module)
        config, runtime = Pretrain.model_validate_json(options.config), Runtime.model_validate_json(options.runtime)
        run = start(options.tokens, options.out, config, runtime, stop)
        train(run, _reporter(config.model.context))
        _emit({"metrics": publish(run)})
        run.machine.ranks.close()
    except Stopped:
        _emit({"stopped": True})
        return STOPPED
    except StageError as error:
        _emit({"error": str(error)})
        return 1
    except torch.OutOfMemoryError as error:
        _emit({"error": f"{OUT_OF_MEMORY} ({str(error).partition('. ')[0]})"})
        return 1
    return 0


def _reporter(context: int) -> Callable[[State, float], None]:
    last = 0.0

    def report(state: State, used: float) -> None:
        nonlocal last
        if used == 1 or time.monotonic() - last > REPORT_SECONDS:
            last = time.monotonic()
            tokens = state.windows * context
            _emit({"tokens": tokens, "total": round(tokens / used), "step": state.step})

    return report


def _emit(record: dict[str, Any]) -> None:
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks
        return
    try:
        print(json.dumps(record), flush=True)
    except OSError:  # nobody reads any more: what counts now is to save
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _JsonLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _emit({"warning": record.getMessage()})


def _stop_when_input_ends() -> None:
    """The parent holds the other end: when it dies, however it dies, training saves and ends too."""
    # os.read, not sys.stdin: a thread that waits in a buffered reader aborts the interpreter when it ends
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
