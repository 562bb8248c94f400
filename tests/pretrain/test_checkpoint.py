"""Checkpoints are whole or absent, and a damaged one is never used."""

import json
import logging
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tasks.pretrain import checkpoint
from tests import REPOSITORY

SAVE_FOR_EVER = """
import sys, torch
from pathlib import Path
from tasks.pretrain import checkpoint
step = int(sys.argv[2])
while True:
    step += 1
    weights = {"embedding.weight": torch.full((400, 1000), float(step))}
    checkpoint.save(Path(sys.argv[1]), step, weights, {"muon.0": torch.full((9, 9), -float(step))}, {"step": step})
    print(step, flush=True)
"""


def save(folder: Path, step: int) -> Path:
    weights = {"embedding.weight": torch.full((20, 30), float(step))}
    moments = {"muon.0": torch.rand(4, 4).mT, "adamw.step.embedding.weight": torch.tensor(float(step))}
    return checkpoint.save(folder, step, weights, moments, {"step": step, "losses": [0.1, 1 / 3]})


def loaded_step(folder: Path) -> int:
    found = checkpoint.load_latest(folder)
    assert found is not None
    weights, _, state = found
    assert (weights["embedding.weight"] == state["step"]).all()
    return int(state["step"])


def test_what_is_saved_comes_back_and_two_are_kept(tmp_path: Path) -> None:
    assert checkpoint.load_latest(tmp_path) is None
    for step in (9, 10, 11):
        save(tmp_path, step)
    assert [path.name for path in checkpoint.saved(tmp_path)] == ["step-00000010", "step-00000011"]
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert found[2] == {"step": 11, "losses": [0.1, 1 / 3]}
    assert found[1]["adamw.step.embedding.weight"].shape == ()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    victim = save(tmp_path, 2) / name
    data = bytearray(victim.read_bytes())
    if damage == "flip":
        data[-len(data) // 4] ^= 1
        victim.write_bytes(data)
    elif damage == "truncate":
        victim.write_bytes(data[: len(data) // 2])
    else:
        victim.unlink()
    with caplog.at_level(logging.WARNING):
        assert loaded_step(tmp_path) == 1
    assert "step-00000002 is damaged" in caplog.text


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    record = json.loads((path / "state.json").read_text())
    assert set(record) == {"state", "checksum"}
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}


def kill_while_saving(folder: Path, times: int) -> None:
    draw = random.Random(times)
    acknowledged = 0
    for _ in range(times):
        command = [sys.executable, "-c", SAVE_FOR_EVER, str(folder), str(acknowledged)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
            assert process.stdout is not None
            acknowledged = int(process.stdout.readline())
            time.sleep(draw.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in process.stdout if line.endswith("\n"))])
        step = loaded_step(folder)
        assert acknowledged <= step <= acknowledged + 1
        assert not list(folder.glob(".*"))
        acknowledged = step


def test_a_kill_while_saving_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 2)


@pytest.mark.slow
def test_many_kills_while_saving(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 12)
