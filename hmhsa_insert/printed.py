"""Results that print well: a class says its tables once, and ``print``, notebooks and commands show them."""

from __future__ import annotations

from collections.abc import Sequence

from hmhsa_insert.inert import visible
from hmhsa_insert.tables import Table, plain_html, plain_text


class Printed:
    """Base class of what the public functions return; a dataclass that derives from it says ``repr=False``."""

    __slots__ = ()

    def tables(self) -> Sequence[Table]:
        """Return what is to be read about it; the title of the first table is its summary."""
        raise NotImplementedError

    def __str__(self) -> str:
        return plain_text(self.tables())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {visible(self.tables()[0].title)}>"

    def _repr_html_(self) -> str:
        return plain_html(self.tables())
