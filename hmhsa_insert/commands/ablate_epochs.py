"""The epochs of trials under way, read from their folders: they may run anywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from hmhsa_insert.files.json_text import parse_json
from hmhsa_insert.files.text import RECORD, read_file
from hmhsa_insert.studies.cell import Trial
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.steps import Place, read_place
from hmhsa_insert.studies.store import trial_folder

_LOOK_EVERY_S = 1.0


class Epochs:
    """The last epoch of each trial under way, and its score.

    Attributes:
        known: epoch and score by trial; epoch 0 of one whose folder is there.
        places: where each trial under way is within its epoch, if it says so.
        began: when each trial under way was started, by ``time.monotonic``.
    """

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, float | None]] = {}
        self.places: dict[str, Place] = {}
        self.began: dict[str, float] = {}
        self._looked = 0.0

    def look(self, folder: Path, trials: Mapping[str, Trial]) -> None:
        """Read the progress of trials under way, unless that was done a moment ago."""
        if time.monotonic() - self._looked < _LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        for id in list(self.began):
            path = trial_folder(folder, id) / "metrics.jsonl"
            if (place := read_place(path.parent)) is not None:
                self.places[id] = place
            if path.parent.is_dir():
                self.known.setdefault(id, (0, None))
            try:
                last = read_file(path, StudyError, RECORD).splitlines()[-1]
                row = parse_json(last, str(path), StudyError)
                column = trials[id].cell.column
                self.known[id] = (int(row["epoch"]), float(row.get(f"ema_{column}", row[column])))
            except (StudyError, LookupError, TypeError, AttributeError, ValueError):
                continue  # no epoch has ended yet

    def done(self, id: str) -> float:
        """Return the epochs of a trial that are done, with the part of the one under way."""
        place = self.places.get(id)
        return max(self.known.get(id, (0, None))[0], place.epochs_done if place is not None else 0.0)

    def left(self, trial: Trial) -> float | None:
        """Return the seconds that a trial under way will take yet, if what comes is as what was done."""
        done, began = self.done(trial.id), self.began.get(trial.id)
        if began is None or not done:
            return None
        return (time.monotonic() - began) * (trial.cell.settings.epochs - done) / done


class Repeated:
    """Within its context, a function is called about every second, in a thread: engines do not return meanwhile."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            self._act()
