"""``hi.register_block``: a module class of the user's becomes a block type."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.blocks.base import Shape
from hmhsa_insert.blocks.from_class import Cost, block_of, class_of
from hmhsa_insert.blocks.table import BLOCKS, is_ours
from hmhsa_insert.errors import BlockError, Problem

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="type[nn.Module]")


@overload
def register_block(cls: M) -> M: ...
@overload
def register_block(
    cls: None = None,
    *,
    name: str | None = None,
    summary: str | None = None,
    shape: Shape = "same",
    cost: Cost | None = None,
) -> Callable[[M], M]: ...
@overload
def register_block(
    cls: M,
    *,
    name: str | None = None,
    summary: str | None = None,
    shape: Shape = "same",
    cost: Cost | None = None,
) -> M: ...
@reads_arguments
def register_block(
    cls: Any = None,
    *,
    name: str | None = None,
    summary: str | None = None,
    shape: Shape = "same",
    cost: Cost | None = None,
) -> Any:
    """Make a module class a block type that recipes can name; as a decorator or a function.

    The constructor takes ``channels``, and if it needs them ``size`` (H, W of the map) and ``out_channels``. Its other
    parameters are the block's options, with their types and defaults: a recipe's values are checked by them, and
    ``hmhsa-insert blocks NAME`` lists them, with what an ``Args:`` section of the docstring says. An insertion with
    ``init: identity`` scales the block by a gamma that starts at zero, so the class need not care.

    Args:
        cls: the class; its forward turns N×C×H×W into the same shape.
        name: what recipes write as ``type``; by default the class's name in lower case with underscores.
        summary: one line for the list of blocks; by default the first line of the docstring.
        shape: ``"same"``, or ``"half"`` for a downsampler by 2 whose output has ``out_channels``.
        cost: ``(options, map, out_channels) -> BlockCost``, a closed formula for parameters and MACs. By default the
            block is run on fake tensors and counted.

    Returns:
        The class, unchanged.

    Raises:
        BlockError: it is no module class, its constructor has no ``channels`` or a parameter whose type no recipe can
            write, or the name is taken.

    Example:
        >>> import timm
        >>> import torch
        >>> from torch import nn
        >>> import hmhsa_insert as hi
        >>> @hi.register_block
        ... class PointGate(nn.Module):
        ...     def __init__(self, channels: int, bias: bool = True):
        ...         super().__init__()
        ...         self.conv = nn.Conv2d(channels, channels, 1, bias=bias)
        ...     def forward(self, x):
        ...         return x * self.conv(x).sigmoid()
        >>> block = {"type": "point_gate", "bias": False}
        >>> edit = {"op": "insert", "id": "gate", "at": {"stage": 3, "block": "last"}, "block": block}
        >>> plan = hi.plan(timm.create_model("test_resnet"), {"version": 1, "edits": [edit]}, input_size=64)
        >>> plan.sites[0].num_params == 192 * 192 + 192  # the convolution, and gamma
        True
    """
    if cls is None:
        return partial(register_block, name=name, summary=summary, shape=shape, cost=cost)
    made = block_of(cls, name, summary=summary, shape=shape, cost=cost)
    before = BLOCKS.get(made.name)
    # The same class again is a notebook's cell that was run twice.
    if before is not None and (is_ours(before) or class_of(before) != class_of(made)):
        message = f"there is a block type '{made.name}' already"
        raise BlockError(Problem("name", message, "pass another: @hi.register_block(name=...)"))
    BLOCKS[made.name] = made
    return cls
