"""The block type of a module class: its options are the parameters of its constructor."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field, create_model

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, Options, Shape
from hmhsa_insert.blocks.library.table import LIBRARIES, is_library
from hmhsa_insert.errors import BlockError, Problem, first_line

if TYPE_CHECKING:
    from torch import nn

Cost = Callable[[Any, MapSize, int], BlockCost]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_.-]{1,64})?")
# What the map and the site say, and no recipe.
_OF_THE_MAP = ("channels", "size", "out_channels")
_UNIONS = (typing.Union, types.UnionType)
_PLAIN = (bool, int, float, str, type(None))


def block_of(
    cls: Any,
    name: str | None = None,
    *,
    summary: str | None = None,
    shape: Shape = "same",
    cost: Cost | None = None,
) -> BlockType:
    """Return the block type of a class.

    Args:
        cls: derived from ``nn.Module``; its constructor takes ``channels``, and may take ``size`` and ``out_channels``.
        name: of the type; by default that of the class in lower case with underscores.
        summary: one line; by default the first of the docstring.
        shape: as of a :class:`BlockType`.
        cost: a closed formula; by default the block is run on fake tensors and counted.

    Raises:
        BlockError: this is no such class, or no name.
    """
    from torch import nn

    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        found = f"an object of {type(cls).__name__}" if isinstance(cls, nn.Module) else repr(cls)[:80]
        message = f"a class derived from torch.nn.Module was expected, found {found}"
        raise BlockError(
            Problem("cls", message, "such as class Gate(nn.Module) with __init__(self, channels)")
        )
    label = _snake(cls.__name__) if name is None else name
    if not isinstance(label, str) or not _NAME.fullmatch(label) or is_library(label):
        tip = f"letters, digits, '_', '-', '.', at most one '/', and not of {' or '.join(LIBRARIES)}"
        raise BlockError(Problem("name", f"{label!r} is no name for a block type", tip))
    if shape not in ("same", "half"):
        raise BlockError(Problem("shape", f"must be 'same' or 'half', found {shape!r}"))
    parameters = _parameters(cls)
    options = _options(cls, label, parameters)
    build = partial(_build, cls, tuple(parameters))
    return BlockType(
        name=label,
        summary=summary or (inspect.getdoc(cls) or cls.__name__).splitlines()[0],
        options=options,
        build=build,
        cost=cost or partial(_count, build),
        shape=shape,
        needs_size=lambda _: "size" in parameters,
    )


def class_of(block: BlockType) -> tuple[str, str] | None:
    """Return module and name of the class that :func:`block_of` was given; None for another block."""
    build = block.build
    cls = build.args[0] if isinstance(build, partial) and build.func is _build else None
    return (cls.__module__, cls.__qualname__) if cls is not None else None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _parameters(cls: type[nn.Module]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a constructor with their annotations resolved."""
    try:
        found = dict(list(inspect.signature(cls.__init__, eval_str=True).parameters.items())[1:])
    except Exception as error:  # annotations may be any code
        message = f"the signature of {cls.__name__} cannot be read: {first_line(error)}"
        raise BlockError(Problem("cls", message)) from error
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = {name: each for name, each in found.items() if each.kind not in kinds}
    if "channels" not in found:
        message = f"the constructor of {cls.__name__} has no parameter 'channels'"
        raise BlockError(Problem("cls", message, "def __init__(self, channels, ...): C of the map"))
    return found


def _options(cls: type[nn.Module], name: str, parameters: Mapping[str, inspect.Parameter]) -> type[Options]:
    """Make the options class from the parameters that a recipe can write."""
    text = inspect.getdoc(cls) or ""
    text += "\n" + (inspect.getdoc(cls.__init__) or "")
    fields: dict[str, Any] = {"type": (Literal[name], name)}
    problems = []
    for each in parameters.values():
        if each.name in _OF_THE_MAP:
            continue
        required = each.default is inspect.Parameter.empty
        kind = _plain_kind(each)
        if kind is not None:
            default = ... if required else each.default
            said = re.search(rf"^\s*{re.escape(each.name)}\s*(?:\([^)]*\))?:\s*(.+)$", text, re.MULTILINE)
            description = said[1] if said else f"of {cls.__name__}"
            fields[each.name] = (_from_yaml(kind), Field(default, description=description))
        elif required:
            message = f"no recipe can write the parameter '{each.name}' of {cls.__name__}"
            problems.append(
                Problem("cls", message, "annotate it with int, float, bool, str, Literal or a tuple of these")
            )
    if problems:
        raise BlockError(problems)
    return cast(type[Options], create_model(f"{cls.__name__}Options", __base__=Options, **fields))


def _plain_kind(parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter of plain data; None for any other."""
    annotation = parameter.annotation
    if annotation is not inspect.Parameter.empty:
        return annotation if _is_plain(annotation) else None
    default = parameter.default
    return type(default) if type(default) in (bool, int, float, str) else None


def _is_plain(kind: Any) -> bool:
    if kind in _PLAIN or kind is None:
        return True
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return all(type(member) in _PLAIN for member in members)
    if origin in (*_UNIONS, tuple, list):
        return bool(members) and all(member is ... or _is_plain(member) for member in members)
    return False


def _from_yaml(kind: Any) -> Any:
    """Return a type of plain data so that a list can be written for a tuple: YAML has no other."""
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return Annotated[kind, Field(strict=False)]
    return typing.Union[tuple(map(_from_yaml, members))] if origin in _UNIONS else kind  # noqa: UP007


def _build(
    cls: type[nn.Module], parameters: tuple[str, ...], options: Options, inp: MapSize, out_channels: int
) -> nn.Module:
    of_the_map = {"channels": inp.channels, "size": (inp.height, inp.width), "out_channels": out_channels}
    given = {name: getattr(options, name) for name in parameters if name in type(options).model_fields}
    return cls(**given, **{name: value for name, value in of_the_map.items() if name in parameters})


def _count(build: Callable[..., nn.Module], options: Options, inp: MapSize, out_channels: int) -> BlockCost:
    from hmhsa_insert.blocks.trial import counted

    return counted(build, options, inp, out_channels)[1]
