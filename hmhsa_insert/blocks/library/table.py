"""The table of other libraries' blocks: its rows by type."""

from __future__ import annotations

from hmhsa_insert.blocks.library.attention import ATTENTION
from hmhsa_insert.blocks.library.convolutions import CONVOLUTIONS
from hmhsa_insert.blocks.library.gates import GATES
from hmhsa_insert.blocks.library.row import Row
from hmhsa_insert.blocks.library.windowed import WINDOWED

ROWS: dict[str, Row] = {row.type: row for row in (*GATES, *ATTENTION, *WINDOWED, *CONVOLUTIONS)}
LIBRARIES = tuple(dict.fromkeys(row.library for row in ROWS.values()))


def is_library(name: str) -> bool:
    """Return True for the name of a type of another library, in the table or not."""
    return name.partition("/")[0] in LIBRARIES and "/" in name
