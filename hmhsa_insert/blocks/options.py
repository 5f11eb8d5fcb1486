"""From a block's mapping in a recipe to its options, with every problem said in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hmhsa_insert.blocks.base import BlockType, OptionProblem, Options
from hmhsa_insert.recipe.explain import explain


def read_options(block: BlockType, spec: Mapping[str, Any]) -> tuple[Options | None, list[OptionProblem]]:
    """Check a block's mapping, with its ``type``, against the block's options: the options, or all problems."""
    try:
        return block.options.model_validate(dict(spec)), []
    except ValidationError as error:
        found = explain(error, block.options, spec, f"the options of {block.name}")
        return None, [OptionProblem(each.path, each.message, each.tip) for each in found]
