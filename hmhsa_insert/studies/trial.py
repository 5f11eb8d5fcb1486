"""One trial: what determines it, how it is run, and the file that commits it."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.files.machine import is_first_process
from hmhsa_insert.files.run_shapes import Here
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.studies.cell import Cell, Trial
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.prune import costs_of, places_of, pruned, whole_of
from hmhsa_insert.studies.steps import Steps
from hmhsa_insert.studies.store import commit, read_trial, trial_folder
from hmhsa_insert.surgery.base.load import named_by_file
from hmhsa_insert.tasks.table import task_class
from hmhsa_insert.training.names import shown
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.problems import InUseError, RunError
from hmhsa_insert.training.result import RunResult, score_name
from hmhsa_insert.training.run import train_run
from hmhsa_insert.training.run_folder import CONFIG, ENVIRONMENT, RunFolder, is_run, read_config
from hmhsa_insert.training.run_schema import ReadSettings
from hmhsa_insert.training.run_tables import read_timing
from hmhsa_insert.training.task import Task

Status = Literal["done", "failed", "busy", "refused"]

# What a trial's file takes from the result of its training, and what it adds.
_OF_RESULT = ("scores", "best", "epochs", "updates", "images", "num_params", "macs", "macs_modules_only")
_MEASURED = ("memory_bytes", "costs", "val_images", "correct", "seconds", "processes", "device")

# A killed driver's processes let go of their trials within moments.
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        id: of the trial.
        status: ``done`` and ``failed`` are final. ``busy``: another process has it. ``refused``: its folder cannot be
            used, which says nothing about the trial.
        message: why not, in a sentence.
        score: of a trial that is done: the one that the task picks its best weights by.
    """

    id: str
    status: Status
    message: str = ""
    score: float | None = None


def run_trial(folder: Path, trial: Trial) -> Outcome:
    """Run a trial in this process, or go on with it; every engine calls this. A trial that was run is only read.

    Args:
        folder: of the study.
        trial: to run.

    Returns:
        What became of it; whatever its own training raises is its outcome, not an exception.

    Raises:
        Stopped: on Ctrl-C or SIGTERM; the place is saved.
    """
    try:
        row = read_trial(folder, trial.id)
        if row is None:
            if trial.cell.keep:
                whole = run_trial(folder, whole_of(trial))
                if whole.status in ("busy", "refused"):
                    return replace(whole, id=trial.id)
            row = _row_of(folder, trial)
            # In several processes (`accelerate launch`) all train together and the first one writes.
            if is_first_process():
                commit(folder, row)
    except InUseError as error:
        return Outcome(trial.id, "busy", error.problems[0].message)
    except (RunError, StudyError) as error:
        return Outcome(trial.id, "refused", str(error))
    return outcome_of(row)


def _row_of(folder: Path, trial: Trial) -> dict[str, Any]:
    try:
        with _threads(trial.cell.threads):
            return _trained(folder, trial)
    except RunError:
        raise  # of its folder: says nothing about the trial
    except Exception as error:
        return failed_row(trial.id, reason_of(error))


def outcome_of(row: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a trial's file records."""
    scores: Mapping[str, float | None] = row["scores"] or {}
    return Outcome(row["id"], row["status"], row["message"], scores.get(row["score"]))


def failed_row(id: str, message: str) -> dict[str, Any]:
    """Return what is written of a trial that failed."""
    unknown = dict.fromkeys(("score", *_OF_RESULT, *_MEASURED))
    return {"id": id, "status": "failed", "message": message, **unknown, "versions": {}}


def reason_of(error: BaseException) -> str:
    """Return what went wrong in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, HmhsaInsertError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def planned_run(cell: Cell, seed: int) -> Task:
    """Return the training that a trial is.

    Raises:
        DataError: the data cannot be opened.
    """
    options: Any = cell.options
    planned: Task = plan_run(
        cell.spec,
        _opened(cell.task, cell.data, cell.data_dir, cell.settings.loader),
        task=cell.task,
        settings=cell.settings,
        seed=seed,
        init_from=cell.init_from,
        pretrained=cell.pretrained,
        allow_code=cell.allow_code,
        **options,
    )
    return replace(planned, recipe=cell.recipe)


def import_plugins(names: tuple[str, ...]) -> None:
    """Import the modules that add block types, in whatever process this is."""
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        importlib.import_module(name)


def forget_data() -> None:
    """Have data read again: it may have changed since this process opened it."""
    _opened.cache_clear()


@lru_cache(maxsize=4)
def _opened(task: str, source: str, data_dir: str | None, loader: ReadSettings) -> Any:
    return task_class(task).open(source, loader, data_dir)


def _trained(folder: Path, trial: Trial) -> dict[str, Any]:
    import_plugins(trial.cell.plugins)
    path = trial_folder(folder, trial.id)
    run = planned_run(trial.cell, trial.seed)
    if trial.cell.keep and not is_run(path):
        run = pruned(folder, trial, run)
    run = _spelled_alike(run, path)
    if run.data.fingerprint != trial.cell.fingerprint:
        message = "is not what it was when the study was planned"
        raise RunError(Problem(shown(run.data.source), message, "the same command plans it again"))
    patience, steps = time.monotonic() + _PATIENCE_S, Steps(path)
    while True:
        try:
            if is_first_process():
                RunFolder(path).clear_remains()
            return _row(trial, run, train_run(run, path, steps))
        except InUseError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.5)
        finally:
            steps.end()


def _spelled_alike(run: Task, path: Path) -> Task:
    """Return the run in the words its folder has for it already.

    Trials of one identity may differ in what a recipe is called and where the data lies: a folder begun under one name
    is gone on with under another.
    """
    if not is_run(path):
        return run
    known = read_config(path)
    data: Any = replace(run.data, source=known["data"]["source"])  # type: ignore[type-var]
    model = named_by_file(
        str(known["model"]), str(path / CONFIG), run.allow_code or known["model"] == run.model
    )
    return replace(run, model=model, recipe=known["recipe"], data=data)


def _row(trial: Trial, run: Task, result: RunResult) -> dict[str, Any]:
    """Return what is written of a finished trial; nothing in it but the seconds differs from one run to the next."""
    path = result.folder
    here = read_json(path / ENVIRONMENT, RunError)
    checked(Here, here, path / ENVIRONMENT, RunError)
    evaluated = {"val_images": len(run.data.val), "correct": None} | run.judged(path)
    costs = costs_of(run) if trial.cell.keep else dict(trial.cell.costs)
    return {
        "id": trial.id,
        "status": "done",
        "message": "",
        "score": score_name(run.best),
        **{name: getattr(result, name) for name in _OF_RESULT},
        "memory_bytes": costs.get("saved_bytes_per_image"),
        "costs": costs,
        **({"kept": places_of(run)} if trial.cell.keep else {}),
        **evaluated,
        "seconds": _seconds(path, evaluated["val_images"]) * here["processes"],
        "processes": here["processes"],
        "device": here["device"],
        "versions": here["versions"],
    }


def _seconds(path: Path, val_images: int) -> float:
    """Return the seconds of training and evaluation, over all epochs."""
    rows = read_timing(path)
    evaluation = val_images / rows["eval_images_per_s"]
    return round(float(rows["train_s"].sum() + evaluation.sum()), 3)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
