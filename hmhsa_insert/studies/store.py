"""The study folder: ``study.json`` (what the study is) and ``trials/ID/`` with ``trial.json`` (what came of each).

Files appear whole or not at all, and a trial's file is written once: it is the commit.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.ours import divided, few, remove
from hmhsa_insert.files.run_shapes import trial_written
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.inert import json_text
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.shapes import StudyShape, TrialShape
from hmhsa_insert.training.run_folder import is_of_run

STUDY, TRIALS, TRIAL = "study.json", "trials", "trial.json"
_WRITING = ".writing-"


def trial_folder(folder: Path, id: str) -> Path:
    """Return the folder of a trial, which is that of its training run."""
    return folder / TRIALS / id


def read_study(folder: Path) -> dict[str, Any] | None:
    """Return what ``study.json`` holds; None if there is none.

    Raises:
        StudyError: it is damaged, or something else.
    """
    path = folder / STUDY
    if not path.is_file():
        return None
    found = read_json_mapping(path, StudyError)
    if found.get("kind") != "study" or found.get("version") != 1:
        raise StudyError(Problem(str(path), "is not a study's file of version 1"))
    checked(StudyShape, found, path, StudyError)
    return found


def write_study(folder: Path, study: Mapping[str, Any]) -> None:
    """Write ``study.json``, into a folder that is new, empty or holds this study already.

    Raises:
        StudyError: the folder holds something else or cannot be written.
    """
    known = read_study(folder)
    if known is None and folder.exists() and _foreign(folder):
        raise StudyError(
            Problem(str(folder), "it exists, and holds no study", "give a folder that is new or empty")
        )
    if known is not None and known["name"] != study["name"]:
        message = f"it holds the study '{known['name']}', not '{study['name']}'"
        raise StudyError(Problem(str(folder), message, "give another folder"))
    if known == study:
        return
    try:
        (folder / TRIALS).mkdir(parents=True, exist_ok=True)
        _write(folder / STUDY, folder, study)
    except OSError as error:
        raise _unwritable(folder, error) from error


def read_trial(folder: Path, id: str) -> dict[str, Any] | None:
    """Return what became of a trial; None if it was not run to its end.

    Raises:
        StudyError: its file is damaged.
    """
    path = trial_folder(folder, id) / TRIAL
    if not path.is_file():
        return None
    tip = "remove it to run the trial again"
    row = read_json_mapping(path, StudyError, tip=tip)
    known = checked(TrialShape, row, path, StudyError, tip)
    if known.id != id:
        raise StudyError(Problem(str(path), f"it is that of another trial, {known.id}", tip))
    return trial_written(row)


def commit(folder: Path, row: Mapping[str, Any]) -> None:
    """Write what became of a trial.

    Raises:
        StudyError: writing fails.
    """
    path = trial_folder(folder, row["id"]) / TRIAL
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, folder, row)
    except OSError as error:
        raise _unwritable(path, error) from error


def forget(folder: Path, id: str) -> None:
    """Remove what became of a trial, and what is left of its training, so that it is run again.

    Raises:
        StudyError: its folder also holds something else, which is never removed.
    """
    path = trial_folder(folder, id)
    ours, others = divided(path, lambda name: name == TRIAL or is_of_run(name))
    if others:
        message = f"it also holds what no trial writes: {few(others)}"
        raise StudyError(Problem(str(path), message, "move that away to run the trial again"))
    remove(path, ours)


def _foreign(folder: Path) -> bool:
    """Return True if a folder holds more than a killed driver leaves before its first file is whole."""
    if not folder.is_dir():
        return True
    begun = folder / TRIALS
    if any(entry != begun and not entry.name.startswith(_WRITING) for entry in folder.iterdir()):
        return True
    # Trials that were running when the folder was removed may have made theirs again.
    return os.path.lexists(begun) and (not begun.is_dir() or bool(divided(begun, _is_of_trial)[1]))


def _is_of_trial(name: str) -> bool:
    _, in_folder, inside = name.partition("/")
    return bool(in_folder) and (inside in ("", TRIAL) or is_of_run(inside))


def _write(path: Path, folder: Path, value: Mapping[str, Any]) -> None:
    # Beside the trials and not in one's folder, which must hold a run's files alone; named by the process, so that
    # two that finish one trial at once write two files.
    writing = folder / f"{_WRITING}{path.parent.name}-{socket.gethostname()}-{os.getpid()}"
    try:
        with writing.open("w", encoding="utf-8") as file:
            file.write(json_text(value, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(writing, path)
    except OSError:
        with suppress(OSError):
            writing.unlink()
        raise


def _unwritable(path: Path, error: OSError) -> StudyError:
    return StudyError(Problem(str(path), f"cannot be written: {error.strerror or error}"))
