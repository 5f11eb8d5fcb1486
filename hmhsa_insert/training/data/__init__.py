"""Data as people have it: sources opened, read as the user sees them, and known by what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hmhsa_insert.lazy import lazily

if TYPE_CHECKING:
    from hmhsa_insert.training.data.libraries import SMALL
    from hmhsa_insert.training.data.sources import Data, open_data, open_scored

__getattr__ = lazily(
    __name__, {"SMALL": "libraries", "Data": "sources", "open_data": "sources", "open_scored": "sources"}
)

__all__ = ["SMALL", "Data", "open_data", "open_scored"]
