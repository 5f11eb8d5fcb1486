"""Run the coverage check over many networks, each under a time limit, in worker processes that may die."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from hmhsa_insert.zoo.check import ZooRow, check_network
from hmhsa_insert.zoo.networks import Entry

Check = Callable[[Entry], ZooRow]

_READY = "ready"
_START_S = 120.0  # importing torch, before a worker's first network, does not count as its time


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    entry: Entry | None = None
    since: float = 0.0
    is_ready: bool = False


def run(
    entries: list[Entry], time_limit_s: float = 300.0, workers: int = 1, check: Check = check_network
) -> Iterator[ZooRow]:
    """Yield one row per network as it is done, in any order.

    Args:
        entries: the networks.
        time_limit_s: wall-clock seconds for one network; one that takes longer is a row with status ``timeout``.
        workers: networks at a time.
        check: what to do with one.
    """
    pending = list(reversed(entries))
    context = multiprocessing.get_context("spawn")
    running: list[_Worker] = []
    try:
        while pending or running:
            while pending and len(running) < workers:
                running.append(_give(_start(context, check), pending.pop()))
            wait([worker.pipe for worker in running], timeout=1.0)
            for worker in list(running):
                row = _collect(worker, time_limit_s)
                if row is None:
                    continue
                yield row
                running.remove(worker)
                if row.status in ("timeout", "died") or not pending:
                    _stop(worker)
                else:
                    running.append(_give(worker, pending.pop()))
    finally:
        for worker in running:
            _stop(worker)


def _start(context: multiprocessing.context.SpawnContext, check: Check) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, check), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(pipe: Connection, check: Check) -> None:
    pipe.send(_READY)
    while True:
        entry = pipe.recv()
        if entry is None:
            return
        pipe.send(check(entry))


def _give(worker: _Worker, entry: Entry) -> _Worker:
    worker.pipe.send(entry)
    worker.entry, worker.since = entry, time.monotonic()
    return worker


def _collect(worker: _Worker, time_limit_s: float) -> ZooRow | None:
    """Return the row of a worker that has finished, timed out or died; None while it works."""
    entry = worker.entry
    assert entry is not None
    size = f"{entry.height}x{entry.width}"
    try:
        if worker.pipe.poll():
            received: ZooRow | str = worker.pipe.recv()
            if isinstance(received, ZooRow):
                return received
            worker.is_ready, worker.since = True, time.monotonic()
    except EOFError:
        worker.process.join(timeout=10)  # its pipe closes before its exit code can be read
        reason = f"its process ended with code {worker.process.exitcode}; most likely it ran out of memory"
        return ZooRow(entry.spec, size, status="died", reason=reason)
    allowed = time_limit_s if worker.is_ready else time_limit_s + _START_S
    if time.monotonic() - worker.since > allowed:
        return ZooRow(entry.spec, size, status="timeout", reason=f"took longer than {time_limit_s:g} s")
    return None


def _stop(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()
