"""What the controls `placebo` and `matched` share: the option `of`, which names the block they replace.

A control answers the first question of an ablation: does this block help, or would any block of its size?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, SerializeAsAny, WithJsonSchema, WrapValidator, create_model

from hmhsa_insert.blocks.base import BlockCost, BlockType, MapSize, OptionProblem, Options
from hmhsa_insert.errors import BlockError
from hmhsa_insert.recipe.explain import Found, refusal

Lookup = Callable[[str], BlockType]

CONTROLS = ("placebo", "matched")
_DEFAULT = {"type": "hmhsa"}
_SCHEMA = {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}


def control_options(name: str, lookup: Lookup) -> type[Options]:
    """Make the options class of the control called `name`; its one option `of` is another block's mapping.

    Args:
        name: the type of the control.
        lookup: returns the block type of a name; raises BlockError if there is none.
    """

    # Looked up when options are read: plugins add block types after this class is made.
    def read(value: Any, _: Any) -> Options:
        options, problems = _read(lookup, value)
        if options is None:
            raise refusal([Found(each.key, each.message, each.tip) for each in problems], value)
        return options

    kind = Annotated[SerializeAsAny[Options], WrapValidator(read), WithJsonSchema(_SCHEMA)]
    description = "the block it stands for: its type and that type's options"
    of = Field(default_factory=lambda: dict(_DEFAULT), validate_default=True, description=description)
    fields: dict[str, Any] = {"type": (Literal[name], name), "of": (kind, of)}
    return cast(type[Options], create_model(f"{name.title()}Options", __base__=Options, **fields))


def cost_of(lookup: Lookup, options: Options, inp: MapSize) -> BlockCost:
    """Return the cost of the block that a control with `of` = `options` replaces."""
    return lookup(options.type).cost(options, inp, inp.channels)


def problems_of(lookup: Lookup, options: Options, inp: MapSize) -> list[OptionProblem]:
    """Return why the block that a control replaces does not fit the map, each problem under ``of``."""
    found = lookup(options.type).refuse(options, inp, inp.channels)
    return [OptionProblem(("of", *problem.key), problem.message, problem.tip) for problem in found]


def _read(lookup: Lookup, value: Any) -> tuple[Options | None, list[OptionProblem]]:
    if isinstance(value, Options):
        return value, []
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        tip = "such as {type: hmhsa, head_dim: 32}"
        return None, [OptionProblem((), "of must be a block with its type", tip)]
    try:
        block = lookup(value["type"])
    except BlockError as error:
        return None, [OptionProblem(("type",), problem.message, problem.tip) for problem in error.problems]
    if block.name in CONTROLS:
        return None, [OptionProblem(("type",), f"{block.name} is a control itself, and none stands for it")]
    if block.shape != "same":
        message = f"a control stands for a block that keeps its map, and {block.name} does not"
        return None, [OptionProblem(("type",), message, "such as hmhsa, mhsa or timm/se")]
    return block.read(value)
