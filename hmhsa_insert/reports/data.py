"""The tidy frame as data: every column, unrounded, in base units; missing values empty or null, never zero."""

from __future__ import annotations

import pandas as pd

from hmhsa_insert.inert import csv_text, json_text
from hmhsa_insert.reports.frame import as_records


def to_csv(frame: pd.DataFrame) -> str:
    """Return `frame` as CSV with a header line."""
    return csv_text(frame.columns, (row.values() for row in as_records(frame)))


def to_json(frame: pd.DataFrame) -> str:
    """Return `frame` as JSON: ``{"rows": [{column: value}]}``."""
    return json_text({"rows": as_records(frame)}, indent=1, allow_nan=False) + "\n"
