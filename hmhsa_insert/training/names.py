"""Names of files and classes as people have them: shown so that nothing is lost, and put in one order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Python's stand-ins for the bytes of a file name that is not UTF-8 (PEP 383).
_BYTES = range(0xDC80, 0xDD00)
_SHOWN = 4
_NUMBER = re.compile("[0-9]+")


def shown(name: str) -> str:
    """Return a name as text that can be printed and written anywhere; no two names are shown alike."""
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_shown_character, name))


def order(name: str) -> str:
    """Return a sort key that no two names share: numbers by value, case after everything else.

    Between names that differ otherwise it is timm's order, by which classes were always numbered.
    """
    return f"{order_part(name)}\0\0{name}"


def order_part(name: str) -> str:
    """Return the key of a part of a name that ends where a number cannot go on; parts may be joined."""
    plain = name if name.isascii() else unicodedata.normalize("NFC", name)
    return _NUMBER.sub(_by_value, plain.lower())


def _by_value(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"\0{chr(len(digits) + 1)}{digits}"


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
