"""Options that several blocks share, and those of their checks that need the map."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from hmhsa_insert.blocks.base import OptionProblem
from hmhsa_insert.errors import near
from hmhsa_insert.recipe.explain import Found, refusal
from hmhsa_insert.recipe.fields import must
from hmhsa_insert.recipe.scalars import shown

_ODD = must("be odd, so that the map keeps its size", lambda value: value % 2, {})
# Pydantic's own length is that of the valid items, so a list of wrong ones would also be too short.
_NOT_EMPTY = must("not be empty", bool, {})


def _auto(value: object) -> object:
    if value != "auto":
        message = f" must be 'auto' or a list of integers, found {shown(value)}"
        raise refusal([Found((), message, near(str(value), ["auto"]), named=True)], value)
    return value


Auto = Annotated[Literal["auto"], BeforeValidator(_auto)]
Activation = Literal["silu", "gelu", "relu", "hard_swish"]
PreNorm = Literal["group", "batch", "none"]

HeadDim = Annotated[int, Field(ge=1, description="channels of one attention head; must divide the channels")]
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


def head_problems(head_dim: int, channels: int, width: int | None = None) -> list[OptionProblem]:
    """Return one problem if `head_dim` does not divide the channels that attention runs at, else none."""
    inner = width or channels
    if inner % head_dim == 0:
        return []
    place = f"width {inner}" if width else f"{inner} channels"
    divisors = [d for d in range(1, inner + 1) if inner % d == 0]
    nearest = [d for d in divisors if d < head_dim][-1:] + [d for d in divisors if d > head_dim][:1]
    message = f"head_dim {head_dim} does not divide {place}; nearest that do: {', '.join(map(str, nearest))}"
    return [OptionProblem(("head_dim",), message)]
