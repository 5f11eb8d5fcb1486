"""What became of a study's trials: one tidy frame, read from its folder as data, so that no torch is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.studies.problems import StudyError

_STUDY, _TRIALS, _TRIAL = "study.json", "trials", "trial.json"
_TIP = "`hmhsa-insert ablate` writes study folders"
# One damaged file is a mishap, a thousand are a lost disk: no one reads a thousand lines.
_MOST_PROBLEMS = 20

_Id = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
_Hex = Annotated[str, StringConstraints(pattern="^([0-9a-f]{2})*$")]
_Count = Annotated[int, Field(ge=0)]
_Percent = Annotated[float, Field(ge=0, le=100)]
_Model = TypeVar("_Model", bound=BaseModel)


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class _Listed(_Data):
    id: _Id
    variant: str
    model: str
    recipe: str | None
    settings: str
    data: str
    seed: int
    group: str
    baseline: bool


class _Study(_Data):
    kind: Literal["study"]
    version: Literal[1]
    name: str
    intent: str
    baseline: str
    variants: list[str]
    trials: list[_Listed]
    notes: list[str] = []


class _Trial(_Data):
    id: _Id
    status: Literal["done", "failed"]
    message: str
    top1: _Percent | None = None
    top5: _Percent | None = None
    loss: float | None = None
    best_top1: _Percent | None = None
    epochs: _Count | None = None
    updates: _Count | None = None
    images: _Count | None = None
    num_params: _Count | None = None
    macs: _Count | None = None
    macs_modules_only: _Count | None = None
    memory_bytes: float | None = None
    val_images: _Count | None = None
    correct: _Hex | None = None
    seconds: float | None = None
    processes: _Count | None = None
    device: str | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> _Trial:
        if self.status == "done" and self.top1 is None:
            raise ValueError("a trial that is done has a top1")
        if self.correct is not None and len(self.correct) // 2 != -(-(self.val_images or 0) // 8):
            raise ValueError("correct does not have one bit for each of val_images")
        return self


_OF_TRIAL = [name for name in _Trial.model_fields if name not in ("id", "status", "message")]
_COUNTS = [name for name, field in _Trial.model_fields.items() if field.annotation == _Count | None]


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
    """Say whether `folder` is that of a study."""
    return (folder / _STUDY).is_file()


def read_outcomes(folder: Path) -> StudyOutcomes:
    """Return what is in a study's folder; a trial without a file is pending.

    Raises:
        StudyError: every file that is missing or damaged.
    """
    if not is_study(folder):
        raise StudyError(Problem(str(folder), f"it has no {_STUDY}", _TIP))
    problems: list[Problem] = []
    study = _read(_Study, folder / _STUDY, problems)
    if study is None:
        raise StudyError(problems)
    found = {id: _trial(folder, id, problems) for id in dict.fromkeys(listed.id for listed in study.trials)}
    if problems:
        raise StudyError(_few(problems))
    rows = [_row(listed, found[listed.id]) for listed in study.trials]
    columns = [*_Listed.model_fields, "status", "message", *_OF_TRIAL]
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


def _trial(folder: Path, id: str, problems: list[Problem]) -> _Trial | None:
    path = folder / _TRIALS / id / _TRIAL
    if not path.is_file():
        return None
    trial = _read(_Trial, path, problems, "remove it, and `hmhsa-insert ablate` runs the trial again")
    if trial is not None and trial.id != id:
        problems.append(Problem(str(path), f"it is that of another trial, {trial.id}"))
    return trial


def _row(listed: _Listed, trial: _Trial | None) -> dict[str, Any]:
    if trial is None:
        return listed.model_dump() | {"status": "pending", "message": ""}
    return listed.model_dump() | trial.model_dump(exclude={"id"})


def _read(kind: type[_Model], path: Path, problems: list[Problem], tip: str = "") -> _Model | None:
    try:
        return kind.model_validate(read_json_mapping(path, StudyError, tip=tip))
    except StudyError as error:
        problems += error.problems
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        problems.append(Problem(str(path), f"it is damaged: {place + ': ' if place else ''}{said}", tip))
    return None


def _few(problems: list[Problem]) -> Iterable[Problem]:
    rest = len(problems) - _MOST_PROBLEMS
    more = [Problem("", f"and {rest} more files")] if rest > 0 else []
    return [*problems[:_MOST_PROBLEMS], *more]
