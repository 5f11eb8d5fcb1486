"""The types of a recipe's keys: each is read by one function that says in a recipe's words what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic_core import CoreSchema, core_schema

from hmhsa_insert.errors import near
from hmhsa_insert.recipe.explain import Found, refusal, unknown_key
from hmhsa_insert.recipe.marks import UNREADABLE
from hmhsa_insert.recipe.match import BlockChoice, Every, Scalar, glob_problem
from hmhsa_insert.recipe.scalars import shown

STAGES_TIP = "`hmhsa-insert stages MODEL` lists a model's stages"
MOST_STAGE = 7
_NAME = "[A-Za-z0-9][A-Za-z0-9._+-]{0,99}"
BLOCK_CHOICES: tuple[Literal["last", "first", "each"], ...] = ("last", "first", "each")


@dataclass(frozen=True, eq=False)
class Read:
    """Annotation of a field: how it is read from plain values and written back, and its JSON Schema.

    Attributes:
        read: returns the value, or raises :func:`~hmhsa_insert.recipe.explain.refusal`.
        json: the JSON Schema of what it reads.
        write: returns plain values.
    """

    read: Callable[[Any], Any]
    json: dict[str, Any] = field(default_factory=dict)
    write: Callable[[Any], Any] = lambda value: value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self.write)
        return core_schema.no_info_plain_validator_function(self.read, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return dict(self.json)


def must(rule: str, holds: Callable[[Any], Any], json: dict[str, Any], tip: str = "") -> Read:
    """Return the annotation of a field whose value `holds`; `rule` follows ``'key' must`` where it does not."""

    def read(value: Any) -> Any:
        if holds(value):
            return value
        raise refusal([Found((), f" must {rule}, found {shown(value)}", tip, named=True)], value)

    return Read(read, json)


def several(problem: Callable[[Any, bool], tuple[str, str] | None], item: dict[str, Any]) -> Read:
    """Return the annotation of a tuple: one item or a list of different ones.

    Args:
        problem: returns what is wrong with an item, if it stands in a list, and a tip; the key's name goes before it.
        item: the JSON Schema of one.
    """

    def read(value: Any) -> tuple[Any, ...]:
        listed = isinstance(value, list)
        items = value if listed else [value]
        found = [] if items else [Found((), " lists nothing", named=True)]
        for index, each in enumerate(items):
            wrong = problem(each, listed) if each is not UNREADABLE else None
            if wrong is None and isinstance(each, int | str) and each in items[:index]:
                wrong = f" lists {shown(each)} twice", ""
            if wrong is not None:
                found.append(Found((index,) if listed else (), *wrong, named=True))
        if found:
            raise refusal(found, value)
        return tuple(each for each in items if each is not UNREADABLE)

    lists = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
    return Read(read, {"anyOf": [item, lists]}, _single)


def whole_numbers(
    least: int | None, most: int | None = None, tip: Callable[[Any], str] = lambda value: "", also: str = ""
) -> Read:
    """Return the annotation of one integer or several; `also` names what else the key takes."""
    span = "" if least is None else f" of {least} or more" if most is None else f" from {least} to {most}"
    bounds = {"minimum": least, "maximum": most}

    def problem(value: Any, listed: bool) -> tuple[str, str] | None:
        if _is_whole(value, least, most):
            return None
        must = f"list integers{span}" if listed else f"be an integer{span}, or a list of them{also}"
        return f" must {must}, found {shown(value)}", tip(value)

    return several(problem, {"type": "integer", **{k: v for k, v in bounds.items() if v is not None}})


def stage_numbers(least: int = 0, also: str = "") -> Read:
    """Return the annotation of one stage number or several."""

    def tip(found: Any) -> str:
        if isinstance(found, int) and found > MOST_STAGE and found & (found - 1) == 0:
            stage = found.bit_length() - 2
            return f"stride {found} is stage {stage}: stage k has stride 2^(k+1); {STAGES_TIP}"
        return STAGES_TIP

    return whole_numbers(least, MOST_STAGE, tip, also)


def texts(what: str, reason: Callable[[str], str]) -> Read:
    """Return the annotation of one name or several; `reason` says why a text is not `what`, or nothing."""

    def problem(value: Any, listed: bool) -> tuple[str, str] | None:
        if not isinstance(value, str) or not value:
            return f" must be {what}, or a list of them, found {shown(value)}", ""
        why = reason(value)
        return (f": {shown(value)} is not {what}: {why}", "") if why else None

    return several(problem, {"type": "string", "minLength": 1})


def _read_choice(value: Any) -> BlockChoice:
    if isinstance(value, str) and (match := re.fullmatch(r"every: *([0-9]{1,6})", value)):
        value = {"every": int(match[1])}
    if isinstance(value, dict) and value:
        found = [unknown_key((key,), ("every",), "'block'") for key in value if key != "every"]
        every = value.get("every", UNREADABLE)
        if every is not UNREADABLE and not _is_whole(every, 1, None):
            message = f"'every' must be an integer of 1 or more, found {shown(every)}"
            found.append(Found(("every",), message))
        if found:
            raise refusal(found, value)
        return Every(every)
    if isinstance(value, list) or (isinstance(value, int) and not isinstance(value, bool)):
        return tuple(_INDICES.read(value))
    for word in BLOCK_CHOICES:
        if word == value:
            return word
    expected = "'last', 'first', 'each', {every: k} or a list of indices"
    tip = near(str(value), BLOCK_CHOICES, most=1)
    raise refusal([Found((), f"'block' must be {expected}, found {shown(value)}", tip)], value)


def _read_attributes(value: Any) -> dict[str, Scalar | tuple[Scalar, ...]]:
    if not isinstance(value, dict):
        example = "{kernel_size: 3, stride: 1}"
        raise refusal([Found((), f"'with' must be a mapping such as {example}, found {shown(value)}")], value)
    found = []
    for name, item in value.items():
        if not name.isidentifier():
            found.append(Found((name,), f"{shown(name)} is not the name of an attribute", key=True))
        items = item if isinstance(item, list) else [item]
        if not items or any(isinstance(each, dict | list) for each in items):
            message = f"'{name}' must be a value or a list of values, found {shown(item)}"
            found.append(Found((name,), message))
    if found:
        raise refusal(found, value)
    return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}


def _is_whole(value: Any, least: int | None, most: int | None) -> bool:
    # A bool is an int to Python, not to a reader.
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return (least is None or value >= least) and (most is None or value <= most)


def _single(items: tuple[Any, ...]) -> Any:
    return items[0] if len(items) == 1 else list(items)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


_INDICES = whole_numbers(None)
_CHOICES = [
    {"enum": list(BLOCK_CHOICES)},
    {"type": "string", "pattern": "^every: *[0-9]+$"},
    {
        "type": "object",
        "required": ["every"],
        "additionalProperties": False,
        "properties": {"every": {"type": "integer", "minimum": 1}},
    },
    _INDICES.json,
]

# None is for a key that is left out; where it stands in a file, it is refused.
Name = Annotated[
    str | None,
    must(
        "be a letter or digit, then letters, digits, '.', '_', '+' or '-'",
        lambda value: isinstance(value, str) and re.fullmatch(_NAME, value),
        {"type": "string", "pattern": f"^{_NAME}$"},
    ),
]
Globs = Annotated[tuple[str, ...], texts("a glob over module names", glob_problem)]
Stages = Annotated[tuple[int, ...], stage_numbers()]
Count = Annotated[
    int | None,
    must(
        "be an integer of 1 or more",
        lambda value: _is_whole(value, 1, None),
        {"type": "integer", "minimum": 1},
    ),
]
Blocks = Annotated[
    BlockChoice,
    Read(
        _read_choice,
        {"anyOf": _CHOICES},
        lambda choice: {"every": choice.k} if isinstance(choice, Every) else _listed(choice),
    ),
]
Attributes = Annotated[
    dict[str, Scalar | tuple[Scalar, ...]],
    Read(
        _read_attributes,
        {"type": "object", "additionalProperties": {"not": {"type": "object"}}},
        lambda wanted: {name: _listed(value) for name, value in wanted.items()},
    ),
]
