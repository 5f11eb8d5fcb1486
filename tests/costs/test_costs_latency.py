"""The order, pairing and statistics of timings, on a clock that is not the machine's."""

from __future__ import annotations

import json
import statistics

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from hmhsa_insert.costs import latency
from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.latency import Timing, measure_latency, quantile, time_rounds
from hmhsa_insert.costs.steps import Setting, prepare
from hmhsa_insert.errors import ModelError


class FakeTime:
    """A clock that steps move, as slowly as a machine's mood of the round says."""

    steps_of_a_round = 8  # one step of a, one of b, three of c, and one before each that is not timed

    def __init__(self, moods: list[float]) -> None:
        self.now = 0.0
        self.order: list[str] = []
        self.moods = moods

    def step(self, name: str, seconds: float):
        def run() -> None:
            self.order.append(name)
            self.now += seconds * self.moods[(len(self.order) - 1) // self.steps_of_a_round]

        return run


@pytest.fixture
def fake_time(monkeypatch):
    fake = FakeTime([1.0, 9.0, 1.0, 2.0])
    monkeypatch.setitem(latency.CLOCKS, "wall", lambda: fake.now)
    return fake


def test_rounds_are_interleaved_and_paired(fake_time):
    steps = {name: fake_time.step(name, seconds) for name, seconds in {"a": 1.0, "b": 2.0, "c": 0.5}.items()}
    done = []
    times = time_rounds(
        steps, {"a": 1, "b": 1, "c": 3}, Timing(rounds=4), progress=lambda at, of: done.append((at, of))
    )
    order = "".join(fake_time.order)
    rounds = [order[start : start + 8] for start in range(0, len(order), 8)]
    assert all(
        sorted(turn.replace("aa", "A").replace("bb", "B").replace("cccc", "C")) == ["A", "B", "C"]
        for turn in rounds
    )
    assert len(set(rounds)) > 1
    assert times == {"a": [1.0, 9.0, 1.0, 2.0], "b": [2.0, 18.0, 2.0, 4.0], "c": [0.5, 4.5, 0.5, 1.0]}
    assert done == [(n, 12) for n in range(1, 13)]


def test_a_slow_moment_does_not_move_the_ratio():
    record = latency._record("training", Timing(), 8, 3, [2.0, 18.0, 3.0], [1.0, 9.0, 1.0])
    # Round by round 2, 2 and 3; the medians of the two are 3 and 1.
    assert (record.time_ratio, record.time_ratio_p10) == (2.0, 2.0)
    assert record.time_ratio_p90 == pytest.approx(2.8)
    assert record.latency_ms == 3000.0
    assert record.p90_ms == pytest.approx(15000.0)
    assert record.images_per_s == pytest.approx(8 / 3)
    assert (record.rounds, record.steps_per_round, record.batch) == (3, 3, 8)


def test_quantiles_are_the_usual_ones():
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
    inclusive = statistics.quantiles(values, n=10, method="inclusive")
    assert quantile(values, 0.1) == pytest.approx(inclusive[0])
    assert quantile(values, 0.9) == pytest.approx(inclusive[8])
    assert quantile([7.0], 0.9) == 7.0


def test_short_steps_are_repeated(monkeypatch):
    now = iter([0.0, 0.004])
    monkeypatch.setitem(latency.CLOCKS, "wall", lambda: next(now))
    runs = []
    assert latency._warm_up(lambda: runs.append(1), Timing(warmup=4, shortest_ms=20), "cpu") == 5
    assert len(runs) == 4


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("clock", ["wall", "process"])
def test_real_models(mode, clock):
    models = {"small": nn.Conv2d(3, 4, 3), "norm": nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))}
    states = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in models.items()}
    generator = torch.get_rng_state()
    timing = Timing(rounds=3, warmup=1, shortest_ms=1, clock=clock)
    records = measure_latency(models, (3, 32, 32), mode, 2, timing=timing)
    assert list(records) == ["small", "norm"]
    for record in records.values():
        assert (record.mode, record.clock, record.batch, record.rounds) == (mode, clock, 2, 3)
        assert 0 < record.p10_ms <= record.latency_ms <= record.p90_ms
        assert record.images_per_s == pytest.approx(2000 / record.latency_ms)
    assert records["small"].time_ratio == 1.0
    for name, model in models.items():
        assert all(torch.equal(states[name][k], v) for k, v in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
    assert torch.equal(generator, torch.get_rng_state())


def test_a_training_step_trains_in_train_mode_and_keeps_the_weights():
    seen = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            seen.append((self.training, self.conv.weight.clone(), self.conv.weight.grad, x.is_contiguous()))
            return {"out": self.conv(x), "ids": torch.arange(3)}

    setting = Setting(channels_last=True, dtype=torch.float64)
    step = prepare(Watched().eval(), "training", (3, 8, 8), 2, setting)
    step()
    step()
    (first, second) = seen
    assert first[0] is second[0] is True
    assert torch.equal(first[1], second[1])
    assert first[1].dtype == torch.float64
    assert first[3] is False


def test_a_training_step_steps_its_optimizer_and_inference_runs_in_eval_mode():
    modes, updates = [], []

    class Watched(nn.Conv2d):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    hook = register_optimizer_step_post_hook(lambda *_: updates.append(len(modes)))
    try:
        for mode, model in (("inference", Watched(3, 4, 1).train()), ("training", Watched(3, 4, 1).eval())):
            step = prepare(model, mode, (3, 8, 8), 2, Setting())
            step()
            step()
    finally:
        hook.remove()
    assert modes == [False, False, True, True]
    assert updates == [3, 4]  # after each of the last two forwards


def test_compiled_models_run():
    runs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda model: lambda x: runs.append(x.shape) or model(x))
        for compiled in (False, True):
            prepare(nn.Conv2d(3, 4, 1), "training", (3, 8, 8), 2, Setting(compiled=compiled))()
    assert runs == [(2, 3, 8, 8)]


def test_refusals():
    with pytest.raises(ModelError, match="process time does not see the work of 'meta'"):
        measure_latency({"a": nn.ReLU()}, timing=Timing(clock="process"), setting=Setting(device="meta"))
    with pytest.raises(ModelError, match="Conv2d: cannot run on an input of 4×8×8"):
        measure_latency({"a": nn.Conv2d(3, 4, 1)}, (4, 8, 8))


def test_the_environment_is_data():
    from dataclasses import asdict

    described = environment(Setting(dtype=torch.bfloat16, channels_last=True))
    assert (described.device, described.dtype, described.channels_last) == ("cpu", "bfloat16", True)
    assert described.versions["torch"].startswith(torch.__version__.split("+")[0])
    assert described.threads == torch.get_num_threads()
    assert described.cpu
    assert described.software("python", "torch") == "python {python}, torch {torch}".format(
        **described.versions
    )
    assert described.software().count(", ") == len(described.versions) - 1
    json.dumps(asdict(described), allow_nan=False)
