"""What became of a study's trials: one tidy frame, read from its folder as data, so that no torch is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.files.shapes import Count, Shape, checked
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.shapes import Listed, StudyShape, TrialShape

_STUDY, _TRIALS, _TRIAL = "study.json", "trials", "trial.json"
_TIP = "`hmhsa-insert ablate` writes study folders"
# One damaged file is a mishap, a thousand are a lost disk: no one reads a thousand lines.
_MOST_PROBLEMS = 20

_Shaped = TypeVar("_Shaped", bound=Shape)
_OF_TRIAL = [
    name
    for name in TrialShape.model_fields
    if name not in ("id", "status", "message", "score", "scores", "best")
]
_COUNTS = [name for name, field in TrialShape.model_fields.items() if field.annotation == Count | None]


@dataclass(frozen=True)
class StudyOutcomes:
    """A study and what became of its trials.

    Attributes:
        name: of the study.
        intent: what it asks.
        baseline: label of the variant that the others are compared with.
        variants: labels, in the study's order.
        notes: what a reader should know.
        trials: a row per trial, in the study's order: ``id``, ``variant``, ``model``, ``recipe``, ``settings``,
            ``data``, ``seed``, ``group`` (what pairs), ``baseline``, ``status`` (done, failed or pending), ``message``,
            and what a done one measured; accuracies in percent, ``correct`` as packed bits in hexadecimal.
    """

    name: str
    intent: str
    baseline: str
    variants: tuple[str, ...]
    notes: tuple[str, ...]
    trials: pd.DataFrame


def is_study(folder: Path) -> bool:
    """Return True if `folder` is that of a study."""
    return (folder / _STUDY).is_file()


def read_outcomes(folder: Path) -> StudyOutcomes:
    """Return what is in a study's folder; a trial without a file is pending.

    Raises:
        StudyError: every file that is missing or damaged.
    """
    if not is_study(folder):
        raise StudyError(Problem(str(folder), f"it has no {_STUDY}", _TIP))
    problems: list[Problem] = []
    study = _read(StudyShape, folder / _STUDY, problems)
    if study is None:
        raise StudyError(problems)
    found = {id: _trial(folder, id, problems) for id in dict.fromkeys(listed.id for listed in study.trials)}
    if problems:
        raise StudyError(_few(problems))
    rows = [_row(listed, found[listed.id]) for listed in study.trials]
    columns = [*Listed.model_fields, "status", "message", *_OF_TRIAL]
    frame = pd.DataFrame(rows, columns=columns, dtype=object).astype(dict.fromkeys(_COUNTS, "Int64"))
    names = (study.name, study.intent, study.baseline)
    return StudyOutcomes(*names, tuple(study.variants), tuple(study.notes), frame)


def is_correct(bits: str, images: int) -> NDArray[np.bool_]:
    """Return for each of `images` images whether it was classified right.

    Args:
        bits: as ``correct`` in a trial's file.
        images: how many there are.
    """
    return np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=images).astype(bool)


def _trial(folder: Path, id: str, problems: list[Problem]) -> TrialShape | None:
    path = folder / _TRIALS / id / _TRIAL
    if not path.is_file():
        return None
    trial = _read(TrialShape, path, problems, "remove it, and `hmhsa-insert ablate` runs the trial again")
    if trial is not None and trial.id != id:
        problems.append(Problem(str(path), f"it is that of another trial, {trial.id}"))
    return trial


def _row(listed: Listed, trial: TrialShape | None) -> dict[str, Any]:
    if trial is None:
        return listed.model_dump() | {"status": "pending", "message": ""}
    return listed.model_dump() | trial.model_dump(exclude={"id", "score", "scores", "best"})


def _read(kind: type[_Shaped], path: Path, problems: list[Problem], tip: str = "") -> _Shaped | None:
    try:
        return checked(kind, read_json(path, StudyError, tip=tip), path, StudyError, tip)
    except StudyError as error:
        problems += error.problems
    return None


def _few(problems: list[Problem]) -> Iterable[Problem]:
    rest = len(problems) - _MOST_PROBLEMS
    more = [Problem("", f"and {rest} more files")] if rest > 0 else []
    return [*problems[:_MOST_PROBLEMS], *more]
