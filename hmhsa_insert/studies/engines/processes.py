"""The engine of one machine: worker processes that take trials one by one.

A worker that dies (killed for memory, a crash in native code) takes nothing with it: its trial goes on from its
checkpoint in a new worker, and is a failed row if that one dies too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.engines import Started
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.store import commit, read_trial
from hmhsa_insert.studies.trial import Outcome, failed_row, outcome_of, run_trial

# A worker that cannot save its place in so many seconds is ended without.
_STOP_S = 60.0
_READY = "ready"


@dataclass
class _Worker:
    """A process, the pipe to it, and the trial it has."""

    process: BaseProcess
    pipe: Connection
    slot: int
    ready: bool = False
    trial: Trial | None = None


class ProcessEngine:
    """Runs trials in worker processes of this machine.

    Args:
        workers: how many; with several GPUs, worker i computes on GPU i modulo their number.
        retries: how often a trial whose process died is gone on with.
    """

    def __init__(self, workers: int = 2, retries: int = 1) -> None:
        self.workers, self.retries = workers, retries
        self._context = multiprocessing.get_context("spawn")
        self._deaths: Counter[str] = Counter()

    def run(self, folder: Path, trials: Sequence[Trial]) -> Iterator[Started | Outcome]:
        """Do as :meth:`Engine.run`."""
        waiting = deque(trials)
        pool: list[_Worker] = []
        try:
            pool += (self._start(folder, slot) for slot in range(min(self.workers, len(trials))))
            while waiting or any(worker.trial for worker in pool):
                for worker in pool:
                    if worker.ready and worker.trial is None and waiting:
                        worker.trial = waiting.popleft()
                        yield Started(worker.trial.id)
                        _send(worker, worker.trial)
                for worker in self._changed(pool):
                    yield from self._hear(worker, waiting, folder)
                    if worker.process.exitcode is not None:
                        pool[pool.index(worker)] = self._start(folder, worker.slot)
        finally:
            _stop(pool)

    def _start(self, folder: Path, slot: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, folder, slot), name=f"worker-{slot}")
        process.start()
        theirs.close()
        return _Worker(process, ours, slot)

    def _changed(self, pool: list[_Worker]) -> list[_Worker]:
        """Wait until workers said something or died, and return them."""
        by_handle: dict[Any, _Worker] = {}
        for worker in pool:
            by_handle[worker.pipe] = by_handle[worker.process.sentinel] = worker
        ready = wait(list(by_handle))
        return list({id(by_handle[handle]): by_handle[handle] for handle in ready}.values())

    def _hear(self, worker: _Worker, waiting: deque[Trial], folder: Path) -> Iterator[Outcome]:
        try:
            said = worker.pipe.recv() if worker.pipe.poll() else None
        except (EOFError, OSError):
            said = None
        if said == _READY:
            worker.ready = True
        elif said is not None:
            worker.trial = None
            yield said
        else:
            worker.process.join()
            yield from self._buried(worker, waiting, folder)

    def _buried(self, worker: _Worker, waiting: deque[Trial], folder: Path) -> Iterator[Outcome]:
        """Decide what becomes of a dead worker's trial: gone on with, or failed."""
        if not worker.ready:
            raise StudyError(f"a worker process ended before it could begin: {_manner(worker.process)}")
        trial, worker.trial = worker.trial, None
        if trial is None:
            return
        known = read_trial(folder, trial.id)
        self._deaths[trial.id] += 1
        if known is not None:  # it died after its last word
            yield outcome_of(known)
        elif self._deaths[trial.id] <= self.retries:
            waiting.appendleft(trial)
        else:
            times = "" if self._deaths[trial.id] == 1 else f" {self._deaths[trial.id]} times"
            row = failed_row(trial.id, f"its process died{times}: {_manner(worker.process)}")
            commit(folder, row)
            yield outcome_of(row)


def _serve(pipe: Connection, folder: Path, slot: int) -> None:
    """Be a worker: run the trials that come through the pipe until it is closed."""
    # Ctrl-C in a terminal goes to the driver's group; the driver tells its workers once, so that they save.
    os.setpgrp()
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    threading.Thread(target=_die_with_driver, daemon=True).start()
    if torch.cuda.device_count() > 1:
        torch.cuda.set_device(slot % torch.cuda.device_count())
        os.environ["LOCAL_RANK"] = str(slot % torch.cuda.device_count())
    pipe.send(_READY)
    try:
        while True:
            pipe.send(run_trial(folder, pipe.recv()))
    except (EOFError, OSError):
        return
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _die_with_driver() -> None:
    """End this process when the driver is gone: nobody would hear it, and it would keep its trial from others."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    wait([driver.sentinel])
    os._exit(1)


def _send(worker: _Worker, trial: Trial) -> None:
    try:
        worker.pipe.send(trial)
    except OSError:
        return  # it is dead, which its sentinel tells next


def _stop(pool: list[_Worker]) -> None:
    """Have the workers save their trials' places and end."""
    for worker in pool:
        worker.pipe.close()
        if worker.process.is_alive():
            assert worker.process.pid is not None
            os.kill(worker.process.pid, signal.SIGINT)
    for worker in pool:
        worker.process.join(_STOP_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _manner(process: BaseProcess) -> str:
    """Return how a process ended, in words."""
    code = process.exitcode or 0
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, as the system sends it when memory runs out" if -code == signal.SIGKILL else name
