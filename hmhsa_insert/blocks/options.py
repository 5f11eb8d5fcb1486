"""Read the options of a block from its mapping in a recipe, with a plain message for every problem."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hmhsa_insert.blocks.base import BlockType, OptionProblem, Options
from hmhsa_insert.errors import near

# Names that `hmhsa` gives to the two forms of its grids.
_TAGS = (("auto",), ("list",))

# What pydantic expected, by the name of its error.
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
}
# A problem that already has its message: that of another block whose options are nested in these.
SAID = "said"
# Longer numbers are not worth writing out: 1e999999 would be a megabyte.
_MOST_DIGITS = 12

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}


def read_options(block: BlockType, spec: Mapping[str, Any]) -> tuple[Options | None, list[OptionProblem]]:
    """Check a block's mapping, ``type`` included, against its options; return these, or all problems."""
    try:
        return block.options.model_validate(dict(spec)), []
    except ValidationError as error:
        return None, [_problem(block, details) for details in error.errors()]


def _problem(block: BlockType, details: ErrorDetails) -> OptionProblem:
    """Turn one error of pydantic into a message about the option."""
    # The members of a union are tagged in pydantic's path; a recipe's path has no such part.
    path = details["loc"]
    key = path[:1] + path[2:] if path[1:2] in _TAGS else path
    name = str(key[0]) + "".join(f"[{part}]" for part in key[1:])
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == SAID:
        return OptionProblem(key, context["message"], context["tip"])
    if kind in ("extra_forbidden", "invalid_key"):
        choices = [field for field in block.options.model_fields if field != "type"]
        listing = f"its options are {', '.join(choices)}" if choices else "it has none"
        return OptionProblem(key, f"{block.name} has no option '{name}'", near(name, choices) or listing)
    if kind == "literal_error":
        choices = re.findall("'([^']*)'", context["expected"])
        expected = context["expected"] + (" or a list of whole numbers" if path[1:2] in _TAGS else "")
        found = f"'{value}'" if isinstance(value, str) else _found(value)
        return OptionProblem(key, f"{name} must be {expected}, not {found}", near(str(value), choices))
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return OptionProblem(key, f"{name} must be {words} {context[bound]:g}, not {value}")
    if kind in _EXPECTED:
        message = f"{name} must be {_EXPECTED[kind]}, not {_found(value)}"
        return OptionProblem(key, message, _number_tip(value))
    return OptionProblem(key, f"{name} {details['msg']}")


def _found(value: object) -> str:
    """Describe a value as the author of a recipe would write it."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{value}'"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else str(value)


def _number_tip(value: object) -> str:
    """Help with a number that YAML has read as text: one in quotes, or 1e-3 without a point."""
    if not isinstance(value, str):
        return ""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return ""
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        return ""
    reason = f": YAML reads {value} as text" if "e" in value.lower() else " without quotes"
    return f"write {number:f}{reason}"
