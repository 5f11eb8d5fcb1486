"""How far a trial is within its epoch, in a file of its folder: whoever watches the study may be another process."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hmhsa_insert.files.text import RECORD, read_file
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.training.reporter import OptimizerStep, Silent
from hmhsa_insert.training.run_folder import PROGRESS

_WRITE_EVERY_S = 1.0


class Place(NamedTuple):
    """Where a training is: the epoch under way, from 1, and its updates that are done, of how many."""

    epoch: int
    update: int
    updates: int

    @property
    def epochs_done(self) -> float:
        """The epochs that are done, with the part of the one under way."""
        return self.epoch - 1 + min(1.0, self.update / max(1, self.updates))


class Steps(Silent):
    """Writes about every second where a training is; the file is gone when it ends."""

    def __init__(self, folder: Path) -> None:
        self._path, self._wrote = folder / PROGRESS, 0.0

    def step(self, step: OptimizerStep) -> None:
        """Write the place, unless that was done a moment ago."""
        if (now := time.monotonic()) - self._wrote >= _WRITE_EVERY_S or not self._wrote:
            self._wrote = now
            with suppress(OSError):  # a full disk: then nobody sees it
                self._path.write_text(f"{step.epoch} {step.update} {step.updates}\n", encoding="ascii")

    def end(self) -> None:
        """Remove the file."""
        if self._wrote:
            self._path.unlink(missing_ok=True)


def read_place(folder: Path) -> Place | None:
    """Return where the training of a folder is; None where it does not say, or is writing just now."""
    try:
        epoch, update, updates = map(int, read_file(folder / PROGRESS, StudyError, RECORD).split())
    except (StudyError, ValueError):
        return None
    return Place(epoch, update, updates)
