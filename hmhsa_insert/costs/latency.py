"""How long models take, compared fairly on a machine that is not quiet.

All candidates run once per round, each round in an order of its own, so that a slow moment of the machine meets all
of them; each is compared with the base of the same round. A step that is not timed goes before every timing: caches,
and what the C library holds of freed memory, are then the candidate's own. Medians and p10/p90 are over rounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Literal

from torch import nn

from hmhsa_insert.costs.fake import cannot_run
from hmhsa_insert.costs.steps import Mode, Setting, Timed, prepare, wait
from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize

Clock = Literal["wall", "process"]
OnProgress = Callable[[int, int], None]
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "process": time.process_time}


@dataclass(frozen=True)
class LatencyRecord:
    """How long one step of one candidate takes.

    Attributes:
        mode: ``"inference"`` or ``"training"`` (forward, backward and optimizer step).
        clock: ``"wall"`` time, or CPU time of the ``"process"``, summed over its threads.
        batch: images in a step.
        rounds: how many rounds the quantiles are over.
        steps_per_round: steps that one timing spans.
        latency_ms: median milliseconds of a step.
        p10_ms, p90_ms: the 10 % and 90 % quantiles.
        images_per_s: `batch` divided by the median.
        time_ratio: median over rounds of this time divided by the base's in the same round; the base has 1.
        time_ratio_p10, time_ratio_p90: the quantiles of that ratio.
    """

    mode: Mode
    clock: Clock
    batch: int
    rounds: int
    steps_per_round: int
    latency_ms: float
    p10_ms: float
    p90_ms: float
    images_per_s: float
    time_ratio: float
    time_ratio_p10: float
    time_ratio_p90: float


@dataclass(frozen=True)
class Timing:
    """What to time, and how.

    Attributes:
        modes: the steps to time: ``"inference"``, ``"training"`` or both.
        rounds: timings of each candidate.
        warmup: steps of each candidate before the first timing; compilation happens there.
        shortest_ms: steps are repeated until one timing takes this long, so that clock ticks do not show.
        clock: ``"wall"``, or ``"process"`` where other work shares the machine (CPU only).
    """

    modes: tuple[Mode, ...] = ("inference",)
    rounds: int = 30
    warmup: int = 3
    shortest_ms: float = 20.0
    clock: Clock = "wall"


def measure_latency(
    models: Mapping[str, nn.Module],
    input_size: InputSize = (3, 224, 224),
    mode: Mode = "inference",
    batch: int = 1,
    *,
    timing: Timing | None = None,
    setting: Setting | None = None,
    progress: OnProgress | None = None,
) -> dict[str, LatencyRecord]:
    """Time one step of each of `models`, against the first. Copies are timed; the models are not touched.

    Args:
        models: the candidates by name, the base first.
        input_size: C, H, W of one image, or more, see :meth:`Inputs.of`.
        mode: what a step is, see :func:`hmhsa_insert.costs.steps.prepare`.
        batch: samples in a step, if the inputs have no batch of their own.
        timing: rounds, warm-up and clock.
        setting: device, dtype, memory format, compilation.
        progress: called with (timings done, timings in all).

    Raises:
        ModelError: when a model cannot be copied or run, or the process clock is asked for on an accelerator.
    """
    setting, timing = setting or Setting(), timing or Timing()
    if timing.clock == "process" and not setting.device.startswith("cpu"):
        raise ModelError(f"process time does not see the work of '{setting.device}'; use wall time there")
    inputs = Inputs.of(input_size)
    batch = inputs.batch or batch
    steps = {name: prepare(model, mode, inputs, batch, setting) for name, model in models.items()}
    repeats = {}
    for name, step in steps.items():
        try:
            repeats[name] = _warm_up(step, timing, setting.device)
        except Exception as error:
            raise cannot_run(models[name], inputs, error) from error
    times = time_rounds(steps, repeats, timing, lambda: wait(setting.device), progress)
    base = times[next(iter(times))]
    return {name: _record(mode, timing, batch, repeats[name], times[name], base) for name in times}


def time_rounds(
    steps: Mapping[str, Timed],
    repeats: Mapping[str, int],
    timing: Timing,
    finish: Callable[[], None] = lambda: None,
    progress: OnProgress | None = None,
) -> dict[str, list[float]]:
    """Run all `steps` once per round and return seconds per step, by name and round.

    Each round has a drawn order, the same in every call, so none always runs after the same neighbour.

    Args:
        steps: what to time.
        repeats: how many times each is run within one timing.
        timing: rounds and clock.
        finish: waits for the device, before a clock is read.
        progress: called with (timings done, timings in all).
    """
    clock = CLOCKS[timing.clock]
    names = list(steps)
    times: dict[str, list[float]] = {name: [] for name in names}
    draw = Random(0)
    for turn in range(timing.rounds):
        for place, name in enumerate(draw.sample(names, len(names)), start=1):
            steps[name]()
            finish()
            start = clock()
            for _ in range(repeats[name]):
                steps[name]()
            finish()
            times[name].append((clock() - start) / repeats[name])
            if progress:
                progress(turn * len(names) + place, timing.rounds * len(names))
    return times


def quantile(values: Sequence[float], share: float) -> float:
    """Return the `share` quantile of `values` (0 … 1), interpolated linearly between its neighbours."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _warm_up(step: Timed, timing: Timing, device: str) -> int:
    """Run the warm-up, and return how many steps make one timing long enough."""
    clock = CLOCKS[timing.clock]
    for _ in range(max(timing.warmup - 1, 0)):
        step()
    wait(device)
    start = clock()
    step()
    wait(device)
    taken_ms = (clock() - start) * 1e3
    return max(1, math.ceil(timing.shortest_ms / max(taken_ms, 1e-3)))


def _record(
    mode: Mode, timing: Timing, batch: int, repeats: int, seconds: list[float], base: list[float]
) -> LatencyRecord:
    ratios = [mine / max(theirs, 1e-9) for mine, theirs in zip(seconds, base, strict=True)]
    middle = median(seconds)
    return LatencyRecord(
        mode=mode,
        clock=timing.clock,
        batch=batch,
        rounds=len(seconds),
        steps_per_round=repeats,
        latency_ms=middle * 1e3,
        p10_ms=quantile(seconds, 0.1) * 1e3,
        p90_ms=quantile(seconds, 0.9) * 1e3,
        images_per_s=batch / max(middle, 1e-9),
        time_ratio=median(ratios),
        time_ratio_p10=quantile(ratios, 0.1),
        time_ratio_p90=quantile(ratios, 0.9),
    )
