"""What `gpu.py` times: blocks against the released form and every peer, at more and more pixels, and whole networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import timm
import torch
from gpu_checks import Where
from peers import HEAD_DIM, STAGES, PlainNetwork, Stage, candidates
from torch import Tensor, nn

import hmhsa_insert as hi
import hmhsa_insert.models  # registers HAT-Net
from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.latency import Timing, quantile, time_rounds
from hmhsa_insert.costs.steps import Mode, Setting, prepare
from hmhsa_insert.errors import first_line

Row = dict[str, str]
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Budget:
    """How long there is, and how much is measured.

    Attributes:
        where: the device.
        ends: of `time.monotonic`, after which no further comparison begins.
        rounds: timings of each candidate.
    """

    where: Where
    ends: float
    rounds: int

    @property
    def is_over(self) -> bool:
        """True once there is no time left."""
        return time.monotonic() > self.ends


@dataclass(frozen=True)
class Job:
    """One comparison: candidates that take turns, the first of which the others are held against."""

    section: str
    make: Callable[[], Mapping[str, nn.Module]]
    size: Size
    batch: int
    mode: Mode
    setting: Setting

    @property
    def named(self) -> Row:
        """What identifies the rows of this comparison."""
        words = [
            str(self.setting.dtype).removeprefix("torch."),
            *(["compiled"] if self.setting.compiled else []),
        ]
        size = "×".join(map(str, self.size))
        return {
            "section": self.section,
            "setting": " ".join(words),
            "mode": self.mode,
            "batch": str(self.batch),
            "size": size,
        }


def settings(where: Where, channels_last: bool = False) -> list[Setting]:
    """Return what everything is run in, the most valuable first: bf16 compiled and eager, then float32."""
    kinds = [(torch.bfloat16, True), (torch.bfloat16, False), (torch.float32, False), (torch.float32, True)]
    if where.quick:  # compiling takes most of a minute
        kinds = [(torch.bfloat16, False), (torch.float32, False)]
    return [Setting(where.device, dtype, channels_last, compiled) for dtype, compiled in kinds]


def block_jobs(where: Where) -> Iterator[Job]:
    """Yield the comparisons of blocks: those that the goals are about first."""
    stages = (Stage("quick", 64, 14, 7, 2),) if where.quick else STAGES
    for setting in settings(where):
        for mode in _modes():
            for stage in stages:
                size = (stage.channels, stage.side, stage.side)
                yield Job(
                    stage.name,
                    lambda stage=stage: _candidates(where, stage),
                    size,
                    _batch(where),
                    mode,
                    setting,
                )


def map_jobs(where: Where) -> Iterator[Job]:
    """Yield the comparisons on large maps, where attention to every token no longer fits."""
    for side in (28,) if where.quick else (112, 168, 224):
        stage = Stage(f"map {side}", HEAD_DIM, side, 8, 8)
        for setting in settings(where)[: 2 if where.quick else 3]:
            for mode in _modes():
                size = (stage.channels, side, side)
                batch = max(1, _batch(where) // 16)
                yield Job(
                    stage.name, lambda stage=stage: _candidates(where, stage), size, batch, mode, setting
                )


def network_jobs(where: Where) -> Iterator[Job]:
    """Yield the comparisons of whole networks."""
    size, batch = ((3, 64, 64), 2) if where.quick else ((3, 224, 224), 128)
    for setting in settings(where):
        for mode in _modes():
            # The released form takes no other size.
            yield Job("HAT-Net-Small", _hat_nets, (3, 224, 224), 1 if where.quick else batch, mode, setting)
            last = replace(setting, channels_last=True)
            yield Job("ResNet-50", lambda: _resnets(size), size, batch, mode, last)


def _modes() -> tuple[Mode, ...]:
    return ("training", "inference")


def _batch(where: Where) -> int:
    return 2 if where.quick else 128


def _candidates(where: Where, stage: Stage) -> dict[str, nn.Module]:
    made = candidates(stage)
    return dict(list(made.items())[:5]) if where.quick else made


def _hat_nets() -> dict[str, nn.Module]:
    return {
        "plain definition": PlainNetwork(timm.create_model("hat_net_small")),
        "ours": timm.create_model("hat_net_small"),
        "ours lean": set_lean(timm.create_model("hat_net_small")),
    }


def _resnets(size: Size) -> dict[str, nn.Module]:
    base = timm.create_model("resnet50")
    return {"plain": base} | {
        name: hi.apply(base, f"{name}.yaml", input_size=size) for name in ("bottleneck", "stage3")
    }


def measured(job: Job, budget: Budget, limits: Limits) -> Iterator[Row]:
    """Yield one row for each candidate; one that fails has the reason in its row."""
    models, where = job.make(), budget.where
    steps, peaks, notes = {}, {}, {}
    # Each candidate is compiled afresh: many sizes of one class would reach dynamo's limit and run eager.
    torch._dynamo.reset()
    for name, model in models.items():
        try:
            steps[name], peaks[name] = _ready(model, job, where)
        except Exception as error:  # a peer may refuse a size, or not fit the memory
            notes[name] = f"{type(error).__name__}: {first_line(error)}"[:120]
        if where.on_gpu:
            torch.cuda.empty_cache()
    timing = Timing(rounds=budget.rounds, shortest_ms=1.0 if where.quick else 20.0)
    repeats = {name: _repeats(step, timing, where) for name, step in steps.items()}
    seconds = time_rounds(steps, repeats, timing, where.wait)
    base = seconds.get(next(iter(models)), [])
    for name, model in models.items():
        row = job.named | {"candidate": name, "note": notes.get(name, "")}
        if name in seconds:
            row |= _figures(seconds[name], base, job.batch)
            row["peak_mib"] = f"{peaks[name] / 2**20:.1f}" if where.on_gpu else ""
            if job.mode == "inference":
                row |= limits.shares(model, job, median(seconds[name]))
        yield row


def _ready(model: nn.Module, job: Job, where: Where) -> tuple[Callable[[], None], int]:
    """Return a step that has run twice, and the bytes that it takes by itself at most, weights included."""
    before = torch.cuda.memory_allocated() if where.on_gpu else 0
    step = prepare(model, job.mode, job.size, job.batch, job.setting)
    for _ in range(1 if where.quick else 3):
        step()
    where.wait()
    if not where.on_gpu:
        return step, 0
    torch.cuda.reset_peak_memory_stats()
    step()
    where.wait()
    return step, torch.cuda.max_memory_allocated() - before


def _repeats(step: Callable[[], None], timing: Timing, where: Where) -> int:
    start = time.perf_counter()
    step()
    where.wait()
    return max(1, math.ceil(timing.shortest_ms / 1e3 / max(time.perf_counter() - start, 1e-6)))


def _figures(seconds: Sequence[float], base: Sequence[float], batch: int) -> Row:
    row = {"ms": f"{1e3 * median(seconds):.4f}", "images_per_s": f"{batch / median(seconds):.1f}"}
    ratios = [theirs / own for own, theirs in zip(seconds, base, strict=False)]
    if ratios:
        row |= {
            "speed": f"{median(ratios):.3f}",
            "speed_p10": f"{quantile(ratios, 0.1):.3f}",
            "speed_p90": f"{quantile(ratios, 0.9):.3f}",
        }
    return row


class Limits:
    """What the device can do at most, each measured when it is first needed: products, and copies of memory."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._rates: dict[tuple[str, torch.dtype], float] = {}

    def shares(self, model: nn.Module, job: Job, seconds: float) -> Row:
        """Return a step's share of the rate of large products, and of the time to read and write its map once."""
        dtype = job.setting.dtype or torch.float32
        elements = math.prod(job.size) * job.batch
        try:
            macs = job.batch * count(model, job.size).macs
        except Exception:  # a peer that fvcore's or torch's counter cannot follow has no share
            return {}
        width = torch.finfo(dtype).bits // 8
        return {
            "matmul_share": f"{macs / seconds / self._rate('products', dtype):.3f}",
            "bandwidth_share": f"{2 * elements * width / seconds / self._rate('copies', dtype):.3f}",
        }

    def _rate(self, what: str, dtype: torch.dtype) -> float:
        if (what, dtype) not in self._rates:
            self._rates[what, dtype] = self._products(dtype) if what == "products" else self._copies(dtype)
        return self._rates[what, dtype]

    def _products(self, dtype: torch.dtype) -> float:
        side = 256 if self._where.quick else 8192 if self._where.on_gpu else 1024
        a, b = (torch.randn(side, side, device=self._where.device).to(dtype) for _ in range(2))
        return side**3 / self._best(lambda: a @ b)

    def _copies(self, dtype: torch.dtype) -> float:
        number = 2**20 if self._where.quick else 2**28
        source = torch.zeros(number, device=self._where.device, dtype=dtype)
        target = torch.empty_like(source)
        return 2 * number * source.element_size() / self._best(lambda: target.copy_(source))

    def _best(self, work: Callable[[], Tensor], times: int = 10) -> float:
        found = []
        for _ in range(times):
            self._where.wait()
            start = time.perf_counter()
            work()
            self._where.wait()
            found.append(time.perf_counter() - start)
        return min(found)
