"""The small matching languages of a selector, as pure functions: globs, block choices, attribute values.

Globs go over qualified names such as ``layer3.0.conv1``, part by part: ``*`` and ``?`` stay within one part,
``[12]`` and ``[!a-c]`` are one character, ``**`` is a whole part that stands for any number of parts.
``layer3.**`` is all inside ``layer3``, not itself; ``**.conv1`` is every ``conv1``, at the top too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Every:
    """Every k-th block: the k-th, the 2k-th and so on."""

    k: int


BlockChoice = Literal["last", "first", "each"] | Every | tuple[int, ...]


def matches(pattern: str, qualname: str) -> bool:
    """Return True if the glob `pattern` matches the whole of `qualname`; the root, ``""``, is matched by none.

    Raises:
        ValueError: `pattern` is not a glob; the message is :func:`glob_problem`'s.
    """
    return _regex(pattern).fullmatch(qualname) is not None and qualname != ""


def glob_problem(pattern: str) -> str:
    """Return what is wrong with a glob; an empty string if nothing is."""
    try:
        _regex(pattern)
    except ValueError as error:
        return str(error)
    return ""


def select_indices(choice: BlockChoice, count: int) -> tuple[int, ...]:
    """Return which of `count` blocks are chosen, ascending, from 0; empty where the choice picks none.

    Raises:
        IndexError: a chosen index is not among the blocks; the message says which and what there is.
    """
    if isinstance(choice, tuple):
        outside = [index for index in choice if not -count <= index < count]
        if outside:
            there = f"its blocks are 0 to {count - 1}" if count else "it has none"
            raise IndexError(f"there is no block {outside[0]}: {there}")
        return tuple(sorted({index % count for index in choice}))
    if isinstance(choice, Every):
        return tuple(range(choice.k - 1, count, choice.k))
    return {"each": tuple(range(count)), "first": tuple(range(count))[:1], "last": tuple(range(count))[-1:]}[
        choice
    ]


def has_attributes(module: object, wanted: Mapping[str, Scalar | tuple[Scalar, ...]]) -> bool:
    """Return True if `module` has every attribute of `wanted`, with that value.

    A single value also equals a tuple that repeats it, as ``kernel_size=3`` becomes ``(3, 3)``; a tuple
    equals one item by item. ``1`` and ``true`` are different values. A tensor equals nothing.
    """
    return all(
        hasattr(module, name) and _equal(getattr(module, name), value) for name, value in wanted.items()
    )


def _equal(actual: object, wanted: object) -> bool:
    if isinstance(actual, (list, tuple)):
        items = tuple(actual)
        against = wanted if isinstance(wanted, tuple) else (wanted,) * len(items)
        return len(items) == len(against) > 0 and all(map(_equal, items, against))
    if not (actual is None or isinstance(actual, (str, int, float))):
        return False
    return isinstance(actual, bool) == isinstance(wanted, bool) and actual == wanted


@lru_cache(maxsize=256)
def _regex(pattern: str) -> re.Pattern[str]:
    parts = pattern.split(".")
    if not all(parts):
        raise ValueError("it has an empty part")
    text = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part != "**":
            text += _part(part) + ("" if last else r"\.")
        elif last:
            text += ".+"
        elif parts[index + 1] != "**":
            text += r"(?:.+\.)?"
    return re.compile(text, re.DOTALL)


def _part(part: str) -> str:
    if "**" in part:
        raise ValueError("'**' stands for whole parts: write it between dots")
    text = ""
    rest = part
    while rest:
        head, rest = rest[0], rest[1:]
        if head == "[":
            inside, closing, rest = rest.partition("]")
            if not closing or inside in ("", "!"):
                raise ValueError("a '[' is not closed around characters")
            text += _one_of(inside)
        else:
            text += {"*": r"[^.]*", "?": r"[^.]"}.get(head, re.escape(head))
    return text


def _one_of(inside: str) -> str:
    negated = inside.startswith("!")
    characters = inside[1:] if negated else inside
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", characters)
    # A negated set, or a range, must not reach over the dot between two parts.
    text = rf"(?!\.)[{'^' if negated else ''}{escaped}]"
    try:
        re.compile(text)
    except re.error:
        raise ValueError(f"'[{inside}]' holds a range that runs backwards") from None
    return text


def any_matches(patterns: Iterable[str], qualname: str) -> bool:
    """Return True if one of the globs matches `qualname`."""
    return any(matches(pattern, qualname) for pattern in patterns)
