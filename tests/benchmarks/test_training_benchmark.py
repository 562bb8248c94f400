"""The training benchmarks on made-up text: a run of ours and of a peer, what is counted, scored and compared."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import ablations
import numpy as np
import peer_nanogpt
import pytest
import torch
from ablations import BASE, COMPARED_WITH, VARIANTS, Interval, Result, configured
from training import (
    QUALITY,
    SPEED,
    SYSTEMS,
    WARMING_STEPS,
    Bench,
    Row,
    System,
    budgeted,
    configure,
    scores_table,
    speeds_table,
)
from training_peer import Clock, cosine, finish, linear, read_job
from training_runs import (
    MASK,
    Run,
    Score,
    masked_score,
    prepare,
    read_documents,
    score,
    subset,
    train_ours,
    with_environment,
)

from lang_configs.schema import Runtime
from lang_configs.training import Pretrain, Tokenizer
from tasks.evaluate.bootstrap import interval
from tasks.evaluate.held_out import TokenizedDocuments
from tests.small_corpus import documents

TINY = {"layers": 1, "width": 32, "heads": 1, "context": 32}
SMALL = {f"pretrain.model.{name}": value for name, value in TINY.items()} | {
    "pretrain.batch_tokens": 128,
    "runtime.compile": False,
}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    train, validation, test = documents("swahili", 300), documents("swahili", 20, seed=2), documents("swahili", 20, seed=3)
    return prepare(train, validation, test, tmp_path_factory.mktemp("training") / "data", Tokenizer(vocab_size=512))


def job(monkeypatch: pytest.MonkeyPatch, tokens: Path, out: Path, *budget: str) -> peer_nanogpt.Job:
    monkeypatch.setattr(sys, "argv", ["peer", "--tokens", str(tokens), "--out", str(out), *budget])
    return read_job()


def a_run(speed: float, parameters: int = 5_000_000) -> Run:
    return Run(parameters, (100,) * 5, (1.0, 1.0, 1.0, speed, speed + 2), 1.3, 10.4, 12.2, 2 * 10**6, 3 * 10**6, Path("model"))


@pytest.mark.slow
def test_ours_is_trained_and_scored_as_a_whole_process(tokens: Path, tmp_path: Path) -> None:
    config = configure({"steps": 4, "minutes": None, "half_context": 0.5, "batch_tokens": 128, "model": TINY})
    done = train_ours(tokens, config, Runtime(compile=False), tmp_path / "out", None, {})
    assert done.step_tokens == (64, 64, 128, 128)
    assert done.tokens == 384
    assert len(done.step_speeds) == 4
    assert 0 < done.first < done.seconds < done.wall
    assert 0 < done.memory <= done.memory_with_children
    found = score(done.model, tokens, "validation")
    validation = read_documents(tokens, "validation")
    uniform = math.log2(512) * validation.offsets[-1] / validation.bytes.sum()
    low, high = interval(found.resampled)
    assert low < found.bits < high
    assert 0.5 * uniform < found.bits < uniform


def test_nanogpt_is_the_same_function_once_it_is_a_stock_gpt2(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("BATCH", 2), ("LAYERS", 2), ("WIDTH", 32), ("HEADS", 2)):
        monkeypatch.setattr(peer_nanogpt, name, value)
    given = job(monkeypatch, tokens, tmp_path, "--steps=3")
    model, clock = peer_nanogpt.train(given)
    stock = peer_nanogpt.to_transformers(model)
    ids = torch.from_numpy(given.stream[:64].astype(np.int64))[None]
    with torch.no_grad():
        torch.testing.assert_close(stock(input_ids=ids).logits, model(ids), atol=1e-4, rtol=1e-4)
    finish(given, clock, stock, 2 * peer_nanogpt.CONTEXT)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["tokens_per_step"] == 512
    assert len(record["step_seconds"]) == 3
    test = read_documents(tokens, "test")
    uniform = math.log2(512) * test.offsets[-1] / test.bytes.sum()
    found = score(tmp_path / "model", tokens, "test").bits  # of the saved folder, as any scorer reads it
    assert found == pytest.approx(bits_by_hand(model, test), rel=0.02)
    assert 0.9 * uniform < found < 1.1 * uniform  # three steps from where it began


def bits_by_hand(model: torch.nn.Module, documents: TokenizedDocuments) -> float:
    """Bits per byte of the first window of each document, at the bytes of the whole set."""
    nats = tokens = 0.0
    for start, end in itertools.pairwise(documents.offsets.tolist()):
        ids = torch.from_numpy(documents.tokens[start:end][: peer_nanogpt.CONTEXT].astype(np.int64))
        with torch.no_grad():
            scores = model(ids[None, :-1])[0].float().log_softmax(-1)
        nats -= scores.gather(1, ids[1:, None]).sum().item()
        tokens += len(ids) - 1
    return nats / tokens / math.log(2) * (documents.offsets[-1] - len(documents.bytes)) / documents.bytes.sum()


def test_a_clock_ends_with_its_steps_or_its_seconds(tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("training_peer.time", SimpleNamespace(perf_counter=lambda: now[0]))
    by_steps = Clock(job(monkeypatch, tokens, tmp_path, "--steps=4"))
    by_seconds = Clock(job(monkeypatch, tokens, tmp_path, "--seconds=8"))
    for step in range(1, 6):
        now[0] = 3.0 * step
        by_steps.step_ended()
        by_seconds.step_ended()
        assert by_steps.used == min(1, step / 4)
        assert by_seconds.used == min(1, 3 * step / 8)


def test_schedules_rise_to_one_and_fall() -> None:
    for scale, last in ((cosine, 0.0), (linear, 0.0), (lambda used: cosine(used, 0.1), 0.1)):
        values = [scale(used) for used in np.linspace(0, 1, 101)]
        assert 0 < values[0] < values[5] < max(values) == pytest.approx(1)
        assert values.index(max(values)) == 10
        assert values[10:] == sorted(values[10:], reverse=True)
        assert values[-1] == pytest.approx(last)


def test_a_subset_holds_whole_documents_and_the_same_validation(tokens: Path, tmp_path: Path) -> None:
    whole = json.loads((tokens / "meta.json").read_text())
    half = subset(tokens, whole["train_bytes"] // 2, tmp_path / "half")
    meta = json.loads((half / "meta.json").read_text())
    assert 0.4 < meta["train_bytes"] / whole["train_bytes"] <= 0.5
    stream, offsets = np.fromfile(half / "train.bin", meta["dtype"]), np.load(half / "train.offsets.npy")
    assert len(stream) == offsets[-1] == meta["train_tokens"]
    assert (stream[offsets[:-1]] == meta["bos"]).all()
    assert (stream[offsets[1:] - 1] == meta["eos"]).all()
    assert (half / "validation.bin").read_bytes() == (tokens / "validation.bin").read_bytes()
    assert len(read_documents(half, "validation").bytes) == 20


class Guesser(torch.nn.Module):
    """Knows the token of every masked place with probability 1/2 if it is `known`, and nothing about other tokens."""

    device = torch.device("cpu")
    config = SimpleNamespace(max_position_embeddings=16, vocab_size=9)

    def __init__(self, known: int) -> None:
        super().__init__()
        self.known = known

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        assert ((input_ids == MASK).sum(1) >= 1).all()
        assert (input_ids[attention_mask == 0] == 0).all()
        scores = torch.zeros(*input_ids.shape, 9)
        scores[:, :, self.known] = math.log(8)  # against eight others of 1: one half
        return SimpleNamespace(logits=scores)


def test_bits_of_a_masked_model_are_those_of_its_guesses() -> None:
    ids = np.array([1, *[7] * 40, 2, 1, *[7] * 5, 2], np.uint16)
    validation = TokenizedDocuments(ids, np.array([0, 42, 49]), np.array([100, 20]))
    assert masked_score(Guesser(7), validation).bits == pytest.approx(1)
    assert masked_score(Guesser(8), validation).bits == pytest.approx(4)


def scored(*bits: float, documents: int = 4) -> Score:
    """As many documents of eight bytes as there are values, again and again."""
    return Score(np.array([[8 * value, 8] for value in bits * documents]))


def test_speeds_are_to_the_first_system_of_the_kind() -> None:
    rows = [
        Row(System("peer"), (a_run(10),)),
        Row(System("ours"), (a_run(30), a_run(40))),
        Row(System("bert", "masked"), (a_run(5),)),
    ]
    lines = speeds_table(rows).splitlines()
    assert lines[3] == "| ours | 5.00 M | 36 | 42 | 3.27 | 1.3 | 2 | 3 |"
    assert lines[4] == "| bert | 5.00 M | 6 | 7 | 1.00 | 1.3 | 2 | 3 |"


def test_scores_are_means_over_seeds_and_their_ratios_are_paired_by_document() -> None:
    rows = [
        Row(System("peer"), (a_run(10),) * 2, (scored(1.0, 3.0), scored(2.0, 6.0)), 0.002),
        Row(System("ours"), (a_run(30), a_run(40)), (scored(0.5, 1.5), scored(1.0, 3.0))),
    ]
    _, _, peer, ours = (line.strip("| ").split(" | ") for line in scores_table(rows).splitlines())
    assert peer[:7] == ["peer", "5.00 M", "0.002", "500", "48", "1.00", "12"]
    assert peer[9] == "3.0000"
    assert ours[3:7] == ["500", "48", "1.00", "12"]
    assert ours[9:] == ["1.5000", ours[10], "0.500", "0.500 to 0.500"]  # half of the peer's in every document
    low, high = map(float, ours[10].split(" to "))
    assert low < 1.5 < high


def test_the_rate_is_chosen_on_validation_from_another_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, trained = Bench(tmp_path, tmp_path, True), []

    def run(self: Bench, name: str, budget: dict[str, float], seed: int, rate: float) -> float:
        trained.append((name, seed, rate))
        return rate

    def score(self: Bench, rate: float, split: str) -> Score:
        assert split == "validation"
        return scored(abs(rate - 0.002) + 1)

    monkeypatch.setattr(Bench, "run", run)
    monkeypatch.setattr(Bench, "score", score)
    assert bench.sweep("nanogpt", {"seconds": 1}, [0.001, 0.002, 0.004]) == 0.002
    assert trained == [("nanogpt", 0, rate) for rate in (0.001, 0.002, 0.004)]


@pytest.mark.parametrize("warm_cache", [False, True])
def test_a_run_by_the_clock_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_cache: bool) -> None:
    (tmp_path / "meta.json").write_text("{}")
    (tmp_path / "runs" / "ours-seconds-5-None-1").mkdir(parents=True)
    budgets: list[object] = []
    done = iter([a_run(10), a_run(20)])

    def train(_: Bench, system: object, budget: dict[str, float], *rest: object) -> Run:
        budgets.append(budget)
        return next(done) if "seconds" in budget else a_run(1)

    monkeypatch.setattr(Bench, "_train", train)
    bench = Bench(tmp_path, tmp_path, warm_cache)
    assert bench.run("ours", {"seconds": 5}, 1) == bench.run("ours", {"seconds": 5}, 1) == a_run(10)
    (tmp_path / "meta.json").write_text('{"other": "text"}')
    assert bench.run("ours", {"seconds": 5}, 1) == a_run(20)
    warming = [{"steps": WARMING_STEPS}] if warm_cache else []  # once a system, not once a run
    assert budgets == [*warming, {"seconds": 5}, {"seconds": 5}]


def test_our_systems_differ_from_the_default_only_in_what_they_say() -> None:
    assert set(SPEED) | set(QUALITY) == set(SYSTEMS)
    assert all(SYSTEMS[name].peer or "half_context" in SYSTEMS[name].changes for name in SPEED)
    default = budgeted({}, {"seconds": 90}, 2)
    assert (default.minutes, default.steps, default.seed) == (1.5, None, 2)
    whole = budgeted(SYSTEMS["ours-whole"].changes, {"seconds": 90}, 2)
    assert whole.model_dump(exclude={"half_context"}) == default.model_dump(exclude={"half_context"})
    assert default.model == Pretrain().model
    assert default.model.context == peer_nanogpt.CONTEXT


def test_an_environment_sets_and_unsets() -> None:
    assert with_environment({"ONE": "1", "TWO": None}) == ["env", "-u", "TWO", "ONE=1"]


def test_token_budgets_count_steps_on_half_windows_as_half() -> None:
    assert configured({}, {"tokens": 8192 * 70}, 1).steps == 100  # six steps of ten read half of 8,192
    assert configured({"pretrain.half_context": 0.0}, {"tokens": 8192 * 70}, 1).steps == 70
    own = configured(VARIANTS["4 epochs of 5 MB"], {"tokens": 8192 * 70}, 1)
    assert (own.steps, own.minutes, own.epochs) == (None, None, 4)


def test_every_variant_is_compared_with_one_that_there_is() -> None:
    assert set(COMPARED_WITH) | set(COMPARED_WITH.values()) <= set(VARIANTS)
    assert not any("," in name for name in VARIANTS)  # the command line parts names there
    assert not VARIANTS[BASE]


def test_intervals_are_students() -> None:
    found = Interval.of([1.0, 2.0, 3.0])
    assert (found.mean, found.half) == (2.0, pytest.approx(4.303 / 3**0.5, rel=1e-3))  # t of 2 degrees of freedom
    assert Interval.of([1.0]).half == math.inf


def test_differences_are_run_by_run() -> None:
    results = {
        BASE: [Result(100, 10**6, 640, bits) for bits in (1.0, 2.0, 3.0)],
        "adamw": [Result(50, 2 * 10**6, 640, bits) for bits in (1.5, 2.5, 3.5)],
    }
    lines = ablations.table(results).splitlines()
    assert lines[2] == "| base | 100 |  | 1 | 640 | 2.0000 ± 2.4841 |  |  |"
    assert lines[3] == "| adamw | 50 | 0.50 | 2 | 640 | 2.5000 ± 2.4841 | +0.5000 ± 0.0000 | base |"


@pytest.mark.slow
def test_a_finished_run_is_not_repeated(tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ablations.run(BASE, tokens, {"tokens": 896}, SMALL, 1, tmp_path)
    assert (first.tokens, first.bits > 0) == (896, True)

    def never(*arguments: object) -> Run:
        raise AssertionError("trained again")

    monkeypatch.setattr(ablations, "train_ours", never)
    assert ablations.run(BASE, tokens, {"tokens": 896}, SMALL, 1, tmp_path) == first
    with pytest.raises(AssertionError, match="trained again"):
        ablations.run(BASE, tokens, {"tokens": 640}, SMALL, 1, tmp_path)


def test_a_failing_process_ends_the_comparison_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="not a folder of token files"):
        train_ours(tmp_path, Pretrain(), Runtime(), tmp_path / "out", None, {})


def test_what_this_version_cannot_configure_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VARIANTS, "new", {"pretrain.model.unheard_of": 1})
    assert ablations.known([BASE, "new"], {}) == [BASE]
    assert "left out: new (not in this version: model.unheard_of)" in capsys.readouterr().out
