"""What a value must be, in plain words, for each kind of error that pydantic names: records, settings, recipes."""

from __future__ import annotations

from pydantic_core import ErrorDetails

_RULES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_too_short": "text of {min_length} or more characters",
    "string_too_long": "text of at most {max_length} characters",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of at most {max_length}",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_pattern_mismatch": "text that fits {pattern}",
    "literal_error": "{expected}",
}


def rule_of(found: ErrorDetails) -> str:
    """Return what a value must be: ``'x' must be`` stands before it."""
    own = found["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    rule = _RULES.get(found["type"])
    return rule.format(**found.get("ctx", {})) if rule else own
