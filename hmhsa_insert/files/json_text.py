"""The only reader of JSON, with limits before and during parsing: values, or an error of one line.

What Python's parser accepts but no file of ours holds is refused with its place: numbers that are not finite
or have thousands of digits, lone surrogates, duplicate keys, values that are nested too deep.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.text import RECORD, WHOLE_NUMBERS_END, FileLimits, read_file

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
# A word that is too long or too large for a number; most files have none, and then numbers need no check.
_MAYBE_LARGE = re.compile(r"[0-9]{19}|[eE]\+?[0-9]{3}")
_HIGH, _LOW = r"u[dD][89abAB][0-9a-fA-F]{2}", r"u[dD][c-fC-F][0-9a-fA-F]{2}"
# Every escape from left to right, so that an escaped backslash never begins one; the group is a lone
# surrogate.
_ESCAPE = re.compile(rf"\\(?:{_HIGH}\\{_LOW}|({_HIGH}|{_LOW})|.)", re.DOTALL)
_DIGITS_SHOWN = 12
_MOST_DIGITS = 400


class _RefusedError(ValueError):
    """Valid JSON that is refused, because no file of ours holds it."""


def read_json(path: Path, error: type[HmhsaInsertError], limits: FileLimits = RECORD, tip: str = "") -> Any:
    """Return the plain values of a JSON file.

    Args:
        path: of the file.
        error: the class to raise for a file that cannot be used.
        limits: how large and how deep it may be.
        tip: what to do about a file that cannot be used.

    Raises:
        HmhsaInsertError: an `error` with the place in the file, or the file if there is no place.
    """
    return parse_json(read_file(path, error, limits, tip), str(path), error, limits, tip)


def read_json_mapping(
    path: Path, error: type[HmhsaInsertError], limits: FileLimits = RECORD, tip: str = ""
) -> dict[str, Any]:
    """Read a file that must hold a mapping; otherwise as :func:`read_json`."""
    found = read_json(path, error, limits, tip)
    if not isinstance(found, dict):
        kind = {list: "a list", str: "text", type(None): "null"}.get(type(found), "a single value")
        raise error(Problem(str(path), f"it is damaged: it holds {kind}, not a mapping", tip))
    return found


def parse_json(
    text: str, source: str, error: type[HmhsaInsertError], limits: FileLimits = RECORD, tip: str = ""
) -> Any:
    """Parse a text; otherwise as :func:`read_json`. `source` names it in messages."""
    try:
        return _parsed(text, limits)
    except json.JSONDecodeError as reason:
        place = f"{source}:{reason.lineno}:{reason.colno}"
        raise error(Problem(place, f"it is damaged: {_said(reason)}", tip)) from reason
    except _RefusedError as reason:
        raise error(Problem(source, f"it is damaged: {reason}", tip)) from reason


def _parsed(text: str, limits: FileLimits) -> Any:
    too_deep = f"values are nested more than {limits.levels} deep"
    _check_text(text, limits)
    # Numbers are checked one by one only if one may be too large: data sets have a hundred million of them.
    parsers: dict[str, Any] = {} if limits.odd_numbers else {"parse_constant": _refuse_constant}
    if _MAYBE_LARGE.search(text):
        parsers |= (
            {"parse_int": _any_number}
            if limits.odd_numbers
            else {"parse_int": _whole, "parse_float": _finite}
        )
    try:
        found = json.loads(text, object_pairs_hook=_mapping, **parsers)
    except RecursionError as reason:
        raise _RefusedError(too_deep) from reason
    if _is_deeper(found, limits.levels):
        raise _RefusedError(too_deep)
    return found


def _said(reason: json.JSONDecodeError) -> str:
    if not reason.doc.strip():
        return "it is empty"
    return f"{reason.msg[:1].lower()}{reason.msg[1:]}"


def _check_text(text: str, limits: FileLimits) -> None:
    """Check the number of values before parsing; each value has its own comma or bracket."""
    if _separators(text) > limits.values and _separators(_STRING.sub("", text)) > limits.values:
        raise _RefusedError(f"it holds more than {limits.values:,} values")
    looked_at = "\\u" in text and not limits.odd_names
    half = next((found for found in _ESCAPE.finditer(text) if found[1]), None) if looked_at else None
    if half is not None:
        raise json.JSONDecodeError(
            f"'\\{half[1]}' is half a character (a lone surrogate)", text, half.start()
        )


def _separators(text: str) -> int:
    return sum(map(text.count, ",[{"))


def _is_deeper(value: Any, levels: int) -> bool:
    row = [value]
    for _ in range(levels + 1):
        holders = [each for each in row if isinstance(each, dict | list)]
        if not holders:
            return False
        row = [item for each in holders for item in (each.values() if isinstance(each, dict) else each)]
    return True


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RefusedError(f"the key {twice[:60]!r} is given twice")
    return found


def _whole(text: str) -> int:
    value = int(text) if len(text) <= len(str(WHOLE_NUMBERS_END)) + 1 else WHOLE_NUMBERS_END
    if abs(value) >= WHOLE_NUMBERS_END:
        raise _RefusedError(
            f"the number {text[:_DIGITS_SHOWN]}… of {len(text.lstrip('-'))} digits is too large"
        )
    return value


def _any_number(text: str) -> int | float:
    # Python raises a bare ValueError for thousands of digits; no float has that many.
    return int(text) if len(text) <= _MOST_DIGITS else math.inf


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedError(f"the number {text[:_DIGITS_SHOWN]}… is too large")
    return value


def _refuse_constant(text: str) -> float:
    raise _RefusedError(f"{text} is not a finite number")
