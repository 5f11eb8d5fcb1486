"""The most that an edited network may cost, as people write it: ``+5%`` over the network, or 4.3G in all."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "KIB": 2.0**10, "MIB": 2.0**20, "GIB": 2.0**30}
_LIMIT = re.compile(r"\+?(\d+(?:\.\d+)?)\s*(%|[KMG]|[KMG]iB|)", re.IGNORECASE)
_TIP = "write +5% (over the network as it is), or all of it, such as 4.3G, 30M or 120MiB"


@dataclass(frozen=True)
class Limit:
    """One limit: a share more than the network costs, or an amount in all.

    Attributes:
        amount: in units of the quantity, or the share.
        is_share: whether it is a share that is added: 0.05 for ``+5%``.
    """

    amount: float
    is_share: bool = False

    def over(self, base: float | None) -> float:
        """Return the limit for a network that costs `base`."""
        base = base or 0.0
        return base * (1 + self.amount) if self.is_share else self.amount


def read_limit(given: str | float | None, where: str) -> Limit | None:
    """Return a limit from its text or number; None is no limit.

    Raises:
        HmhsaInsertError: it is no limit; `where` is the argument that gave it.
    """
    if given is None:
        return None
    if isinstance(given, int | float):
        return Limit(float(given))
    matched = _LIMIT.fullmatch(given.strip())
    if matched is None or ("%" in given) != given.strip().startswith("+"):
        raise HmhsaInsertError(Problem(Argument(where), f"'{given}' is not a limit", _TIP))
    number, unit = float(matched[1]), matched[2].upper()
    return Limit(number / 100, is_share=True) if unit == "%" else Limit(number * _UNITS[unit])
