"""Trials that an earlier version ran, which knew data by names and classes and not by what is in its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.identity import trial_id
from hmhsa_insert.studies.plan_study import PlannedStudy
from hmhsa_insert.studies.store import trial_folder


def with_earlier_trials(planned: PlannedStudy, folder: Path) -> PlannedStudy:
    """Return a study whose trials have the ids under which an earlier version ran them into its folder.

    Where two trials had one id, because their data differs in contents alone, neither takes it.
    """
    claims: dict[str, set[str]] = {}
    for trial in planned.trials:
        if id := _earlier_id(trial):
            claims.setdefault(id, set()).add(trial.id)
    there = {id: ids for id, ids in claims.items() if trial_folder(folder, id).is_dir()}
    taken = {
        trial: id
        for id, (trial, *others) in there.items()
        if not others and trial != id and not trial_folder(folder, trial).is_dir()
    }
    notes = []
    if taken:
        notes.append(
            f"{len(taken)} trials are of an earlier version, which knew data by names and classes: whether pictures "
            "were replaced since is not known"
        )
    if shared := sum(len(ids) > 1 for ids in there.values()):
        notes.append(
            f"{shared} trials of an earlier version are not used: it took data of equal names for the same"
        )
    trials = tuple(replace(trial, id=taken.get(trial.id, trial.id)) for trial in planned.trials)
    return replace(planned, trials=trials, notes=(*planned.notes, *notes))


def _earlier_id(trial: Trial) -> str:
    return trial_id(trial.cell.names_digest, trial.seed) if trial.cell.names_digest else ""
