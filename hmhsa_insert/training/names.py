"""Names of files and classes as people have them: shown so that nothing is lost, and put in one order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Python's stand-ins for the bytes of a file name that is no UTF-8 (PEP 383).
_BYTES = range(0xDC80, 0xDD00)
_SHOWN = 4


def shown(name: str) -> str:
    """Return a name as text that can be printed and written anywhere; no two names are shown alike."""
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_shown_character, name))


def order(name: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a sort key that no two names share: numbers by value, case after everything else.

    Between names that differ otherwise it is timm's order, by which classes were always numbered.
    """
    plain = name if name.isascii() else unicodedata.normalize("NFC", name)
    parts: list[str | tuple[int, str]] = list(re.split(r"([0-9]+)", plain.lower()))
    for place in range(1, len(parts), 2):
        digits = str(parts[place]).lstrip("0")
        parts[place] = (len(digits), digits)
    return parts, name


def few(names: Sequence[str]) -> str:
    """Return the first of names that are shown already, quoted, and how many more there are."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more


def few_shown(names: Sequence[str]) -> str:
    """Return as :func:`few` the first of names as they are on the disk."""
    return few([shown(name) for name in names])


def _shown_character(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
