"""The engine that needs nothing: one trial after the other, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.engines import Started
from hmhsa_insert.studies.trial import Outcome, run_trial


class LocalEngine:
    """Runs trials in this process."""

    def run(self, folder: Path, trials: Sequence[Trial]) -> Iterator[Started | Outcome]:
        """Do as :meth:`Engine.run`."""
        for trial in trials:
            yield Started(trial.id)
            yield run_trial(folder, trial)
