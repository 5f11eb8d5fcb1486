"""Options that several blocks share, and those of their checks that need the map."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from hmhsa_insert.blocks.base import OptionProblem
from hmhsa_insert.errors import near
from hmhsa_insert.recipe.explain import Found, number_tip, refusal
from hmhsa_insert.recipe.fields import must
from hmhsa_insert.recipe.scalars import shown

_ODD = must("be odd, so that the map keeps its size", lambda value: value % 2, {})
# Pydantic's own length is that of the valid items, so a list of wrong ones would also be too short.
_NOT_EMPTY = must("not be empty", bool, {})


# Channels of a head as most published networks have them.
_USUAL_HEAD = 32
_HEAD_WORD = re.compile(r"auto|near ([1-9]\d{0,4})")


def _head_word(value: object) -> object:
    if _HEAD_WORD.fullmatch(str(value)) is None:
        message = f" must be 'auto', 'near N' or an integer, found {shown(value)}"
        tip = number_tip(str(value)) or near(str(value), ["auto"])
        raise refusal([Found((), message, tip, named=True)], value)
    return value


def _auto(value: object) -> object:
    if value != "auto":
        message = f" must be 'auto' or a list of integers, found {shown(value)}"
        raise refusal([Found((), message, near(str(value), ["auto"]), named=True)], value)
    return value


Auto = Annotated[Literal["auto"], BeforeValidator(_auto)]
Activation = Literal["silu", "gelu", "relu", "hard_swish"]
PreNorm = Literal["group", "batch", "none"]

HeadDim = Annotated[
    Annotated[
        str,
        BeforeValidator(_head_word),
        WithJsonSchema({"type": "string", "pattern": f"^({_HEAD_WORD.pattern})$"}),
        Tag("[word]"),
    ]
    | Annotated[int, Field(ge=1), Tag("[number]")],
    Discriminator(lambda value: "[word]" if isinstance(value, str) else "[number]"),
    Field(
        description="channels of one attention head, which must divide the channels; near N: the divisor nearest to N; "
        f"auto: near {_USUAL_HEAD}"
    ),
]
Width = Annotated[
    int | None,
    Field(ge=1, description="run the block at this many channels, between a 1x1 reduce and a 1x1 expand"),
]
Rate = Annotated[float, Field(ge=0, lt=1)]
DropPathRate = Annotated[
    Rate, Field(description="probability of dropping the branch for one image, in training")
]
KernelSize = Annotated[
    int, Field(ge=1, description="side of the depthwise kernel; odd"), AfterValidator(_ODD.read)
]
Sides = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False), AfterValidator(_NOT_EMPTY.read)
]
Memory = Annotated[
    Literal["fast", "lean"],
    Field(description="lean: keep less for the backward pass of training, and compute it again there"),
]
Expansion = Annotated[int, Field(ge=1, description="hidden channels over channels")]


def head_size(head_dim: int | str, channels: int) -> int:
    """Return the channels of one head: `head_dim`, or the divisor of the channels nearest to what it says.

    Nearest is the smallest ratio: 24 for 24 channels, 40 for 80, 32 for every multiple of 32.
    """
    if isinstance(head_dim, int):
        return head_dim
    match = _HEAD_WORD.fullmatch(head_dim)
    wanted = int(match[1]) if match and match[1] else _USUAL_HEAD
    return min(_divisors(channels), key=lambda size: max(size / wanted, wanted / size))


def settled(block: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Return a block's mapping with the head size that it has on a map of so many channels, also in ``of``."""
    made = dict(block)
    if isinstance(made.get("head_dim"), str):
        made["head_dim"] = head_size(made["head_dim"], made.get("width") or channels)
    if isinstance(made.get("of"), Mapping):
        made["of"] = settled(made["of"], channels)
    return made


def head_problems(head_dim: int | str, channels: int, width: int | None = None) -> list[OptionProblem]:
    """Return one problem if `head_dim` does not divide the channels that attention runs at, else none."""
    inner = width or channels
    if isinstance(head_dim, str) or inner % head_dim == 0:
        return []
    place = f"width {inner}" if width else f"{inner} channels"
    divisors = _divisors(inner)
    nearest = [d for d in divisors if d < head_dim][-1:] + [d for d in divisors if d > head_dim][:1]
    message = f"head_dim {head_dim} does not divide {place}; nearest that do: {', '.join(map(str, nearest))}"
    return [OptionProblem(("head_dim",), message, "head_dim: auto chooses one that does")]


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]
