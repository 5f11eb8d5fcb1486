"""The tidy frame as data: every column, unrounded, in base units; missing values empty or null, never zero."""

from __future__ import annotations

import json

import pandas as pd

from hmhsa_insert.reports.frame import as_records


def to_csv(frame: pd.DataFrame) -> str:
    """Return `frame` as CSV with a header line."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_json(frame: pd.DataFrame) -> str:
    """Return `frame` as JSON: ``{"rows": [{column: value}]}``."""
    return json.dumps({"rows": as_records(frame)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
