"""Read the options of a block from its mapping in a recipe, with a plain message for every problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hmhsa_insert.blocks.base import BlockType, OptionProblem, Options
from hmhsa_insert.recipe.explain import explain


def read_options(block: BlockType, spec: Mapping[str, Any]) -> tuple[Options | None, list[OptionProblem]]:
    """Check a block's mapping, ``type`` included, against its options; return these, or all problems."""
    try:
        return block.options.model_validate(dict(spec)), []
    except ValidationError as error:
        found = explain(error, block.options, spec, f"the options of {block.name}")
        return None, [OptionProblem(each.path, each.message, each.tip) for each in found]
