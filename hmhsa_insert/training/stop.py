"""Ctrl-C and SIGTERM: asked for at any moment, answered after the update under way."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from accelerate import Accelerator

# Asking all processes needs them to talk to each other: not after every update.
_EVERY = 20


class StopRequest:
    """Within its context, the first signal is noted and the second one acts as it would without.

    Attributes:
        signal: the number of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        # Python delivers signals to the main thread alone, and lets no other one set handlers.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def asked(self, accelerator: Accelerator, update: int) -> bool:
        """Say whether any process was asked to stop; all processes call this after the same update."""
        if accelerator.num_processes == 1:
            return self.signal is not None
        if update % _EVERY:
            return False
        if self.signal is not None:
            accelerator.set_trigger()
        stop = bool(accelerator.check_trigger())
        if stop and self.signal is None:
            self.signal = signal.SIGINT
        return stop

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
