"""timm's attention layers as blocks: ``timm/se``, ``timm/eca``, ``timm/cbam``, ``timm/bottleneck`` and so on.

Any name of timm's ``create_attn``. Options are the numbers and switches of the layer, read from its
signature; the size of the map is passed to the layers that take it. There is no formula for their cost: one
of fake tensors is run and counted.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import timm
from pydantic import Field, create_model
from timm.layers import create_attn, get_attn
from torch import nn

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options
from hmhsa_insert.blocks.trial import counted
from hmhsa_insert.blocks.types.timm_names import PREFIX

# Determined by the map and the site, or not plain data.
_NOT_OPTIONS = {"feat_size", "dim_out", "out_channels", "stride", "device", "dtype"}

# Layers that run on some sizes only, and the option that must divide H and W.
_MULTIPLES = {"halo": "block_size", "bat": "block_size"}


def timm_layer(name: str) -> Callable[..., nn.Module] | None:
    """Return the constructor timm has for `name`, or None if it has none."""
    try:
        return cast("Callable[..., nn.Module] | None", get_attn(name))
    except AssertionError:
        return None


@functools.cache
def timm_block_type(name: str) -> BlockType | None:
    """Return the block type of ``timm/name``, or None if timm has no such attention layer."""
    layer = timm_layer(name)
    if layer is None:
        return None
    return BlockType(
        name=PREFIX + name,
        summary=f"timm's attention layer {name}",
        options=_options_of(name, layer),
        build=functools.partial(_build, name),
        cost=functools.partial(_cost, name),
        shape="same",
        refuse=functools.partial(_refuse, name),
        needs_size=lambda options: name in _MULTIPLES or _wants_size(name, options),
    )


def _options_of(name: str, layer: Callable[..., nn.Module]) -> type[Options]:
    """Make the options class of a layer from the plain-data parameters of its constructor."""
    # What a partial fixes makes it this layer (gca is gc with other fusions), so it is not an option.
    preset = layer.keywords if isinstance(layer, functools.partial) else {}
    fields: dict[str, Any] = {"type": (Literal[PREFIX + name], PREFIX + name)}
    for parameter in list(inspect.signature(layer).parameters.values())[1:]:
        kind = _plain_type(parameter)
        if kind is None or parameter.name in _NOT_OPTIONS or parameter.name in preset:
            continue
        fields[parameter.name] = (kind, Field(parameter.default, description=f"as in timm's layer {name}"))
    return cast(type[Options], create_model(f"Timm{name.title()}Options", __base__=Options, **fields))


def _plain_type(parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter that takes a number, a switch or a name; None for any other."""
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return None
    default, annotation = parameter.default, parameter.annotation
    if isinstance(default, bool | int | float | str):
        # A float parameter may have a whole default, such as `gamma: float = 2`.
        return annotation if annotation in (bool, int, float, str) else type(default)
    members = typing.get_args(annotation)
    if default is None and (annotation is inspect.Parameter.empty or int in members):
        return int | types.NoneType
    return None


def _wants_size(name: str, options: Options) -> bool:
    """Return True if the layer is made for one H×W: bottleneck always, ge when it gathers by a global kernel."""
    return name == "bottleneck" or (name == "ge" and getattr(options, "extra_params", False))


def _build(name: str, options: Options, inp: MapSize, out_channels: int) -> nn.Module:
    layer = timm_layer(name)
    assert layer is not None
    arguments: dict[str, Any] = options.model_dump(exclude={"type"})
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(layer).parameters
    if "feat_size" in parameters and _wants_size(name, options):
        arguments["feat_size"] = (inp.height, inp.width)
    return cast(nn.Module, create_attn(name, inp.channels, **arguments))


def _cost(name: str, options: Options, inp: MapSize, out_channels: int) -> BlockCost:
    return counted(functools.partial(_build, name), options, inp, out_channels)[1]


def _refuse(name: str, options: Options, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    """Try the layer on a map of fake tensors; refuse what timm cannot build or run."""
    if name in _MULTIPLES:
        side = getattr(options, _MULTIPLES[name])
        if inp.height % side or inp.width % side:
            message = f"timm's '{name}' needs a height and width that are multiples of its block_size {side}"
            return [OptionProblem((_MULTIPLES[name],), f"{message}; the map is {inp.height}×{inp.width}")]
    try:
        _cost(name, options, inp, out_channels)
    except Exception as error:  # timm raises whatever its layer runs into
        reason = str(error) or "a check of its own fails"
        message = (
            f"timm cannot run '{name}' with {inp.channels} channels at {inp.height}×{inp.width}: {reason}"
        )
        return [OptionProblem(("type",), message, f"the layer is timm {timm.__version__}'s; see its options")]
    return []
