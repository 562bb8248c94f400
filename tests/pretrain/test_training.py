"""The training process: budgets, signals, kills, and a result that does not depend on them."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch

import lang_configs
from lang_configs.training import FAMILIES
from tasks.core.engines import available_cores
from tasks.core.errors import StageError
from tasks.core.stage import Work
from tasks.pretrain import CHECKPOINTS, STOPPED, batches, checkpoint, child, pretrain, schedule
from tasks.pretrain.loop import save, train
from tasks.pretrain.machine import memory
from tasks.pretrain.state import State
from tests import REPOSITORY
from tests.pretrain.runs import begin, finish, result, run_here, run_until, sections, start, step_reached
from tests.pretrain.token_files import FIRST_BYTE


def wait_for_step(process: "subprocess.Popen[str]", out: Path, step: int) -> None:
    while step_reached(out) < step and process.poll() is None:
        time.sleep(0.005)


def kill_and_compare(tokens: Path, folder: Path, kills: int, steps: int) -> None:
    config = {"steps": steps}
    finish(start(tokens, folder / "straight", config))
    draw = random.Random(kills)
    reached = 0
    for kill in range(kills):
        process = start(tokens, folder / "killed", config)
        wait_for_step(process, folder / "killed", draw.randint(reached + 1, reached + (steps - reached) // (kills - kill) - 1))
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        reached = step_reached(folder / "killed")
    assert 0 < reached < steps
    finish(start(tokens, folder / "killed", config))
    straight, killed = result(folder / "straight"), result(folder / "killed")
    assert straight[1:] == killed[1:]
    assert straight[0].keys() == killed[0].keys()
    assert all(torch.equal(tensor, killed[0][name]) for name, tensor in straight[0].items())
    files = [(folder / name / "model" / "model.safetensors").read_bytes() for name in ("straight", "killed")]
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_killed_and_resumed_run_ends_bit_for_bit_like_a_straight_one(
    make_tokens: Callable[..., Path], tmp_path: Path
) -> None:
    kill_and_compare(make_tokens(documents=100), tmp_path, kills=2, steps=80)


@pytest.mark.slow
def test_six_kills(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    kill_and_compare(make_tokens(documents=100), tmp_path, kills=6, steps=240)


@pytest.mark.slow
def test_a_run_with_the_defaults_goes_on_from_its_last_checkpoint(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    """Compiled, on two threads, in the machine's own precision, by minutes: not bit for bit, but what stands in a checkpoint is
    neither lost nor done again, and the time and energy of all parts add up to the budget.
    """
    model = {"layers": 2, "width": 64, "heads": 2, "context": 64}
    config = {"model": model, "minutes": 1, "epochs": 1e9, "precision": "auto", "compile": True, "checkpoint_steps": 10}
    tokens, kept = make_tokens(documents=400), [{"step": 0, "seconds": 0.0, "joules": 0.0, "rows": []}]
    # the first process on a machine compiles for longer than the budget; what follows finds its kernels in the cache
    finish(start(tokens, tmp_path / "first", {**config, "minutes": None, "steps": 2}, threads=2))
    for _ in range(2):
        process = start(tokens, tmp_path, config, threads=2)
        assert process.stdout is not None
        records = (json.loads(line) for line in process.stdout if line.startswith("{"))
        assert any(record.get("step", 0) > kept[-1]["step"] + 30 for record in records)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        found = checkpoint.load_latest(tmp_path / CHECKPOINTS)
        assert found is not None
        kept.append(found[2])
    metrics = finish(start(tokens, tmp_path, config, threads=2))
    rows = pq.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert metrics["compiled"]
    for before, after in itertools.pairwise([*kept, {**metrics, "step": metrics["steps"], "joules": 3.6e6 * metrics["kwh"]}]):
        assert before["step"] + 20 <= after["step"]
        assert before["seconds"] < after["seconds"]
        assert before["joules"] < after["joules"]
        assert rows[: len(before["rows"])] == before["rows"]
    longest = max(after["elapsed_seconds"] - before["elapsed_seconds"] for before, after in itertools.pairwise(rows))
    assert 60 <= metrics["seconds"] <= 60 + longest
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    assert [row["elapsed_seconds"] for row in rows] == sorted(row["elapsed_seconds"] for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"] - 2


def test_the_stage_trains_publishes_and_cleans_up(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    tokens, out = make_tokens(documents=100), tmp_path / "out"
    out.mkdir()
    seen: list[tuple[float, float, str]] = []
    changes = {"steps": 200, "batch_tokens": 1024, "precision": "bf16", "tensorboard": str(tmp_path / "curves")}
    config, runtime = sections(changes)
    work = Work(progress=lambda done, total, unit: seen.append((done, total, unit)), runtime=runtime)
    metrics = pretrain({"tokens": tokens, "tokenizer": tmp_path}, config, out, work)
    assert {path.name for path in out.iterdir()} == {"model", "metrics.parquet"}
    assert list((tmp_path / "curves" / "out").glob("events.*"))
    rows = pq.read_table(out / "metrics.parquet").to_pylist()
    assert [row["step"] for row in rows] == list(range(5, 201, 5))
    assert rows[0]["loss"] > 4 and rows[-1]["loss"] < 1.2  # from 5.6, a uniform guess, to little more than the choice of words
    assert metrics["training_bits_per_byte"] == rows[-1]["bits_per_byte"] > rows[-1]["loss"]
    assert (metrics["steps"], metrics["skipped_steps"], metrics["tokens"]) == (200, 0, rows[-1]["tokens"])
    assert seen[-1] == (metrics["tokens"], metrics["tokens"], "tokens")
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    prompt = torch.tensor([[1] + [byte + FIRST_BYTE for byte in b"Mwalimu anape"]])
    words = bytes(token - FIRST_BYTE for token in model.generate(prompt, max_new_tokens=3, do_sample=False)[0, 1:].tolist())
    assert words == b"Mwalimu anapenda"


def test_a_failing_child_is_one_clear_sentence(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    config, runtime = sections({"steps": 50, "optimizer": "adamw", "learning_rate": 1e30})
    with pytest.raises(StageError, match=r"^training failed: the loss or gradient was infinite or NaN 3 steps in a row; lower"):
        pretrain({"tokens": make_tokens(), "tokenizer": tmp_path}, config, tmp_path, Work(runtime=runtime))


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 10 ms whenever training looks at it, so that no test depends on how busy the machine is."""
    ticks = itertools.count()
    monkeypatch.setattr(schedule, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))


@pytest.mark.usefixtures("slow_clock")
def test_minutes_end_a_run_at_a_learning_rate_near_zero(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    budget = {"minutes": 0.1, "epochs": 1e9, "log_steps": 1, "checkpoint_steps": None}
    state = run_here(make_tokens(), tmp_path, budget).state
    assert 6 <= state.seconds < 6.2
    rates = [row["learning_rate"] for row in state.rows]
    assert max(rates) == 0.02
    assert 0 < rates[-1] < 0.001
    assert step_reached(tmp_path) == state.step


@pytest.mark.usefixtures("slow_clock")
def test_a_resumed_run_has_only_the_minutes_that_are_left(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    budget = {"minutes": 0.05, "epochs": 1e9}
    first = run_here(make_tokens(), tmp_path, budget).state
    again = run_here(make_tokens(), tmp_path, budget).state
    assert again.step == first.step > 10


def test_epochs_end_a_run_and_a_batch_may_exceed_the_corpus(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    run = run_here(make_tokens(documents=2), tmp_path, {"epochs": 3, "batch_tokens": 10**6})
    assert 3 <= run.state.windows / run.data.count < 3.1
    assert run.state.step > 50


@pytest.mark.parametrize(
    ("due", "left"),
    [
        ({"checkpoint_steps": 8}, [16, 20]),
        ({"checkpoint_steps": None, "checkpoint_minutes": 1e-6}, [19, 20]),
        ({"checkpoint_steps": None}, [20]),
    ],
)
def test_checkpoints_are_due_after_steps_and_after_minutes(
    due: dict[str, object], left: list[int], make_tokens: Callable[..., Path], tmp_path: Path
) -> None:
    run_here(make_tokens(), tmp_path, {"steps": 20} | due)
    assert [int(path.name[5:]) for path in checkpoint.saved(tmp_path / CHECKPOINTS)] == left


def test_micro_batches_add_up_to_the_batch(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"steps": 3, "batch_tokens": 512, "half_context": 0, "log_steps": 1}
    whole = run_here(make_tokens(documents=300), tmp_path / "whole", config)
    monkeypatch.setattr(memory, "most_windows", lambda shape, available, checkpointing: 5)
    parts = run_here(make_tokens(documents=300), tmp_path / "parts", config)
    assert [(phase.micro_batch, phase.accumulation) for phase in (*whole.phases, *parts.phases)] == [(16, 1), (4, 4)]
    for one, other in zip(whole.state.rows, parts.state.rows, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)


def test_a_signal_saves_and_the_run_goes_on_from_there(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    tokens, out = make_tokens(), tmp_path / "out"
    config = {"steps": 10**6, "epochs": 1e9, "checkpoint_steps": None}
    process = start(tokens, out, config)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    process.terminate()
    process.communicate()
    assert process.returncode == STOPPED
    saved = step_reached(out)
    assert saved >= first["step"] > 0
    assert begin(tokens, out, config).state.step == saved


def test_the_stage_passes_a_signal_on_and_gets_it_back_when_all_is_saved(
    make_tokens: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    interrupt = threading.Timer(0, lambda: os.kill(os.getpid(), signal.SIGINT))
    config, runtime = sections({"steps": 10**6, "epochs": 1e9, "checkpoint_steps": None})
    work = Work(
        progress=lambda done, total, unit: None if interrupt.is_alive() or interrupt.finished.is_set() else interrupt.start(),
        runtime=runtime,
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            pretrain({"tokens": make_tokens(), "tokenizer": tmp_path}, config, out, work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert step_reached(out) > 0


def test_training_saves_and_ends_when_the_parent_is_killed(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    config, runtime = sections({"steps": 10**6, "epochs": 1e9, "checkpoint_steps": None})
    program = (
        "import sys; from pathlib import Path; from lang_configs.schema import Runtime; from tasks.core.stage import Work;"
        "from lang_configs.training import Pretrain; from tasks.pretrain import pretrain;"
        "tokens, out, config, runtime = sys.argv[1:];"
        "report = lambda done, total, unit: print(done, flush=True);"
        "work = Work(progress=report, runtime=Runtime.model_validate_json(runtime));"
        "pretrain({'tokens': Path(tokens)}, Pretrain.model_validate_json(config), Path(out), work)"
    )
    command = [sys.executable, "-c", program, str(make_tokens()), str(tmp_path)]
    command += [config.model_dump_json(), runtime.model_dump_json()]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert step_reached(tmp_path) == 0
        parent.kill()
    deadline = time.monotonic() + 60
    while step_reached(tmp_path) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert step_reached(tmp_path) > 0


@pytest.mark.slow
def test_without_a_compiler_training_goes_on_with_a_warning(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    config, runtime = sections({"steps": 5, "compile": True})
    command = [sys.executable, "-m", "tasks.pretrain.train", "--tokens", str(make_tokens()), "--out", str(tmp_path / "out")]
    command += ["--config", config.model_dump_json(), "--runtime", runtime.model_dump_json()]
    environment = os.environ | {
        "CXX": "/nowhere/c++",
        "PATH": str(tmp_path),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert "could not be compiled" in records[0]["warning"]
    assert records[-1]["metrics"]["compiled"] is False


@pytest.mark.slow
def test_a_loss_is_one_graph_for_each_kind_of_batch(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(memory, "most_windows", lambda shape, available, checkpointing: 5)
    monkeypatch.setattr(batches, "LEAST_SAMPLED", 0)  # so that half windows are scored by a sample
    torch._dynamo.utils.counters.clear()
    config = {"steps": 10, "compile": True, "batch_tokens": 512, "precision": "bf16"}
    run = run_here(make_tokens(documents=300, vocab_size=4200), tmp_path, config)
    assert [(phase.half, phase.accumulation, phase.scored) for phase in run.phases] == [(True, 2, 1050), (False, 4, 0)]
    assert run.loss.compiled and run.state.step == 10
    assert not torch._dynamo.utils.counters["graph_break"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def test_a_model_that_cannot_be_compiled_is_trained_without(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_nothing(function: object, dynamic: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        def fail(windows: torch.Tensor, **options: object) -> torch.Tensor:
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

        return fail

    monkeypatch.setattr(torch, "compile", compile_nothing)
    run = run_here(make_tokens(), tmp_path, {"steps": 2, "compile": True})
    assert (run.state.step, run.loss.compiled) == (2, False)
    assert "No working C++ compiler" in caplog.text


@pytest.mark.parametrize("wrong", [float("nan"), 2.0])
def test_a_model_that_is_compiled_to_something_else_is_trained_without(
    wrong: float,
    make_tokens: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def miscompile(function: Callable[..., torch.Tensor], dynamic: bool) -> Callable[..., torch.Tensor]:
        def loss(*batch: torch.Tensor, **options: object) -> torch.Tensor:
            right = function(*batch, **options)
            return right.detach() + wrong * (right - right.detach())  # the loss is right, its gradient is not

        return loss

    tokens = make_tokens()
    expected = run_here(tokens, tmp_path / "plain", {"steps": 4})
    monkeypatch.setattr(torch, "compile", miscompile)
    run = run_here(tokens, tmp_path / "compiled", {"steps": 4, "compile": True})
    assert (run.state.step, run.loss.compiled) == (4, False)
    assert "the compiled model has other gradients than the model" in caplog.text
    for name, weight in expected.optimizer.weights.items():
        assert torch.equal(weight, run.optimizer.weights[name])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3", "modernbert"])
def test_what_is_compiled_here_computes_what_the_model_does(
    family: str, make_tokens: Callable[..., Path], tmp_path: Path
) -> None:
    """With the compiler and the number format of this machine, in windows and heads as large as those of real runs."""
    masked = FAMILIES[family].masked
    model = {"family": family, "layers": 1, "width": 192, "heads": 3, "context": 256}
    changes: dict[str, object] = {"model": model, "steps": 4, "batch_tokens": 2048, "precision": "auto", "compile": True}
    changes["half_context"] = 0.0
    config, runtime = sections(changes | ({"masking": 0.15} if masked else {}))
    (tmp_path / "out").mkdir()
    command = [*child.command("tasks.pretrain.train", config), "--runtime", runtime.model_dump_json()]
    command += ["--tokens", str(make_tokens(documents=300)), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=REPOSITORY, env=child.variables(config), capture_output=True, text=True)
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert not [record for record in records if "compile" in record.get("warning", "")], done.stderr
    assert (records[-1]["metrics"]["compiled"], records[-1]["metrics"]["skipped_steps"]) == (True, 0)


@pytest.mark.slow
def test_tensorboard_shows_what_the_metrics_say_of_a_run_with_an_interruption(
    make_tokens: Callable[..., Path], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tokens, out = make_tokens(), tmp_path / "out"
    config = {"steps": 30, "log_steps": 5, "checkpoint_steps": None, "tensorboard": str(tmp_path / "curves")}

    def leave(state: State, used: float) -> None:
        if state.step == 12:
            save(run)
        elif state.step == 22:  # the curves of steps 15 and 20 were shown, and are to be drawn again
            raise KeyboardInterrupt

    run = begin(tokens, out, config)
    with pytest.raises(KeyboardInterrupt):
        train(run, leave)
    finish(start(tokens, out, config))
    rows = pq.read_table(out / "metrics.parquet").to_pylist()
    curves = EventAccumulator(str(tmp_path / "curves")).Reload()
    assert set(curves.Tags()["scalars"]) == {name for row in rows for name, value in row.items() if value is not None}
    for name in ("loss", "learning_rate", "validation_loss"):
        drawn = [(event.step, event.value) for event in curves.Scalars(name)]
        assert drawn == [(row["step"], pytest.approx(row[name])) for row in rows if row[name] is not None]


def test_tensorboard_that_is_not_installed_is_one_sentence(
    make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(StageError, match=r"^runtime\.tensorboard needs a package that is not here: pip install tensorboard$"):
        run_here(make_tokens(), tmp_path, {"tensorboard": str(tmp_path / "curves")})


def test_another_config_does_not_resume(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    run_here(make_tokens(), tmp_path, {"steps": 2})
    with pytest.raises(StageError, match="another config"):
        run_here(make_tokens(), tmp_path, {"steps": 2, "seed": 7})


@pytest.mark.parametrize("change", [{"log_steps": 1}, {"checkpoint_steps": None, "checkpoint_minutes": 1e-6}])
def test_what_is_said_of_the_machine_may_change_in_the_middle_of_a_run(
    change: dict[str, object], make_tokens: Callable[..., Path], tmp_path: Path
) -> None:
    tokens, steps = make_tokens(), {"steps": 40}
    run_here(tokens, tmp_path / "straight", steps)
    run_until(tokens, tmp_path / "changed", steps, 13)
    run = begin(tokens, tmp_path / "changed", steps | change)
    assert run.state.step == 13
    train(run)
    straight, changed = (checkpoint.load_latest(tmp_path / name / CHECKPOINTS) for name in ("straight", "changed"))
    assert straight and changed
    assert all(torch.equal(weight, changed[0][name]) for name, weight in straight[0].items())


def test_a_run_goes_on_compiled(make_tokens: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    run_until(make_tokens(), tmp_path, {"steps": 20}, 13)
    run = begin(make_tokens(), tmp_path, {"steps": 20, "compile": True})
    assert (run.state.step, run.loss.compiled) == (13, True)
    train(run)
    assert (run.state.step, run.loss.compiled) == (20, True)


@pytest.mark.slow
def test_a_run_goes_on_in_more_processes(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    tokens, out = make_tokens(documents=100), tmp_path / "out"
    run_until(tokens, out, {"steps": 40, "batch_tokens": 512}, 13)
    before = begin(tokens, out, {"steps": 40, "batch_tokens": 512}).state
    seen: list[float] = []
    config, runtime = sections({"steps": 40, "batch_tokens": 512, "processes": 2, "log_steps": 1, "checkpoint_steps": None})
    metrics = pretrain({"tokens": tokens}, config, out, Work(progress=lambda done, *_: seen.append(done), runtime=runtime))
    assert (metrics["steps"], metrics["processes"]) == (40, 2)
    assert seen[0] > before.windows * 32
    steps = [row["step"] for row in pq.read_table(out / "metrics.parquet").to_pylist()]
    assert steps == [4, 5, 8, 10, 12, *range(14, 41)]  # a row at each tenth, and every fifth, then every step


def test_training_has_every_core_whatever_another_library_told_its_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer threads add in another order: the weights would differ in their last bits, and training take twice as long."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # what Dask sets for its workers
        monkeypatch.setenv(name, "1")
    command = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    said = subprocess.run(command, env=child.variables(sections({})[0]), capture_output=True, text=True, check=True).stdout
    assert int(said) == available_cores()


def test_the_machine_is_no_part_of_what_a_training_is() -> None:
    settings = ["processes=2", "compile=false", "checkpoint_minutes=1", "checkpoint_steps=7", "log_steps=3", "country=KE"]
    changed = lang_configs.load("swahili", "starter", [f"runtime.{setting}" for setting in settings])
    assert changed.pretrain == lang_configs.load("swahili", "starter").pretrain
    assert (changed.runtime.processes, changed.runtime.log_steps) == (2, 3)
    with pytest.raises(lang_configs.ConfigError, match=r"pretrain\.log_steps: unknown key"):
        lang_configs.load("swahili", overrides=["pretrain.log_steps=3"])
