"""The block type of a row: its options are the plain parameters of the class's constructor, its cost is counted."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Literal, cast

from pydantic import Field, create_model
from torch import nn

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options
from hmhsa_insert.blocks.fields import HeadDim, head_problems, head_size
from hmhsa_insert.blocks.library.layouts import adapted
from hmhsa_insert.blocks.library.row import Row, found, installed
from hmhsa_insert.blocks.library.table import ROWS
from hmhsa_insert.blocks.trial import Trial, tried
from hmhsa_insert.errors import BlockError, Problem

Parameters = Mapping[str, inspect.Parameter]

# Determined by the map and the site, or not plain data.
_NOT_OPTIONS = {"feat_size", "dim_out", "out_channels", "stride", "device", "dtype"}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
# How many multiples of a side are told where a map does not fit: the one below it and the one above.
_NEAREST = 2


@cache
def library_block(name: str) -> BlockType:
    """Return the block type of a row of the table `ROWS`.

    Raises:
        BlockError: the installed version of the library has no such class, or another constructor.
    """
    row = ROWS[name]
    parameters = _parameters(row)
    return BlockType(
        name=name,
        summary=row.title,
        options=_options(row, parameters),
        build=partial(_build, row),
        cost=partial(_cost, row),
        shape="same",
        refuse=partial(_refuse, row),
        needs_size=row.needs_size,
        one_size=row.one_size,
        about=row.about,
    )


def _parameters(row: Row) -> Parameters:
    """Return the parameters of the row's class, of which it has all that the row names."""
    parameters = inspect.signature(found(row.path, row.type)).parameters
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    named = (*row.channels, row.size, row.tokens, row.heads, *row.fixed)
    missing = [name for name in named if name and name not in parameters]
    if missing and not open_ended:
        message = f"{row.path} of {installed(row.library)} has no parameter {', '.join(missing)}"
        tip = f"another version of {row.library} has it"
        raise BlockError(Problem("type", f"{message}, which the block '{row.type}' needs", tip))
    return parameters


def _options(row: Row, parameters: Parameters) -> type[Options]:
    """Make the options class of a row from the plain-data parameters of its class."""
    fields: dict[str, Any] = {"type": (Literal[row.type], row.type)}
    set_by_row = {*row.channels, row.size, row.tokens, row.heads, row.head, *row.fixed, *row.options}
    if row.has_heads:
        fields["head_dim"] = (HeadDim, "auto")
        set_by_row.add("head_dim")
    told = f"as in {row.library}'s {row.path.partition(':')[2]}"
    for parameter in parameters.values():
        kind = _plain_type(parameter)
        if kind is not None and parameter.name not in _NOT_OPTIONS | set_by_row:
            fields[parameter.name] = (kind, Field(parameter.default, description=told))
    for name, default in row.options.items():
        fields[name] = (type(default), Field(default, description=told))
    title = row.name.title().replace("_", "")
    return cast(type[Options], create_model(f"{title}Options", __base__=Options, **fields))


def _plain_type(parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter that takes a number, a switch or a name; None for any other."""
    default, annotation = parameter.default, parameter.annotation
    if isinstance(default, bool | int | float | str):
        # A float parameter may have a whole default, such as `gamma: float = 2`.
        return float if annotation is float else type(default)
    members = typing.get_args(annotation)
    if default is None and (annotation is inspect.Parameter.empty or int in members):
        return int | types.NoneType
    return None


def _build(row: Row, options: Options, inp: MapSize, out_channels: int) -> nn.Module:
    make: Callable[..., nn.Module] = found(row.path, row.type)
    module = make(**_arguments(row, options, inp))
    if row.wakes:
        for norm in module.modules():
            if isinstance(norm, _NORMS) and norm.weight is not None:
                nn.init.ones_(norm.weight)
    return adapted(module, row.layout, row.residual)


def _arguments(row: Row, options: Any, inp: MapSize) -> dict[str, Any]:
    """Return the arguments of the constructor, from the options, the map and the row."""
    parameters = _parameters(row)
    of_the_map: dict[str, Any] = dict.fromkeys(row.channels, inp.channels)
    of_the_map |= {row.size: (inp.height, inp.width), row.tokens: inp.height * inp.width}
    left_out = {"type"}
    if row.has_heads:
        head = head_size(options.head_dim, inp.channels)
        of_the_map |= {row.heads: inp.channels // head} | ({row.head: head} if row.head in parameters else {})
        left_out.add("head_dim")
    written = options.model_dump(exclude=left_out)
    given = {name: value for name, value in written.items() if name in parameters} | of_the_map
    given |= {**row.fixed, **row.derived(options, inp)}
    return {name: value for name, value in given.items() if name}


def _tried(row: Row, options: Options, inp: MapSize, out_channels: int) -> Trial:
    return tried(library_block(row.type), options, inp, out_channels)


def _cost(row: Row, options: Options, inp: MapSize, out_channels: int) -> BlockCost:
    trial = _tried(row, options, inp, out_channels)
    if trial.cost is None:
        raise BlockError(Problem("type", trial.problem))
    return trial.cost


def _refuse(row: Row, options: Any, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    """Return what does not fit; else try the block on a map of fake tensors, and refuse what fails there."""
    problems = head_problems(options.head_dim, inp.channels) if row.has_heads else []
    problems += _multiple_problems(row, options, inp)
    if problems:
        return problems
    problem = _tried(row, options, inp, out_channels).problem
    tip = f"the class is that of {installed(row.library)}; it may take other options, or another map"
    return [OptionProblem(("type",), problem, tip)] if problem else []


def _multiple_problems(row: Row, options: Any, inp: MapSize) -> list[OptionProblem]:
    side = getattr(options, row.multiple) if row.multiple else 1
    if side < 1 or not (inp.height % side or inp.width % side):
        return []
    message = f"{row.library}'s '{row.name}' needs a height and width that are multiples of its {row.multiple} {side}"
    fitting = (
        tuple(max(side, (length // side + up) * side) for length in (inp.height, inp.width))
        for up in range(_NEAREST)
    )
    sizes = " and ".join(dict.fromkeys(f"{height}×{width}" for height, width in fitting))
    tip = f"the nearest that fit: {sizes}"
    return [OptionProblem((row.multiple,), f"{message}; the map is {inp.height}×{inp.width}", tip)]
