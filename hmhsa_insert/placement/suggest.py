"""``hi.suggest``: where a block can go within a budget, by cost alone, or where it may pay, tried on data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.costs.suggest import budget as read_limits
from hmhsa_insert.costs.suggest import search
from hmhsa_insert.costs.suggest_timed import read_latency, within_time
from hmhsa_insert.costs.suggested import Suggestions
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.placement.find import ENTRANTS, SHARE
from hmhsa_insert.placement.finding import Finding
from hmhsa_insert.placement.pretest import pretest
from hmhsa_insert.surgery.artifact.artifact import open_model
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.training.interfaces import DataSource
from hmhsa_insert.training.run_schema import RunSettings

Network = str | Path | nn.Module
Limit = str | float | None
Settings = str | Path | Mapping[str, Any] | RunSettings | None
OnProgress = Callable[..., None]

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@overload
def suggest(
    model: Network,
    block: str = "hmhsa",
    *,
    max_macs: Limit = None,
    max_params: Limit = None,
    max_memory: Limit = None,
    max_latency: Limit = None,
    input_size: InputSize = None,
    inputs: InputSize = None,
    allow_code: bool = False,
    progress: OnProgress | None = None,
) -> Suggestions: ...


@overload
def suggest(
    model: Network,
    block: str = "hmhsa",
    *,
    data: str | Path | DataSource,
    blocks: Sequence[str | Mapping[str, Any]] = (),
    max_macs: Limit = None,
    max_params: Limit = None,
    input_size: InputSize = None,
    settings: Settings = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    data_dir: str | Path | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    entrants: int | None = None,
    share: float | None = None,
    budget: str | float | None = None,
    folder: str | Path | None = None,
    allow_code: bool = False,
    progress: OnProgress | None = None,
) -> Finding: ...


@reads_arguments
def suggest(
    model: Network,
    block: str = "hmhsa",
    *,
    data: str | Path | DataSource | None = None,
    blocks: Sequence[str | Mapping[str, Any]] = (),
    max_macs: Limit = None,
    max_params: Limit = None,
    max_memory: Limit = None,
    max_latency: Limit = None,
    input_size: InputSize = None,
    inputs: InputSize = None,
    settings: Settings = None,
    overrides: Sequence[str] = (),
    seed: int = 0,
    data_dir: str | Path | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    entrants: int | None = None,
    share: float | None = None,
    budget: str | float | None = None,
    folder: str | Path | None = None,
    allow_code: bool = False,
    progress: OnProgress | None = None,
) -> Suggestions | Finding:
    """List where a block can go within a budget; with data, where it may pay: the evidence of short trainings.

    By cost alone nothing is trained: each recipe inserts the block at the last, every second or each block of a set of
    stages, at the network's own width or a narrower one, and of those within the budget the Pareto set is kept. With
    data, each block is put at the end of each stage, trained alone towards the loss's gradient beside its placebo, and
    the best are raced against the network without a block for a share of a training. That is a prior and a hint:
    ``hi.ablate`` with controls and seeds is what answers the question.

    Args:
        model: the network, which is not changed; what ``hi.load_model`` takes, or the folder of an artifact.
        block: a type that keeps the map's shape; ``hmhsa-insert blocks`` lists them.
        data: what ``hi.train`` takes; None: by cost alone.
        blocks: with data, several blocks to compare, in place of `block`: types, or dicts as a recipe writes them.
        max_macs: multiply–accumulates of the edited network, at most: ``"+5%"`` over the network, ``"4.3G"`` or a
            number in all. By cost alone ``"+5%"`` if nothing is limited.
        max_params: parameters, at most: ``"+10%"``, ``"30M"``.
        max_memory: by cost alone, bytes saved for backward for one image, at most: ``"+10%"``, ``"120MiB"``.
        max_latency: by cost alone, what may be added to the time of a step of inference and of training, ``"+0%"``: the
            recipes within the other limits are timed here, in turns with the network.
        input_size: 96 for a square image, ``(H, W)`` or ``(C, H, W)``; 3×224×224 by default, with data that of the
            settings.
        inputs: by cost alone, example tensors in its place: one, a tuple by position, or a dict by name.
        settings: with data, as those below, of ``hi.train``: a path, the name of shipped settings, or a dict.
        overrides: ``key=value`` or ``section.key=value``.
        seed: of weights, blocks, order and draws.
        data_dir: where downloaded data is kept.
        weights: a file of base weights.
        pretrained: begin with the library's weights.
        entrants: how many blocks to race, 4 by default; 0: none, and nothing is trained but blocks alone.
        share: of the optimizer steps of a whole training, for each of them; 0.25 by default.
        budget: ``"90s"``, ``"10m"``, ``"2h"`` or seconds, after which no further block is raced.
        folder: of the race and what was found; by default in ``runs/``. The same call goes on there.
        allow_code: build an artifact's base network with the factory that it names, if you trust the artifact.
        progress: called with (recipes done, recipes in all); with data with what is done, and how much of how much.

    Returns:
        By cost alone a sequence of suggestions, cheapest first, each with its ``recipe`` and the ``cost`` of the edited
        network. With data what was found: its ``verdict``, the ``recipes`` of the best, ``to_frame()`` with a row per
        block. Both print as tables; ``hi.apply`` takes their recipes.

    Raises:
        BlockError: there is no such block, or it does not keep the shape.
        ModelError: the network cannot be traced, or the inputs are not described correctly.
        PlanError: it has no stages, or no block fits within the limits.
        HmhsaInsertError: an argument cannot be read or is of the other way to suggest; with data as ``hi.train``.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
        >>> found = hi.suggest(model, "timm/se", max_params="+2%", input_size=64)
        >>> edited = hi.apply(model, found[0].recipe, input_size=64)
        >>> found[0].recipe.name, found[0].num_blocks
        ('timm-se-s1-last', 1)
        >>> tried = hi.suggest(model, data="digits", blocks=["irb", "timm/se"], input_size=16, entrants=0)
        >>> len(tried.to_frame()), len(tried.recipes)
        (6, 3)
    """
    of_cost = {"max_memory": max_memory, "max_latency": max_latency, "inputs": inputs}
    of_race = {"entrants": entrants, "share": share, "budget": budget, "folder": folder}
    of_training: dict[str, Any] = {"settings": settings, "overrides": overrides, "seed": seed}
    of_training |= {"data_dir": data_dir, "weights": weights, "pretrained": pretrained}
    check_way(data is not None, of_cost if data is not None else {"blocks": blocks, **of_race, **of_training})
    limits, latency = read_limits(max_macs, max_params, max_memory), read_latency(max_latency)
    if data is None:
        if not isinstance(model, nn.Module):
            model = open_model(str(model), allow_code=allow_code, meta=latency is None).model
        asked = (3, 224, 224) if input_size is None and inputs is None else input_size
        given = inputs_of(model, asked, inputs)
        found = search(model, given, limits, block, memory=max_memory is not None, progress=progress)
        return found if latency is None else within_time(model, given, found, latency, progress=progress)
    of_training["init_from"] = of_training.pop("weights")
    return pretest(
        model,
        data,
        blocks or [block],
        folder=folder,
        entrants=ENTRANTS if entrants is None else entrants,
        share=SHARE if share is None else share,
        seconds=math.inf if budget is None else read_time(budget),
        limits=None if max_macs is None and max_params is None else limits,
        progress=progress,
        input_size=input_size,
        allow_code=allow_code,
        **of_training,
    )


def check_way(has_data: bool, given: Mapping[str, Any]) -> None:
    """Refuse arguments of the other way to suggest: by cost alone, or with data.

    Args:
        has_data: whether it is with data.
        given: arguments of the other way; one that was not given is None, False, zero or empty.

    Raises:
        HmhsaInsertError: one was given.
    """
    message = "is of suggestions by cost alone" if has_data else "is of suggestions with data"
    tip = "leave one of the two away" if has_data else "give `data=SOURCE` too"
    problems = [Problem(Argument(name), message, tip) for name, value in given.items() if _is_given(value)]
    if problems:
        raise HmhsaInsertError(problems)


def _is_given(value: Any) -> bool:
    """Return True for anything but None, False, zero and what is empty; tensors have no truth."""
    return value is not None and (not isinstance(value, bool | int | str | Sequence) or bool(value))


def read_time(given: str | float) -> float:
    """Return the seconds of ``90s``, ``10m`` or ``2h``, or a number of seconds.

    Raises:
        HmhsaInsertError: it is no time.
    """
    if isinstance(given, int | float) and given >= 0:
        return float(given)
    matched = _TIME.fullmatch(str(given).strip().lower())
    if matched is None:
        raise HmhsaInsertError(
            Problem(Argument("budget"), f"'{given}' is not a time", "write 90s, 10m or 2h")
        )
    return float(matched[1]) * _SECONDS[matched[2]]
