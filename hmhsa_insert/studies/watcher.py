"""Who is told what a study does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.trial import Outcome


class Watcher(Protocol):
    """Receive what a study does."""

    def begin(self, folder: Path, chosen: Sequence[Trial], done: Mapping[str, Outcome]) -> None:
        """The trials that this call is about, of which some are done already."""

    def started(self, trial: Trial) -> None:
        """A trial was handed to a process."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Something became of a trial."""

    def note(self, text: str) -> None:
        """Something was found."""


class Unwatched:
    """A watcher that says nothing; a base for one that says something."""

    def begin(self, folder: Path, chosen: Sequence[Trial], done: Mapping[str, Outcome]) -> None:
        """Do nothing."""

    def started(self, trial: Trial) -> None:
        """Do nothing."""

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""
