"""Check records against pydantic models; differences are reported in one line with the file and its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.quantity import Kind

_Shaped = TypeVar("_Shaped", bound="Shape")
_MOST_SHOWN = 3
_LONGEST = 40
# What a value must be, by the kind of error that pydantic names.
_RULES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
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


class Shape(BaseModel):
    """Base class of all shapes: types are exact, numbers finite, and unknown keys are allowed."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, frozen=True)


def _without_point(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# A count of at most 63 bits; some JSON writers write it as 1e6.
Count = Annotated[int, BeforeValidator(_without_point), Field(ge=0, lt=2**63)]
# A measured number; the limit is far above any real one.
Quantity = Annotated[float, Field(ge=0, le=1e15)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Name = Annotated[str, Field(min_length=1, max_length=2000)]


def _path(value: Any) -> Any:
    """Check a path, which may be no valid UTF-8; pydantic would refuse it as text."""
    if not isinstance(value, str) or not 0 < len(value) <= 4096:
        raise ValueError("must be a path")
    return value


PathName = Annotated[Any, AfterValidator(_path)]


def of_kind(kind: Kind) -> Any:
    """Return the type that values of a quantity have in a shape; None where nobody measured one."""
    if kind.dtype == "Int64":
        return Count | None
    return Annotated[float, Field(ge=kind.least, le=kind.most)] | None


def checked(
    kind: type[_Shaped], value: Any, path: Path | str, error: type[HmhsaInsertError], tip: str = ""
) -> _Shaped:
    """Return the values of a file as its shape.

    Args:
        kind: the shape.
        value: what the file holds, or a part of it.
        path: of the file.
        error: the class to raise if they differ.
        tip: what to do about it.

    Raises:
        HmhsaInsertError: an `error`, in one line, with the keys that are missing or hold something else.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as found:
        differences = list(map(_said, found.errors(include_url=False)))
        more = len(differences) - _MOST_SHOWN
        said = "; ".join(differences[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise error(Problem(str(path), f"it is damaged: {said}", tip)) from found


def rule_of(found: ErrorDetails) -> str:
    """Return what a value must be: ``'x' must be`` stands before it."""
    own = found["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    rule = _RULES.get(found["type"])
    return rule.format(**found.get("ctx", {})) if rule else own


def _said(found: ErrorDetails) -> str:
    # A member of a union adds its type to the place.
    key = ".".join(str(part) for part in found["loc"] if "[" not in str(part)) or "it"
    if found["type"] == "missing":
        return f"'{key}' is missing"
    if found["type"] == "extra_forbidden":
        return f"'{key}' is not a known key"
    if found["type"] == "value_error":
        return str(found["ctx"]["error"])
    shown = repr(found["input"])
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    return f"'{key}' must be {rule_of(found)}, found {shown}"
