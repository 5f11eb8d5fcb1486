"""The control `placebo`: the parameters of another block, exactly."""

from __future__ import annotations

from functools import partial
from typing import Any

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, built_by
from hmhsa_insert.blocks.types.control import Lookup, control_options, cost_of, problems_of


def hidden_and_rest(channels: int, num_params: int) -> tuple[int, int]:
    """Return h, and the number of parameters that are left for s and b."""
    return divmod(num_params, 2 * channels + 1)


def placebo_type(lookup: Lookup) -> BlockType:
    """Return the block type `placebo`.

    Args:
        lookup: returns the block type of a name; raises BlockError if there is none.
    """
    return BlockType(
        name="placebo",
        summary="control: the parameters of the block `of`, exactly, and no token sees another",
        options=control_options("placebo", lookup),
        build=built_by("placebo"),
        cost=partial(_cost, lookup),
        shape="same",
        refuse=partial(_refuse, lookup),
        needs_size=lambda options: lookup(options.of.type).needs_size(options.of),
    )


def _cost(lookup: Lookup, options: Any, inp: MapSize, out_channels: int) -> BlockCost:
    """Return P, and the 2Ch weights of W₁ and W₂ used at all H·W positions."""
    num_params = cost_of(lookup, options.of, inp).num_params
    hidden, _ = hidden_and_rest(inp.channels, num_params)
    return BlockCost(num_params, 2 * inp.channels * hidden * inp.height * inp.width)


def _refuse(lookup: Lookup, options: Any, inp: MapSize, out_channels: int) -> list[OptionProblem]:
    problems = problems_of(lookup, options.of, inp)
    if problems or cost_of(lookup, options.of, inp).num_params:
        return problems
    return [OptionProblem(("of", "type"), f"{options.of.type} has no parameters that a placebo could have")]
