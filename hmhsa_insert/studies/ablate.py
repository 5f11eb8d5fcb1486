"""Run a study: what is not done yet, on an engine, into a folder that can be stopped, extended and moved."""

from __future__ import annotations

import fnmatch
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import Argument, Problem, listed, near
from hmhsa_insert.files.machine import cores, is_first_process
from hmhsa_insert.printed import Printed
from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.earlier import with_earlier_trials
from hmhsa_insert.studies.engines import Engine, Started
from hmhsa_insert.studies.plan_study import PlannedStudy, plan_study
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.store import forget, read_study, read_trial, write_study
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.studies.trial import Outcome, outcome_of
from hmhsa_insert.studies.watcher import Unwatched, Watcher
from hmhsa_insert.tables import Table, TableCell, Tone, left, right
from hmhsa_insert.training.problems import Stopped

ENGINES = ("local", "processes", "ray")
_LOOK_EVERY_S = 2.0


@dataclass(frozen=True, repr=False)
class StudyRun(Printed):
    """What a call of :func:`ablate` left behind.

    Attributes:
        folder: of the study.
        planned: the study.
        outcomes: of the trials it was about, by their ids, in the study's order.
    """

    folder: Path
    planned: PlannedStudy
    outcomes: Mapping[str, Outcome]

    def count(self, status: str) -> int:
        """Return how many trials came to that."""
        return sum(outcome.status == status for outcome in self.outcomes.values())

    def tables(self) -> Sequence[Table]:
        """Return one row per trial: what became of it, and its score."""
        names = {trial.id: trial.name for trial in self.planned.trials}
        tones: dict[str, Tone] = {"done": "good", "failed": "bad"}
        rows = [
            (
                names[id],
                TableCell(each.status, each.status, tones.get(each.status, "")),
                "" if each.score is None else f"{each.score:.4g}",
                each.message,
            )
            for id, each in self.outcomes.items()
        ]
        headers = [left("trial"), left("status"), right("best score"), left("why")]
        title = f"{self.planned.study.name}: {self.count('done')} of {len(rows)} trials done"
        return [
            Table.of(title, headers, rows, [f"to compare the variants: hmhsa-insert report {self.folder}"])
        ]


@reads_arguments
def ablate(
    study: str | Path | Mapping[str, Any],
    folder: str | Path | None = None,
    *,
    engine: str | Engine = "local",
    workers: int | None = None,
    address: str | None = None,
    only: Sequence[str] = (),
    retry_failed: bool = False,
    data_dir: str | Path | None = None,
    plugins: Sequence[str] = (),
    allow_code: bool = False,
    watcher: Watcher | None = None,
) -> StudyRun:
    """Run a study's trials that were not run yet, and go on with those that were begun.

    Args:
        study: a path, the name of a shipped study, or a dict.
        folder: of the study; None: ``studies/`` and its name.
        engine: ``local``, ``processes``, ``ray``, or an engine of your own.
        workers: of ``processes``; None: as many as the cores allow.
        address: of a Ray cluster; ``auto`` finds the one this machine is in, None starts one here.
        only: globs over variants, ids or whole names of trials; others are left for later.
        retry_failed: run those again that failed.
        data_dir: where downloaded data is kept.
        plugins: modules that add block types, imported already; trials import them too.
        allow_code: run the factories that the study's file names as its networks, if you trust the file.
        watcher: receives what happens.

    Raises:
        StudyError: the study cannot be read, planned or written; or, at the end, folders of trials that cannot be used.
        Stopped, KeyboardInterrupt: on Ctrl-C or SIGTERM; everything is saved, and the same call goes on.

    Example:
        >>> import hmhsa_insert as hi
        >>> edit = {"op": "insert", "id": "gate", "at": {"stage": 3, "block": "last"}, "block": {"type": "timm/se"}}
        >>> study = {
        ...     "version": 1, "models": "test_resnet", "data": "digits", "seeds": 1,
        ...     "settings": {"short": {"base": "digits", "epochs": 1, "input_size": 16}},
        ...     "variants": {"plain": None, "se": {"edits": [edit]}},
        ... }
        >>> hi.ablate(study, "study").count("done")
        2
    """
    planned = plan_study(load_study(study, allow_code=allow_code), data_dir=data_dir, plugins=plugins)
    where = Path(folder) if folder is not None else default_folder(planned)
    runner = make_engine(engine, planned, workers, address)
    return run_study(planned, where, runner, only=only, retry_failed=retry_failed, watcher=watcher)


def run_study(
    planned: PlannedStudy,
    folder: Path,
    engine: Engine,
    *,
    only: Sequence[str] = (),
    retry_failed: bool = False,
    watcher: Watcher | None = None,
) -> StudyRun:
    """Do as :func:`ablate` with a study that was planned.

    Any number of drivers may work on one folder: each trial is one process's at a time, and those that another one has
    are waited for.
    """
    watch: Watcher = watcher if watcher is not None else Unwatched()
    folder = folder.absolute()
    asked, planned = planned, with_earlier_trials(planned, folder)
    chosen = _chosen(planned, only)
    if is_first_process():
        write_study(folder, planned.to_dict())
    # All of them, also those that are left for later: a damaged file would else be found when training is over.
    known = finished(folder, planned.distinct)
    outcomes = {id: outcome for id, outcome in known.items() if id in chosen}
    if retry_failed:
        for id in [id for id, outcome in outcomes.items() if outcome.status == "failed"]:
            forget(folder, id)
            del outcomes[id]
    watch.begin(folder, list(chosen.values()), dict(outcomes))
    for note in planned.notes[len(asked.notes) :]:
        watch.note(note)
    pending = [trial for id, trial in chosen.items() if id not in outcomes]
    with _stopped_by_sigterm():
        named: set[str] = set()
        while pending:
            outcomes |= _pass(engine, folder, pending, watch)
            busy = [trial for trial in pending if outcomes[trial.id].status == "busy"]
            _name_owners(busy, outcomes, named, watch)
            pending = _freed(folder, busy, outcomes, watch)
    ordered = {id: outcomes[id] for id in chosen}
    refused = [outcome for outcome in ordered.values() if outcome.status == "refused"]
    if refused:
        tip = "the same command goes on where this is mended"
        raise StudyError([Problem(outcome.id, outcome.message, tip) for outcome in refused])
    return StudyRun(folder, planned, ordered)


def make_engine(
    name: str | Engine, planned: PlannedStudy, workers: int | None = None, address: str | None = None
) -> Engine:
    """Return the engine of that name, for a study's trials.

    Raises:
        StudyError: there is none, it is not installed, or it does not take these options.
    """
    if not isinstance(name, str):
        return name
    if name not in ENGINES:
        raise StudyError(
            Problem(Argument("engine"), f"must be {listed(ENGINES)}, found '{name}'", near(name, ENGINES))
        )
    if workers is not None and name != "processes":
        raise StudyError(Problem(Argument("workers"), f"the engine '{name}' takes no number of workers"))
    if address is not None and name != "ray":
        raise StudyError(Problem(Argument("address"), f"the engine '{name}' takes no address"))
    threads = planned.study.threads
    if name == "local":
        from hmhsa_insert.studies.engines.local import LocalEngine

        return LocalEngine()
    if name == "processes":
        from hmhsa_insert.studies.engines.processes import ProcessEngine

        return ProcessEngine(workers if workers is not None else max(1, cores() // threads))
    from hmhsa_insert.studies.engines.on_ray import RayEngine

    return RayEngine(address, planned.study.cpus, planned.study.gpus)


def default_folder(planned: PlannedStudy) -> Path:
    """Return where a study is kept if nothing else is said."""
    return Path("studies") / planned.study.name


def finished(folder: Path, trials: Mapping[str, Trial]) -> dict[str, Outcome]:
    """Return what became of those trials that were run, by id.

    Raises:
        StudyError: a trial's file is damaged.
    """
    if read_study(folder) is None:
        return {}
    found = ((id, read_trial(folder, id)) for id in trials)
    return {id: outcome_of(row) for id, row in found if row is not None}


def _chosen(planned: PlannedStudy, only: Sequence[str]) -> dict[str, Trial]:
    """Return the distinct trials that the patterns ask for; of equal ones, any name will do."""
    if not only:
        return planned.distinct
    matched = {
        pattern: {trial.id for trial in planned.trials if _is_meant(trial, pattern)} for pattern in only
    }
    if missed := [pattern for pattern, ids in matched.items() if not ids]:
        variants = [variant.label for variant in planned.study.variants]
        tip = "give a variant, an id, or a glob over 'variant, network, settings, data, seed N'"
        raise StudyError(
            [
                Problem(Argument("only"), f"'{p}' fits no trial", f"{near(p, variants)} {tip}".strip())
                for p in missed
            ]
        )
    ids = set().union(*matched.values())
    return {id: trial for id, trial in planned.distinct.items() if id in ids}


def _is_meant(trial: Trial, pattern: str) -> bool:
    names = (trial.id, trial.cell.variant, trial.name)
    return pattern in names or any(fnmatch.fnmatchcase(name, pattern) for name in names)


def _pass(engine: Engine, folder: Path, pending: Sequence[Trial], watch: Watcher) -> dict[str, Outcome]:
    by_id = {trial.id: trial for trial in pending}
    outcomes: dict[str, Outcome] = {}
    with closing(engine.run(folder, pending)) as events:  # type: ignore[type-var]
        for event in events:
            if isinstance(event, Started):
                watch.started(by_id[event.id])
            else:
                outcomes[event.id] = event
                watch.ended(by_id[event.id], event)
    return outcomes


def _name_owners(
    busy: Sequence[Trial], outcomes: Mapping[str, Outcome], named: set[str], watch: Watcher
) -> None:
    """Print, once each, which other processes work on this study."""
    for trial in busy:
        owner = outcomes[trial.id].message
        if owner not in named:
            watch.note(f"another driver works on this study; waiting for {trial.name}, {owner}")
        named.add(owner)


def _freed(folder: Path, busy: Sequence[Trial], outcomes: dict[str, Outcome], watch: Watcher) -> list[Trial]:
    """Wait a moment for other drivers' trials, and return those that are to be tried again."""
    if not busy:
        return []
    time.sleep(_LOOK_EVERY_S)
    by_id = {trial.id: trial for trial in busy}
    for id, outcome in finished(folder, by_id).items():
        outcomes[id] = outcome
        watch.ended(by_id.pop(id), outcome)
    return list(by_id.values())


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Have SIGTERM (a cluster's time limit) stop a study as Ctrl-C does."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped("the study was asked to stop, and is saved", number)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread, where no signal comes
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
