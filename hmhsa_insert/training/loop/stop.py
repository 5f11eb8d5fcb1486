"""Stop signals: noted at any moment, answered where the place can be saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator

# Ctrl-C; Slurm, systemd, Kubernetes; a terminal that was closed.
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

# Asking all processes needs them to talk to each other: not after every update.
_EVERY = 20

# Slurm, a shell's trap and torchrun pass one stop on two or three times: within so many seconds it is the same one.
_PATIENCE_S = 10.0


class Interrupted(BaseException):
    """A wait was given up because of a stop signal; no `Exception`, which readers of damaged images catch."""


_ACTIVE: list[StopRequest] = []
_UNDISTURBED: list[None] = []


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep signals from raising until the block ends: Python swallows what is raised while it forks."""
    _UNDISTURBED.append(None)
    try:
        yield
    finally:
        _UNDISTURBED.pop()
    for request in _ACTIVE:
        request.raise_if_noted()


class StopRequest:
    """Within its context a signal is noted; one that comes long after the first acts as it would without.

    Attributes:
        signal: the number of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._noted_at = 0.0
        self._may_raise = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        _ACTIVE.append(self)
        # Python delivers signals to the main thread alone, and lets no other one set handlers.
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                # nohup ignores SIGHUP, and so does the run that it starts.
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ACTIVE.remove(self)
        self._restore()

    @contextmanager
    def interruptible(self, allowed: bool = True) -> Iterator[None]:
        """Let a signal that came, or comes while the block runs, raise :class:`Interrupted` if `allowed`."""
        self._may_raise = allowed
        try:
            self.raise_if_noted()
            yield
        finally:
            self._may_raise = False

    def raise_if_noted(self) -> None:
        """Raise :class:`Interrupted`, once, if a signal came and a wait may be given up."""
        if self._may_raise and self.signal is not None:
            self._may_raise = False
            raise Interrupted

    def _note(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._noted_at = number, now
        elif now - self._noted_at > _PATIENCE_S:
            self._restore()
            signal.raise_signal(number)
            return
        if not _UNDISTURBED:
            self.raise_if_noted()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def agreed(accelerator: Accelerator, update: int | None, *wishes: bool) -> tuple[bool, ...]:
    """Return which wishes any process has; all processes call this after the same update.

    Args:
        accelerator: knows the processes.
        update: its number, of which several processes ask one another only now and then; None: they ask now.
        wishes: of this process.
    """
    if accelerator.num_processes == 1:
        return wishes
    if update is not None and update % _EVERY:
        return (False,) * len(wishes)
    asked = torch.tensor([float(wish) for wish in wishes], device=accelerator.device)
    total: torch.Tensor = accelerator.reduce(asked, reduction="sum")
    return tuple(count > 0 for count in total.tolist())
