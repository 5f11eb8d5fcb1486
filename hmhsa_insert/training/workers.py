"""Loader processes: signals to the group pass them by, killed ones are replaced, and none is waited for in vain."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset, Sampler

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.training.loop.stop import STOPS, undisturbed
from hmhsa_insert.training.problems import RunError

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)
_MOST_DEATHS = 3  # in a row, with no batch in between: then starting them again does not help
_FEWEST = {"num_workers": 1, "prefetch_factor": 1}  # the least memory, and the images at which it is killed
_DYING_S = 2.0  # in which a dying worker is seen to have ended
_PR_SET_PDEATHSIG = 1
_ABANDONED: list[Any] = []


class WorkerDied(Exception):
    """A loader process was killed."""


class WorkersError(RunError):
    """Loader processes are killed as often as they are started; says nothing about what is trained."""

    title = "the images cannot be read"


class Rest(Sampler[Any]):
    """The batches of a sampler from the one numbered `first` on."""

    def __init__(self, whole: Sampler[Any]) -> None:
        self._whole = whole
        self.first = 0

    def __iter__(self) -> Iterator[Any]:
        return islice(self._whole, self.first, None)

    def __len__(self) -> int:
        return len(self._whole) - self.first  # type: ignore[arg-type]


class BatchReading(Dataset[Any]):
    """A data set that reads whole batches, and returns the package's own errors instead of raising them.

    torch makes of an error in a worker another one, whose message is a traceback.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def __getitem__(self, key: Any) -> Any:
        return self.__getitems__([key])

    def __getitems__(self, keys: Any) -> Any:
        """Return a batch, or the error; torch's fetcher calls this."""
        try:
            return self._read(keys)
        except HmhsaInsertError as error:
            return error


def as_it_is(batch: T) -> T:
    """Return a batch that :class:`BatchReading` has collated."""
    return batch


class WorkerLoader(Generic[T]):
    """A ``DataLoader`` that yields the same batches whatever happens to its processes.

    Args:
        make: returns the ``DataLoader``, with other options than its own where some are given; called again when a
            process of the one before was killed.
        batches: its batch sampler; None: a stream, which is read from its beginning and passed over.
    """

    def __init__(self, make: Callable[..., DataLoader[Any]], batches: Rest | None = None) -> None:
        self._make, self._batches = make, batches
        self._options: dict[str, int] = {}
        self._loader: DataLoader[Any] | None = None
        self._iterator: Iterator[Any] | None = None
        self._processes: list[BaseProcess] = []
        self._busy = False

    def __iter__(self) -> Iterator[T]:
        done = deaths = 0
        self._busy = True
        while True:
            try:
                for batch in self._from(done):
                    if isinstance(batch, HmhsaInsertError):
                        raise batch
                    yield batch
                    done, deaths = done + 1, 0
                self._busy = False
                return
            except WorkerDied as death:
                self._abandon()
                deaths += 1
                if deaths == _MOST_DEATHS:
                    raise _given_up(death) from death
                if deaths == _MOST_DEATHS - 1 and self._batches is not None:
                    self._options = _FEWEST
                said = "; one process reads from here on" if self._options else ""
                _log.warning("%s; it was replaced, and reads the same images again%s", death, said)

    def close(self) -> None:
        """End the processes."""
        if self._busy:
            self._abandon()
        self._processes, self._loader, self._iterator = [], None, None

    def _abandon(self) -> None:
        """Kill the processes, which have nothing to save, and let nothing touch what they shared with this one.

        One that was killed may have held a lock, for which torch waits when it takes its loader down.
        """
        for process in self._processes:
            process.kill()
        for process in self._processes:
            # Ended before the next wait for a batch, in which torch would take it for a death of the new ones.
            process.join(_DYING_S)
        _ABANDONED.append(self._iterator)
        self._processes, self._loader, self._iterator = [], None, None

    def _from(self, first: int) -> Iterator[T]:
        if self._batches is not None:
            self._batches.first = first
        batches = self._watched(self._started)
        passed_over = first if self._batches is None else 0
        while True:
            try:
                with _CHILDREN.waited_for():
                    batch = self._watched(lambda: next(batches))
            except StopIteration:
                return
            if passed_over:
                passed_over -= 1
            else:
                yield batch

    def _watched(self, act: Callable[[], R]) -> R:
        """Do what needs the processes; whatever comes of a killed one is WorkerDied."""
        try:
            self._check()
            return act()
        except (StopIteration, WorkerDied):
            raise
        except Exception as error:  # torch and the pipes put a worker's death in many words
            # Its pipes are closed some time before it counts as ended.
            ending = wait([process.sentinel for process in self._processes], _DYING_S)
            for process in self._processes:
                if process.sentinel in ending:
                    process.join(_DYING_S)
            self._check(error)
            raise

    def _started(self) -> Iterator[T]:
        """Begin to read; what is started now inherits that stop signals are blocked."""
        self._loader = self._loader or self._make(**self._options)
        others = set(multiprocessing.active_children())
        try:
            with undisturbed(), _blocked_signals():
                self._iterator = iter(self._loader)
        finally:
            self._processes += [each for each in multiprocessing.active_children() if each not in others]
            _CHILDREN.install()
        return self._iterator

    def _check(self, error: BaseException | None = None) -> None:
        for process in self._processes:
            # A stream's worker ends by itself, with 0, when there is no more to read.
            if process.exitcode is not None and (process.exitcode or self._batches is not None):
                raise WorkerDied(_manner(process)) from error


class _ChildSignals:
    """Keeps torch's answer to a worker's death out of everything but the wait for a batch.

    torch raises an error wherever the main thread is when SIGCHLD comes: in an optimizer's step, or in the middle of
    a checkpoint's file, which then blames the disk.
    """

    def __init__(self) -> None:
        self._waiting = False
        self._theirs: Any = None

    def install(self) -> None:
        """Stand in front of the handler that torch has set."""
        there = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        main = threading.current_thread() is threading.main_thread()
        if main and callable(there) and there != self._handle:
            self._theirs = there
            signal.signal(signal.SIGCHLD, self._handle)

    @contextmanager
    def waited_for(self) -> Iterator[None]:
        """Report a death at once while the block runs."""
        self._waiting = threading.current_thread() is threading.main_thread()
        try:
            yield
        finally:
            self._waiting = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._waiting:
            try:
                self._theirs(number, frame)
            except RuntimeError as error:
                raise WorkerDied(str(error).strip()) from error


_CHILDREN = _ChildSignals()


def prepare_worker(_number: int) -> None:
    """Make a loader process: stop signals are the main process's matter, and it ends when that one does."""
    sys.excepthook = _report_unless_left
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        threading.Thread(target=_obey_parent, daemon=True).start()
    if sys.platform == "linux":
        # A killed main process's workers would hold memory, and what they inherited, for some seconds more.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _report_unless_left(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error of a thread, but not that the main process stopped in the middle of taking a batch."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _obey_parent() -> None:
    """End when the main process itself says so, as torch does at exit; the whole group's SIGTERM has another sender."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block stop signals in this thread; they come when it ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _manner(process: BaseProcess) -> str:
    code = process.exitcode or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"loader process {process.pid} {how}"


def _given_up(death: WorkerDied) -> WorkersError:
    message = f"{death}, and so were those that replaced it: {_MOST_DEATHS} times at the same images"
    tip = "often memory (or /dev/shm) is full: `overrides=['loader.workers=1']` or 0, then the same command goes on"
    return WorkersError(Problem("loader.workers", message, tip))
