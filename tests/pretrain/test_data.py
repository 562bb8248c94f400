"""Windows: every token of an epoch once, in an order that depends on the seed and the epoch only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lang_configs.training import Model, Pretrain
from tasks.core.errors import StageError
from tasks.pretrain.batches import enough_tokens, plan_phases
from tasks.pretrain.data import TokenFiles, Windows, halve, mask
from tests.pretrain.token_files import write_tokens


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.integers(2, 200), st.integers(0, 2**32), st.integers(0, 50), st.integers(1, 40))
def test_an_epoch_is_a_permutation_however_it_is_read(
    make_tokens: Callable[..., Path], context: int, seed: int, epoch: int, batch: int
) -> None:
    files = TokenFiles.read(make_tokens(documents=3))
    windows = Windows(files, context, seed)
    assert sorted(windows.order(epoch)) == list(range(windows.count))
    start, end = epoch * windows.count, (epoch + 1) * windows.count
    read = torch.cat([windows.read(place, min(batch, end - place)) for place in range(start, end, batch)])
    assert torch.equal(read, Windows(files, context, seed).read(start, windows.count))
    tokens = np.fromfile(files.folder / "train.bin", "<u2").astype(np.int64)
    in_place = read[torch.from_numpy(np.argsort(windows.order(epoch)))]
    assert np.array_equal(in_place[:, :-1].flatten().numpy(), tokens[: windows.count * context])
    assert np.array_equal(in_place[:, -1].numpy(), tokens[context : windows.count * context + 1 : context])


def test_epochs_and_seeds_differ(make_tokens: Callable[..., Path]) -> None:
    files = TokenFiles.read(make_tokens())
    windows, other = Windows(files, 16, 1), Windows(files, 16, 2)
    assert not np.array_equal(windows.order(0), windows.order(1))
    assert not np.array_equal(windows.order(0), other.order(0))


def test_a_batch_may_be_larger_than_the_corpus(make_tokens: Callable[..., Path]) -> None:
    windows = Windows(TokenFiles.read(make_tokens(documents=1)), 64, 1)
    rows = windows.read(windows.count - 1, 2 * windows.count)
    assert rows.shape == (2 * windows.count, 65)
    assert torch.equal(rows[1 : 1 + windows.count], windows.read(windows.count, windows.count))


@given(st.integers(1, 5), st.integers(1, 40))
def test_halves_predict_the_same_tokens(count: int, half: int) -> None:
    windows = torch.arange(count * (2 * half + 1)).view(count, -1)
    halves = halve(windows)
    assert halves.shape == (2 * count, half + 1)
    assert sorted(halves[:, 1:].flatten().tolist()) == sorted(windows[:, 1:].flatten().tolist())


@given(st.integers(64, 100_000), st.integers(1, 10_000), st.integers(1, 100), st.integers(320, 65536), st.integers(1, 3))
def test_phases_keep_to_the_config_the_corpus_the_memory_and_the_vocabulary(
    batch_tokens: int, windows: int, most: int, vocab_size: int, ranks: int
) -> None:
    config = Pretrain(model=Model(context=64), batch_tokens=batch_tokens)
    phases = plan_phases(config, windows, most, vocab_size, ranks)
    assert [(phase.until, phase.half) for phase in phases] == [(0.6, True), (1.0, False)]
    for phase in phases:
        assert 1 <= phase.micro_batch <= most
        assert phase.accumulation % ranks == 0
        assert phase.windows < max(1, min(batch_tokens // 64, windows // 32)) + ranks
        assert not phase.scored or 64 * phase.windows <= phase.scored <= vocab_size / 2
    assert bool(phases[0].scored) == (64 * phases[0].windows <= vocab_size / 2 and 64 * windows >= 1_000_000)
    assert not phases[1].scored


@given(st.integers(64, 10_000), st.sampled_from([16, 64, 200]), st.integers(1, 10**9))
def test_enough_tokens_are_planned_for_like_any_more(batch_tokens: int, context: int, more: int) -> None:
    config = Pretrain(model=Model(context=context), batch_tokens=batch_tokens)
    enough = enough_tokens(config)
    plans = [plan_phases(config, (tokens - 1) // context, 100, 65536) for tokens in (enough, enough + more)]
    assert plans[0] == plans[1]


def test_narrow_layers_add_a_phase() -> None:
    model = Model(family="modernbert", context=64)
    phases = plan_phases(Pretrain(model=model, narrow_layers=2, narrow_share=0.8), 10_000, 100, 8192)
    assert [(phase.until, phase.half, phase.narrow, phase.scored) for phase in phases] == [
        (0.6, True, True, 0),
        (0.8, False, True, 0),
        (1.0, False, False, 0),
    ]


@given(st.integers(1, 5), st.integers(4, 40), st.floats(0.05, 0.9), st.integers(0, 100))
def test_masks_hide_what_is_to_be_predicted_and_nothing_else(count: int, length: int, share: float, key: int) -> None:
    windows = torch.arange(10, 10 + count * (length + 1)).view(count, -1)
    ids, positions, labels = mask(windows, share, 3, [key])
    assert positions.shape == labels.shape == (count, min(max(1, round(share * length)), length - 1))
    assert positions.min() > 0
    assert torch.equal(ids == 3, torch.zeros_like(ids).scatter_(1, positions, 1).bool())
    assert torch.equal(ids.scatter(1, positions, labels), windows[:, :-1])
    assert all(torch.equal(a, b) for a, b in zip(mask(windows, share, 3, [key]), (ids, positions, labels), strict=True))


def test_a_corpus_smaller_than_a_window_is_refused(tmp_path: Path) -> None:
    files = TokenFiles.read(write_tokens(tmp_path / "small", ["Habari."]))
    with pytest.raises(StageError, match="9 training tokens are less than one window"):
        Windows(files, 64, 1)


def test_damaged_token_files_are_refused(make_tokens: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_tokens()
    with pytest.raises(StageError, match="not a folder of token files"):
        TokenFiles.read(tmp_path / "nowhere")
    tokens = np.fromfile(folder / "train.bin", "<u2")
    tokens[7] = 60_000
    tokens.tofile(folder / "train.bin")
    with pytest.raises(StageError, match="token 60000 is outside of a vocabulary of 260"):
        Windows(TokenFiles.read(folder), 64, 1)
    tokens[:-5].tofile(folder / "train.bin")
    with pytest.raises(StageError, match="bytes, not"):
        TokenFiles.read(folder)
