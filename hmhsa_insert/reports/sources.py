"""Where the rows of a report come from: records on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Problem, listed
from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.record_shapes import KINDS, record_shape
from hmhsa_insert.reports.runs import is_run, run_record

Record = Mapping[str, Any]


def load_records(sources: Iterable[Path | str | Record]) -> list[Record]:
    """Return the records in `sources`, in their order.

    Args:
        sources: JSON files that hold one record, a list of them, or ``{"records": [...]}``; folders of training runs;
            other folders, whose JSON files are read in the order of their names, those that hold something else
            passed over; or what such a file holds, as data.

    Raises:
        ReportError: all sources that cannot be read, or hold no record.
    """
    records: list[Record] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            found = (
                _from_data(source, "a record") if isinstance(source, Mapping) else _from_path(Path(source))
            )
        except ReportError as error:
            problems += error.problems
            continue
        if not found:
            tip = f"`hmhsa-insert profile -o FILE.json` writes one; kinds: {listed(KINDS)}"
            where = "a record" if isinstance(source, Mapping) else str(source)
            problems.append(Problem(where, "holds no record of a profile or a training run", tip))
        records += found
    if problems:
        raise ReportError(problems)
    return records


def _from_path(path: Path) -> list[Record]:
    if not os.path.isdir(path):
        tip = "give run folders, a study's folder, or the JSON of `profile`"
        return _from_data(read_json(path, ReportError, tip=tip), path)
    if is_run(path):
        return [run_record(path)]
    return [record for file in sorted(path.glob("*.json")) for record in _from_path(file)]


def _from_data(data: Any, where: Path | str) -> list[Record]:
    if isinstance(data, dict) and isinstance(data.get("records"), list):
        data = data["records"]
    entries = data if isinstance(data, list) else [data]
    found = [entry for entry in entries if isinstance(entry, dict) and entry.get("kind") in KINDS]
    return [
        checked(record_shape(), entry, where, ReportError).model_dump(exclude_unset=True) for entry in found
    ]
