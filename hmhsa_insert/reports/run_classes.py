"""What trained classifiers do with each class, from the predictions that their folders keep."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hmhsa_insert.class_scores import auc, class_tables, confusion_of, precision, recall
from hmhsa_insert.errors import Problem, first_line
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.tables import Table

_PREDICTIONS = "predictions.csv"
# A matrix of more classes takes more memory than its few lines are worth.
_MOST_CLASSES = 2000


def class_reports(records: Iterable[Record]) -> list[Table]:
    """Return the classes of every run of classification that says what they are called, folded."""
    found = []
    for record in records:
        run = record.get("run") or {}
        names = ((run.get("config") or {}).get("data") or {}).get("class_names")
        if names and len(names) <= _MOST_CLASSES and (run["folder"] / _PREDICTIONS).is_file():
            found += _of_run(str(record["name"]), run["folder"] / _PREDICTIONS, list(map(str, names)))
    return found


def _of_run(name: str, path: Path, classes: list[str]) -> list[Table]:
    try:
        table = pd.read_csv(path, usecols=lambda column: column in ("target", "predicted", "margin"))
        targets, predicted = (table[key].to_numpy(dtype="int64") for key in ("target", "predicted"))
        if (
            not len(table)
            or min(targets.min(), predicted.min()) < 0
            or max(targets.max(), predicted.max()) >= len(classes)
        ):
            raise ValueError(f"a class that is none of the {len(classes)}")
        counts = confusion_of(targets, predicted, len(classes))
        area = auc(targets, table["margin"].to_numpy(dtype=float)) if "margin" in table else None
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(Problem(str(path), f"cannot be read: {first_line(error)}")) from error
    shares = zip(recall(counts).tolist(), precision(counts).tolist(), strict=True)
    both = {
        each: [None if share != share else share for share in pair]
        for each, pair in zip(classes, shares, strict=True)
    }
    first, *others = class_tables(both, counts, folded=True)
    if area is not None:
        first = replace(first, notes=(*first.notes, f"AUC {area:.4f}: area under the ROC curve"))
    return [
        replace(each, title=f"{name}: {each.title[:1].lower()}{each.title[1:]}") for each in (first, *others)
    ]
