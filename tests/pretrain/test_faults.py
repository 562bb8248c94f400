"""What a run survives: bad gradients, losses that jump, a disk that is full, a kill at any moment of many settings."""

import json
import logging
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from lang_configs import load
from tasks.core.errors import StageError
from tasks.pretrain import CHECKPOINTS, batches, checkpoint
from tasks.pretrain.data import TokenFiles
from tasks.pretrain.loop import train
from tasks.pretrain.machine.compiling import Loss
from tasks.pretrain.machine.device import pick_dtype
from tasks.pretrain.machine.memory import most_windows
from tasks.pretrain.models import shape_of
from tasks.pretrain.publish import publish
from tasks.pretrain.start import Run
from tasks.pretrain.state import Stopped
from tasks.pretrain.train import main
from tests.pretrain.runs import TINY, begin, finish, result, run_here, run_until, sections, start, step_reached


def run_with(run: Run, spoil: Callable[[int, torch.Tensor], torch.Tensor]) -> Run:
    """A run whose losses (with their gradients) go through `spoil(step, loss)`."""
    loss = run.model.loss
    run.loss = Loss(lambda *batch, **options: spoil(run.state.step, loss(*batch, **options)))
    train(run)
    return run


def test_nan_gradients_and_tenfold_losses_are_survived(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    tokens = make_tokens(documents=100)
    config = {"steps": 300, "batch_tokens": 1024, "half_context": 0.0, "checkpoint_steps": None}
    calm = run_here(tokens, tmp_path / "calm", config)
    bad = {20: float("nan"), 60: float("inf"), 240: 10.0, 241: 10.0}
    spoiled = run_with(begin(tokens, tmp_path / "bad", config), lambda step, loss: loss * bad.get(step, 1.0))
    assert (spoiled.guard.not_finite, spoiled.guard.spikes) == (2, 2)
    final, expected = spoiled.state.rows[-1]["loss"], calm.state.rows[-1]["loss"]
    assert final < 1.5 and abs(final - expected) < 0.15
    assert all(torch.isfinite(weight).all() for weight in spoiled.optimizer.weights.values())


def test_three_bad_steps_in_a_row_stop_and_keep_the_last_checkpoint(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    run = begin(make_tokens(), tmp_path, {"steps": 50})
    with pytest.raises(StageError, match=r"infinite or NaN 3 steps in a row; lower pretrain\.learning_rate"):
        run_with(run, lambda step, loss: loss * (float("nan") if step >= 10 else 1.0))
    assert step_reached(tmp_path) == 12  # the two that were skipped changed nothing


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    make_tokens: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = begin(make_tokens(), tmp_path, {"steps": 30})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(state: Any, used: float) -> None:  # from now on no file may grow beyond 4 KB
        if state.step == 10:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        elif state.step == 20:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        with caplog.at_level(logging.WARNING):
            train(run, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("the checkpoint of step") == 10 == caplog.text.count("the one before is kept") - 3
    assert step_reached(tmp_path) == 30
    left = {path.name for path in (tmp_path / CHECKPOINTS).iterdir()}
    assert left == {"step-00000029", "step-00000030", "best-00000027"}
    assert checkpoint.load_latest(tmp_path / CHECKPOINTS) is not None


SETTINGS: dict[str, dict[str, Any]] = {
    "adamw-dropout-average": {"optimizer": "adamw", "dropout": 0.1, "average": 0.9},
    "lion-isolated": {"optimizer": "lion", "isolate_documents": True},
    "lamb-checkpointing": {"optimizer": "lamb", "learning_rate": 0.05, "checkpointing": True},
    "gpt2-normal": {"model": TINY["model"] | {"family": "gpt2"}, "initialisation": "normal", "dropout": 0.1},
    "narrow": {"model": TINY["model"] | {"family": "modernbert", "layers": 2}, "narrow_layers": 1},
    "hybrid": {"hybrid": 0.5},
    "bert": {"model": TINY["model"] | {"family": "bert"}},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_learns_and_resumes_bit_for_bit(
    name: str, make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LEAST_SAMPLED", 0)  # so that causal models score a sample, small as the corpus is
    tokens, config = make_tokens(documents=100), {"steps": 40, "log_steps": 1} | SETTINGS[name]
    straight = run_here(tokens, tmp_path / "straight", config)
    publish(straight)
    losses = [row["loss"] for row in straight.state.rows if row["loss"] is not None]  # hybrid: every other step
    assert sum(losses[-5:]) < sum(losses[:5]) - 1
    for step in (13, 29):
        run_until(tokens, tmp_path / "resumed", config, step)
    publish(run_here(tokens, tmp_path / "resumed", config))
    (weights, state, rows), (others, other_state, other_rows) = result(tmp_path / "straight"), result(tmp_path / "resumed")
    assert (state, rows) == (other_state, other_rows)
    assert all(torch.equal(tensor, others[key]) for key, tensor in weights.items())


TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@pytest.mark.slow
def test_two_processes_train_what_one_does(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    config = {"steps": 30, "log_steps": 1, "checkpoint_steps": None, "average": 0.9}
    tokens = make_tokens(documents=4000, vocab_size=4200)
    assert TokenFiles.read(tokens).train_tokens > batches.LEAST_SAMPLED + 32  # so that a sample is scored at first
    two = start(tokens, tmp_path / "two", config, TWO_PROCESSES)
    one = finish(start(tokens, tmp_path / "one", config))
    assert (one["processes"], finish(two)["processes"]) == (1, 2)
    (weights, _, first), (others, _, second) = result(tmp_path / "one"), result(tmp_path / "two")
    assert len(first) == len(second) == 30
    assert weights.keys() == others.keys()  # each process owns some of them; the checkpoint has all, momenta and averages too
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, atol=1e-3, rtol=1e-3, msg=name)
    for a, b in zip(first, second, strict=True):
        assert a["tokens"] == b["tokens"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=1e-3)
        assert (a["validation_loss"] is None) == (a["step"] % 3 != 0)
        assert a["validation_loss"] is None or a["validation_loss"] == pytest.approx(b["validation_loss"], rel=1e-4)


@pytest.mark.slow
def test_what_two_processes_began_one_can_end(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    config = {"steps": 150, "batch_tokens": 512}
    tokens = make_tokens(documents=200)
    two = start(tokens, tmp_path, config, TWO_PROCESSES)
    while two.poll() is None and step_reached(tmp_path) < 20:
        time.sleep(0.05)
    workers = psutil.Process(two.pid).children(recursive=True)  # killed with their launcher, or they would train on
    for process in (psutil.Process(two.pid), *workers):
        process.kill()
    two.wait()
    psutil.wait_procs(workers)
    assert 20 <= step_reached(tmp_path) < 150
    metrics = finish(start(tokens, tmp_path, config))
    assert (metrics["steps"], metrics["processes"]) == (150, 1)
    finish(start(tokens, tmp_path / "straight", config))
    ended, straight = ([row["loss"] for row in result(folder)[2]] for folder in (tmp_path, tmp_path / "straight"))
    assert ended == pytest.approx(straight, rel=0.01)


def test_fp16_and_tf32_on_a_cpu_are_refused_with_the_reason() -> None:
    with pytest.raises(StageError, match="fp16 needs a GPU: a CPU multiplies fp16 20 to 400 times more slowly"):
        pick_dtype("fp16", "cpu")
    with pytest.raises(StageError, match=r"precision tf32 needs a GPU: no CPU has products of that kind; leave it at auto"):
        pick_dtype("tf32", "cpu")


def test_a_gpu_whose_memory_runs_out_is_one_sentence(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_out(run: Run, report: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB.")

    monkeypatch.setattr("tasks.pretrain.train.train", run_out)
    for name in ("signal.signal", "logging.basicConfig"):  # which are this process's own
        monkeypatch.setattr(f"tasks.pretrain.train.{name}", lambda *given, **settings: None)
    config = sections({})[0].model_dump_json()
    assert main(["--tokens", str(make_tokens()), "--out", str(tmp_path), "--config", config]) == 1
    message = json.loads(capsys.readouterr().out)["error"]
    assert message.startswith("the GPU's memory ran out; end other programs on it, set pretrain.checkpointing to true")
    assert message.endswith("the last checkpoint is kept (CUDA out of memory)")


def test_memory_that_runs_out_while_compiling_is_not_taken_for_a_missing_compiler(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(windows: torch.Tensor, **options: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: fail)
    with pytest.raises(torch.OutOfMemoryError):
        run_here(make_tokens(), tmp_path, {"compile": True})


def test_a_signal_while_longer_windows_are_compiled_is_obeyed_at_once_and_costs_nothing(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def compiled(windows: torch.Tensor, **options: Any) -> torch.Tensor:
        lengths.append(windows.shape[1])
        if lengths[-1] > lengths[0]:
            run.stop.on_signal(signal.SIGTERM, None)
            pytest.fail("compiling went on")
        return run.model.loss(windows, **options)

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: compiled)
    run = begin(make_tokens(documents=300), tmp_path, {"steps": 10, "compile": True})
    with pytest.raises(Stopped):
        train(run)
    assert run.state.step == step_reached(tmp_path) == len(lengths) - 1 > 1


def test_a_micro_batch_fills_the_memory_that_there_is_and_no_more() -> None:
    shape = shape_of(load("swahili", "base").pretrain.model, 32768)
    assert [most_windows(shape, gigabytes << 30, False) for gigabytes in (1, 2, 8, 48)] == [1, 1, 9, 64]
    assert most_windows(shape, 8 << 30, True) > 40


def test_the_loss_scale_of_fp16_falls_and_stops_nothing(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.pretrain.machine.device.pick_dtype", lambda precision, device: torch.float16)
    monkeypatch.setattr(
        "tasks.pretrain.machine.device.peak_flops", lambda device, dtype: None
    )  # to measure it takes half a minute
    run = run_here(make_tokens(), tmp_path, {"steps": 30, "log_steps": 1})
    assert 1 <= run.state.loss_scale <= 2.0**16
    assert run.state.rows[-1]["loss"] < 4.5 < run.state.rows[0]["loss"]
