"""Data as people have it: sources opened, read as the user sees them, and known by what is in them."""

from hmhsa_insert.training.data.libraries import SMALL
from hmhsa_insert.training.data.sources import Data, open_data, open_scored

__all__ = ["SMALL", "Data", "open_data", "open_scored"]
