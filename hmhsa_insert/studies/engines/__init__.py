"""Engines: what runs the trials of a study. All of them call the same ``run_trial`` and share one small protocol.

The study folder is the only truth: an engine may lose anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.trial import Outcome


@dataclass(frozen=True)
class Started:
    """A trial was handed to a process.

    Attributes:
        id: of the trial.
    """

    id: str


class Engine(Protocol):
    """Runs trials."""

    def run(self, folder: Path, trials: Sequence[Trial]) -> Iterator[Started | Outcome]:
        """Run every trial, and yield when one begins and what became of it, in any order.

        Closing the iterator, or an exception in it such as Ctrl-C's, has the trials under way save their place.

        Args:
            folder: of the study, seen alike by every process.
            trials: distinct ones, to be run or gone on with.

        Raises:
            StudyError: the engine cannot be used here.
            Stopped, KeyboardInterrupt: a signal came; everything is saved.
        """
