"""How numbers are written in messages and tables of the terminal."""

from __future__ import annotations


def big(number: int) -> str:
    """Return a count with three decimals and its unit: 25.557 M, 4.089 G."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3f} {unit}"
    return str(number)
