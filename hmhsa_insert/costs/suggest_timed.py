"""Keep of suggested recipes those that a network can afford in time, measured on the spot.

A few recipes and the network itself take turns, step by step, in inference and in training; the ratios of one round are
of one moment of the machine. What comes out slower than the limit in few rounds is not timed in many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from torch import nn

from hmhsa_insert.costs.latency import Timing, measure_latency
from hmhsa_insert.costs.limits import read_limit
from hmhsa_insert.costs.steps import Mode, Setting
from hmhsa_insert.costs.suggested import Suggestion, Suggestions, TimeRatio
from hmhsa_insert.errors import Argument, HmhsaInsertError, ModelError, Problem
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.surgery.base.inputs import Inputs

_MODES: tuple[Mode, ...] = ("inference", "training")
_TOGETHER = 4  # recipes that take turns: each is a copy of the network
_SCREEN, _ROUNDS = 3, 15
_HOPELESS = 0.15  # over the limit after the first rounds
# Rounds in turns resolve no less on a machine that does other work, too.
_RESOLUTION = 0.03
_BATCH = 4

Measured = Mapping[str, tuple[TimeRatio, ...]]
Measure = Callable[[Mapping[str, nn.Module], Inputs, int], Measured]


def read_latency(given: str | float | None) -> float | None:
    """Return the share of a network's time that an edit may add, from ``"+0%"`` or a number; None is no limit.

    Raises:
        HmhsaInsertError: it is no share.
    """
    limit = read_limit(given, "max_latency")
    if limit is None or limit.is_share:
        return limit.amount if limit else None
    tip = "write +0% or +3%: times are of this machine, and are compared with the network's own"
    raise HmhsaInsertError(
        Problem(Argument("max_latency"), f"'{given}' is not a share of the network's time", tip)
    )


def measured(models: Mapping[str, nn.Module], inputs: Inputs, rounds: int) -> Measured:
    """Return how long models take against the first of them, in each mode."""
    device = next((str(p.device) for p in next(iter(models.values())).parameters()), "cpu")
    found: dict[str, tuple[TimeRatio, ...]] = dict.fromkeys(models, ())
    for mode in _MODES:
        timing, setting = Timing(rounds=rounds, warmup=1), Setting(device)
        for name, record in measure_latency(
            models, inputs, mode, inputs.batch or _BATCH, timing=timing, setting=setting
        ).items():
            ratio = TimeRatio(mode, record.time_ratio, record.time_ratio_p10, record.time_ratio_p90)
            found[name] = (*found[name], ratio)
    return found


def within_time(
    model: nn.Module,
    inputs: Inputs,
    found: Suggestions,
    share: float,
    *,
    measure: Measure = measured,
    progress: Callable[[int, int], None] | None = None,
) -> Suggestions:
    """Return suggestions with their times, without those that take longer than the network and `share` of it.

    A recipe is kept if its median over rounds is within the limit in both modes, to the 3 % that such rounds resolve.

    Args:
        model: the network, with weights.
        inputs: what a step runs on.
        found: what to time.
        share: what may be added: 0.05 for ``"+5%"``.
        measure: how models are timed.
        progress: called with (recipes done, recipes in all).

    Raises:
        ModelError: the network has no weights, or cannot be run.
    """
    if any(parameter.is_meta for parameter in model.parameters()):
        message = "the network is on the meta device, where nothing can be timed"
        raise ModelError(Problem(type(model).__name__, message, "build it with weights, which may be random"))
    timed: list[Suggestion] = []
    for group in _groups(found.found):
        first = _timed(model, inputs, group, _SCREEN, measure)
        hopeful = [each for each in first if each.slowest <= 1 + share + _HOPELESS]
        again = {each.recipe.name: each for each in _timed(model, inputs, hopeful, _ROUNDS, measure)}
        timed += [again.get(each.recipe.name, each) for each in first]
        if progress:
            progress(len(timed), len(found.found))
    kept = tuple(each for each in timed if each.slowest <= 1 + share + _RESOLUTION)
    return replace(found, found=kept, fastest=min(timed, key=lambda each: each.slowest, default=None))


def _groups(found: Sequence[Suggestion]) -> Iterator[Sequence[Suggestion]]:
    for start in range(0, len(found), _TOGETHER):
        yield found[start : start + _TOGETHER]


def _timed(
    model: nn.Module, inputs: Inputs, group: Sequence[Suggestion], rounds: int, measure: Measure
) -> list[Suggestion]:
    if not group:
        return []
    models = {"": model} | {each.recipe.name: apply(model, each.recipe, inputs=inputs) for each in group}
    times = measure(models, inputs, rounds)
    return [replace(each, times=times[each.recipe.name]) for each in group]
