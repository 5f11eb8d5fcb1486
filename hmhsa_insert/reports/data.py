"""Figures as data: every column, unrounded, in base units; missing values empty or null, never zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hmhsa_insert.inert import csv_text, json_text
from hmhsa_insert.reports.frame import as_records


def to_csv(frame: pd.DataFrame) -> str:
    """Return `frame` as CSV with a header line."""
    return csv_text(frame.columns, (row.values() for row in as_records(frame)))


def to_json(content: Mapping[str, Any]) -> str:
    """Return plain data as JSON."""
    return json_text(content, indent=1, allow_nan=False) + "\n"
