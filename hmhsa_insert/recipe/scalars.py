"""What a plain word of a recipe means: YAML 1.2's core schema, shared by the reader and the writer.

PyYAML follows YAML 1.1, where ``1e-3`` is a string, ``on`` and ``no`` are booleans, ``1:30`` is ninety and
``2024-01-01`` a date. None of that is wanted where a learning rate or a name is meant.
"""

from __future__ import annotations

import math
import re
from typing import Any

from hmhsa_insert.files.text import WHOLE_NUMBERS_END

_PREFIX = "tag:yaml.org,2002:"
STR, NULL, BOOL, INT, FLOAT, SEQ, MAP = (
    _PREFIX + kind for kind in ("str", "null", "bool", "int", "float", "seq", "map")
)

# Tag, pattern, first characters (PyYAML looks a word up by its first one). The order matters: 12 is an int.
RESOLVERS: tuple[tuple[str, re.Pattern[str], list[str]], ...] = (
    (NULL, re.compile(r"(?:null|Null|NULL|~|)\Z"), ["n", "N", "~", ""]),
    (BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    (INT, re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789")),
    (
        FLOAT,
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        list("-+0123456789."),
    ),
)
_PATTERNS = {tag: pattern for tag, pattern, _ in RESOLVERS}

# More digits than the longest integer has in base 8; Python itself refuses to read thousands of them.
_MOST_DIGITS = 54
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_BYTE = re.compile(
    "[\ud800-\udc7f\udd00-\udfff]"
)  # Python stands for bytes of odd file names by the others


def tag_name(tag: str) -> str:
    """Return a tag as its author wrote it: ``!!python/object:os.system`` or ``!mine``."""
    return "!!" + tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else tag


def scalar_of(tag: str, text: str, odd_names: bool = False) -> tuple[Any, str]:
    """Read `text` as `tag` says; return the value and what is wrong with it, or an empty string.

    With `odd_names`, text may stand for the name of a file that is not UTF-8.
    """
    if tag == STR:
        return text, "" if odd_names and not _NO_BYTE.search(text) else problem_of(text)
    pattern = _PATTERNS.get(tag)
    if pattern is None:
        return None, f"the tag {tag_name(tag)} is not allowed: only plain values are read"
    if not pattern.match(text):
        return None, f"{shown(text)} does not fit its tag {tag_name(tag)}"
    if tag == INT and len(text) > _MOST_DIGITS:
        return None, f"{shown(text)} has too many digits"
    value = _read(tag, text)
    return value, problem_of(value, text)


def _read(tag: str, text: str) -> Any:
    if tag == NULL:
        return None
    if tag == BOOL:
        return text.lower() == "true"
    if tag == FLOAT:
        # Python spells infinity and NaN without YAML's dot.
        return float(re.sub(r"\.(?=[a-zA-Z])", "", text))
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def problem_of(value: object, text: str = "") -> str:
    """Return why a plain value cannot stand in a recipe; an empty string if it can."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{text or shown(value)} is not a finite number"
    if isinstance(value, int) and abs(value) >= WHOLE_NUMBERS_END:
        return f"{shown(str(value))} has too many digits"
    if isinstance(value, str) and _SURROGATE.search(value):
        return f"{shown(value)} holds half a character (a lone surrogate)"
    return ""


def shown(value: object, most: int = 60) -> str:
    """Return a value as a message shows it: YAML's words, one line, cut at `most` characters."""
    text = _flow(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def _flow(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return repr(value)
