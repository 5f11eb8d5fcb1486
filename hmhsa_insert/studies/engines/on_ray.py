"""The engine of clusters: one Ray task a trial, on a laptop, in a Slurm allocation or at an address.

Ray Core does what a scheduler does: it places tasks by the CPUs and GPUs they ask for, and runs a task again whose
worker or node is gone, which goes on from the trial's checkpoint in the shared folder. What a task returns is only a
message; the folder is the truth.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Argument, Problem, first_line
from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.engines import Started
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.store import commit, read_trial
from hmhsa_insert.studies.trial import Outcome, failed_row, outcome_of, run_trial

# Tasks handed to Ray beyond those that can run at once: enough to keep every CPU busy, few enough to cancel.
_AHEAD = 4
_STOP_S = 60.0


class RayEngine:
    """Runs trials as Ray tasks.

    Args:
        address: of a cluster, ``auto`` for the one this machine is in; None starts one on this machine.
        cpus: that each trial asks for.
        gpus: that each trial asks for; may be a fraction.
        retries: how often a trial is gone on with whose worker or node was lost.
    """

    def __init__(
        self, address: str | None = None, cpus: float = 1.0, gpus: float = 0.0, retries: int = 3
    ) -> None:
        self.address, self.cpus, self.gpus, self.retries = address, cpus, gpus, retries

    def run(self, folder: Path, trials: Sequence[Trial]) -> Iterator[Started | Outcome]:
        """Do as :meth:`Engine.run`."""
        ray = _ray()
        ours = self._connect(ray)
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=self.retries)(_task)
        paths = [os.getcwd(), *sys.path]
        waiting = list(reversed(trials))
        running: dict[Any, Trial] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._at_once(ray) + _AHEAD:
                    trial = waiting.pop()
                    running[task.remote(str(folder), trial, paths)] = trial
                    yield Started(trial.id)
                done, _ = ray.wait(list(running), num_returns=1)
                for reference in done:
                    yield _outcome(ray, reference, running.pop(reference), folder)
        finally:
            _cancel(ray, list(running))
            if ours:
                ray.shutdown()

    def _connect(self, ray: Any) -> bool:
        """Connect to a cluster if this process is in none; return True if this call did."""
        if ray.is_initialized():
            return False
        # Ray reports its usage unless this is set.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(self.address or "local", log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # whatever a network, an address or another version of Ray comes up with
            reason = first_line(error)
            tip = "`ray start --head` begins a cluster here; leave the address out for one of this machine alone"
            where = Argument(f"address {self.address}") if self.address else "ray"
            raise StudyError(Problem(where, f"cannot be connected to: {reason}", tip)) from error
        self._refuse_impossible(ray)
        return True

    def _refuse_impossible(self, ray: Any) -> None:
        """Refuse what no node has: Ray would wait for such a node for ever."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(n.get("CPU", 0) >= self.cpus and n.get("GPU", 0) >= self.gpus for n in nodes):
            ray.shutdown()
            asked = f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"
            raise StudyError(
                Problem("ray", f"no node has the {asked} that each trial asks for", "change cpus, gpus")
            )

    def _at_once(self, ray: Any) -> int:
        """Return how many trials the cluster runs at once, as it is now."""
        there = ray.cluster_resources()
        fits = [int(there.get("CPU", 1) / self.cpus)]
        if self.gpus:
            fits.append(int(there.get("GPU", 0) / self.gpus))
        return max(1, min(fits))


def _task(folder: str, trial: Trial, paths: list[str]) -> Outcome:
    """Run a trial in a Ray worker, which finds modules where the driver does."""
    sys.path += [path for path in paths if path not in sys.path]
    return run_trial(Path(folder), trial)


def _outcome(ray: Any, reference: Any, trial: Trial, folder: Path) -> Outcome:
    """Return what became of a trial whose task ended, however it did."""
    try:
        outcome: Outcome = ray.get(reference)
        return outcome
    except ray.exceptions.RayError as error:
        known = read_trial(folder, trial.id)
        if known is None:
            known = failed_row(trial.id, _reason(ray, error))
            commit(folder, known)
        return outcome_of(known)


def _reason(ray: Any, error: Exception) -> str:
    """Return in one line, which is the same wherever it happens, why Ray gave a task up."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "its process was ended because the node's memory ran out"
    if isinstance(error, ray.exceptions.WorkerCrashedError | ray.exceptions.NodeDiedError):
        return "its process died, or its node was lost, at every attempt"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"


def _cancel(ray: Any, references: list[Any]) -> None:
    """Have the trials under way save their place and end."""
    for reference in references:
        ray.cancel(reference)
    if references:
        ray.wait(references, num_returns=len(references), timeout=_STOP_S)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise StudyError(
            Problem("ray", "needs the package ray", "pip install 'hmhsa-insert[ray]'")
        ) from error
    return ray
