"""What became of a study's trials: one tidy frame, read from its folder as data, so that no torch is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.files.shapes import Count, Shape, checked
from hmhsa_insert.quantities import QUANTITIES, ordered, score
from hmhsa_insert.quantity import COUNT, Quantity
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.shapes import (
    CONTROLS,
    SCORES_OF_TRIALS,
    ControlOf,
    Listed,
    Refused,
    StudyShape,
    TrialShape,
)

_STUDY, TRIALS, _TRIAL = "study.json", "trials", "trial.json"
_TIP = "`hmhsa-insert ablate` writes study folders"
# One damaged file is a mishap, a thousand are a lost disk: no one reads a thousand lines.
_MOST_PROBLEMS = 20

_Shaped = TypeVar("_Shaped", bound=Shape)
_OF_TRIAL = [
    name
    for name in TrialShape.model_fields
    if name not in ("id", "status", "message", "score", "scores", "best", "costs", "kept")
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
            and what a done one measured: its score and costs under the fields of their quantities, ``correct`` as
            packed bits in hexadecimal.
        score: key of the quantity by which variants are compared.
        controls: of each control's label, the variant that it is the control of, and its kind.
        refused: the variants that a network refuses: ``variant``, ``group`` and ``reason``.
        asked: the study file, whole; empty for a study of an earlier version.
        folder: of the study.
    """

    name: str
    intent: str
    baseline: str
    variants: tuple[str, ...]
    notes: tuple[str, ...]
    trials: pd.DataFrame
    score: str = "top1"
    controls: Mapping[str, ControlOf] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def quantity(self) -> Quantity:
        """The score as a quantity."""
        return score(self.score)

    @property
    def costs(self) -> list[Quantity]:
        """The costs that trials carry, in the order of data."""
        known = set(self.trials.columns)
        return [each for each in ordered("data") if each.is_study_cost and each.study_field in known]


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
    return _outcomes(study, folder, problems)


def planned_outcomes(study: Mapping[str, Any], folder: Path) -> StudyOutcomes:
    """Return what became of a planned study's trials, of which none may have been run.

    Args:
        study: what its ``study.json`` is to hold.
        folder: where it is, or will be.

    Raises:
        StudyError: every trial's file that is damaged.
    """
    return _outcomes(StudyShape.model_validate(study), folder, [])


def _outcomes(study: StudyShape, folder: Path, problems: list[Problem]) -> StudyOutcomes:
    ids = dict.fromkeys(listed.id for listed in study.trials)
    found = {id: _trial(folder, id, study.score, problems) for id in ids}
    if problems:
        raise StudyError(_few(problems))
    rows = [_row(study.score, listed, found[listed.id]) for listed in study.trials]
    known = [*Listed.model_fields, "status", "message", *_OF_TRIAL, score(study.score).field]
    columns = list(dict.fromkeys([*known, *(name for row in rows for name in row)]))
    others = [each.study_field for each in QUANTITIES.values() if each.kind == COUNT]
    counts = [*_COUNTS, *(name for name in others if name in columns)]
    frame = pd.DataFrame(rows, columns=columns, dtype=object).astype(dict.fromkeys(counts, "Int64"))
    return StudyOutcomes(
        study.name,
        study.intent,
        study.baseline,
        tuple(study.variants),
        tuple(study.notes),
        frame,
        study.score,
        study.controls if study.controls is not None else _labelled_as_controls(study.variants),
        tuple(study.refused),
        study.asked,
        folder,
    )


def _labelled_as_controls(variants: Iterable[str]) -> dict[str, ControlOf]:
    """Return the controls of a study of an earlier version, known by their labels: ``se placebo`` beside ``se``."""
    split = {label: label.rpartition(" ") for label in variants}
    return {
        label: ControlOf(of=of, control=control)
        for label, (of, _, control) in split.items()
        if control in CONTROLS and of in split
    }


def is_correct(bits: str, images: int) -> NDArray[np.bool_]:
    """Return for each of `images` images whether it was classified right.

    Args:
        bits: as ``correct`` in a trial's file.
        images: how many there are.
    """
    return np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=images).astype(bool)


def _trial(folder: Path, id: str, by: str, problems: list[Problem]) -> TrialShape | None:
    path = folder / TRIALS / id / _TRIAL
    if not path.is_file():
        return None
    trial = _read(TrialShape, path, problems, "remove it, and `hmhsa-insert ablate` runs the trial again")
    if trial is not None and trial.id != id:
        problems.append(Problem(str(path), f"it is that of another trial, {trial.id}"))
    elif trial is not None and trial.status == "done" and by not in _scores(trial):
        problems.append(Problem(str(path), f"it has no score '{by}', by which the study compares"))
    return trial


def _scores(trial: TrialShape) -> dict[str, float | None]:
    """Return what a trial reached, whether its task is classification or another."""
    own = {name: getattr(trial, name) for name in SCORES_OF_TRIALS}
    return (trial.scores or {}) | {name: value for name, value in own.items() if value is not None}


def _row(by: str, listed: Listed, trial: TrialShape | None) -> dict[str, Any]:
    if trial is None:
        return listed.model_dump() | {"status": "pending", "message": ""}
    left_out = {"id", "score", "scores", "best", "costs"} | ({"kept"} if trial.kept is None else set())
    row = listed.model_dump() | trial.model_dump(exclude=left_out)
    costs = trial.costs or {}
    for each in QUANTITIES.values():
        if each.is_study_cost and each.field in costs and row.get(each.study_field) is None:
            row[each.study_field] = costs[each.field]
    return row | {score(by).field: _scores(trial).get(by)}


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
