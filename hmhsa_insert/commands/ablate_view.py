"""Show a study: its plan, a live table of its trials, or without a terminal one line per trial."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from hmhsa_insert.commands.ablate_epochs import Epochs, Repeated
from hmhsa_insert.commands.console import notes, out
from hmhsa_insert.commands.naming import in_options
from hmhsa_insert.commands.printed import print_table
from hmhsa_insert.inert import visible
from hmhsa_insert.quantities import QUANTITIES, line
from hmhsa_insert.studies.ablate import finished
from hmhsa_insert.studies.cell import Cell, Trial
from hmhsa_insert.studies.plan_study import PlannedStudy
from hmhsa_insert.studies.trial import Outcome
from hmhsa_insert.studies.watcher import Unwatched, Watcher
from hmhsa_insert.tables import Table, left, right

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_SAY_EVERY_S = 60.0  # in a log, within an epoch
_STYLES = {"done": "green", "failed": "bold red", "running": "bold", "refused": "bold red"}


def watcher(quiet: bool = False) -> AbstractContextManager[Watcher]:
    """Return the display of a running study."""
    if quiet:
        return nullcontext(Unwatched())
    return _LiveTable() if notes.is_terminal else _Lines()


def print_plan(planned: PlannedStudy, folder: Path) -> None:
    """Print all trials of a study, with one row for those that differ only by their seeds, and what they take."""
    done = finished(folder, planned.distinct)
    print_table(_plan_table(planned, done))
    refused = (
        f"{each.cell.variant} is not trained on {each.cell.group}, which refuses it: {each.reason}"
        for each in planned.refused
    )
    for text in (*planned.notes, *refused):
        notes.print(in_options(visible(text)), style="dim")
    distinct = list(planned.distinct.values())
    images = sum(planned.images[trial.cell.digest] for trial in distinct)
    macs = sum(
        3 * (planned.costs[t.cell.digest]["macs"] or 0) * planned.images[t.cell.digest] for t in distinct
    )
    out.print(
        f"{len(planned.trials)} trials, {len(distinct)} distinct, {len(done)} done; {images:,} training images, "
        f"about {macs / 1e12:.3g} T MACs (forward and backward)"
    )


def _plan_table(planned: PlannedStudy, done: Container[str]) -> Table:
    """Return the cells of a study with what they cost, and how many trials of each are done."""
    cells: dict[tuple[str, str], list[Trial]] = {}
    for trial in planned.trials:
        cells.setdefault((trial.cell.variant, trial.cell.group), []).append(trial)
    named = _Names(planned.trials)
    costs = [
        each
        for each in QUANTITIES.values()
        if each.is_study_cost
        and each.study == "table"
        and any(each.field in c for c in planned.costs.values())
    ]
    headers = [*map(left, ("variant", *named.headers, "seeds")), *(right(each.header) for each in costs)]
    rows: list[list[str]] = []
    first: dict[str, str] = {}
    for trials in cells.values():
        cell = trials[0].cell
        cost = planned.costs[cell.digest]
        name = " · ".join([cell.variant, *named.of(cell)])
        same = first.setdefault(cell.digest, name)
        rows.append(
            [
                cell.variant if same == name else f"{cell.variant} (same as {same})",
                *named.of(cell),
                _ranges([trial.seed for trial in trials]),
                *(
                    "" if (value := cost.get(each.field)) is None else each.small_text(value)
                    for each in costs
                ),
                f"{sum(trial.id in done for trial in trials)}/{len(trials)}",
            ]
        )
    return Table.of("", [*headers, right("done")], rows)


class _Names:
    """Names of trials: made only from what differs in this study."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        kinds = {"model": "model", "settings": "settings_label", "data": "data"}
        self._keys = {
            header: key
            for header, key in kinds.items()
            if len({getattr(trial.cell, key) for trial in trials}) > 1
        }
        self.headers = tuple(self._keys)

    def of(self, cell: Cell) -> list[str]:
        """Return the text for every header."""
        return [str(getattr(cell, key)) for key in self._keys.values()]

    def line(self, trial: Trial) -> str:
        """Return one short name."""
        return " · ".join([trial.cell.variant, *self.of(trial.cell), f"seed {trial.seed}"])


class _Lines(Unwatched):
    """One line when a trial begins, when one of its epochs ends, each minute within one, and when it ends, for logs."""

    def __init__(self) -> None:
        self._epochs, self._chosen = Epochs(), dict[str, Trial]()
        self._printed: dict[str, int] = {}
        self._said: dict[str, float] = {}
        self._repeated = Repeated(self._print_epochs)

    def __enter__(self) -> Watcher:
        self._repeated.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._repeated.__exit__(*error)

    def begin(self, folder: Path, chosen: Sequence[Trial], done: Mapping[str, Outcome]) -> None:
        self._names, self._total, self._ended = _Names(chosen), len(chosen), len(done)
        self._began, self._before = time.monotonic(), len(done)
        self._folder, self._chosen = folder, {trial.id: trial for trial in chosen}
        several = "s" * (self._total != 1)
        notes.print(f"{self._total} trial{several}, {self._ended} of them done before", soft_wrap=True)

    def started(self, trial: Trial) -> None:
        self._epochs.began[trial.id] = self._said[trial.id] = time.monotonic()
        notes.print(visible(f"{self._names.line(trial)}  started"), soft_wrap=True)

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        self._epochs.began.pop(trial.id, None)
        if outcome.status == "busy":
            return
        self._ended += 1
        said = (
            line(trial.cell.column, outcome.score)
            if outcome.score is not None
            else f"{outcome.status}: {outcome.message}"
        )
        here = self._ended - self._before
        left = (time.monotonic() - self._began) / here * (self._total - self._ended)
        ended = f"{self._ended}/{self._total}  {self._names.line(trial)}  {said}"
        more = f"  ({_duration(left)} left)" if self._ended < self._total else ""
        notes.print(visible(ended + more), soft_wrap=True)

    def note(self, text: str) -> None:
        notes.print(visible(text), soft_wrap=True)

    def _print_epochs(self) -> None:
        """Print the epochs that ended since; of a trial's last one, its end tells."""
        if self._chosen:
            self._epochs.look(self._folder, self._chosen)
        for id, (epoch, score) in list(self._epochs.known.items()):
            trial = self._chosen[id]
            if (
                id not in self._epochs.began
                or not self._printed.get(id, 0) < epoch < trial.cell.settings.epochs
            ):
                continue
            self._printed[id] = epoch
            self._print_place(trial, epoch, line(trial.cell.column, score) if score is not None else "")
        for id, place in list(self._epochs.places.items()):
            if id in self._epochs.began and time.monotonic() - self._said[id] >= _SAY_EVERY_S:
                step = f"step {place.update:,}/{place.updates:,}"
                self._print_place(self._chosen[id], place.epoch, step)

    def _print_place(self, trial: Trial, epoch: int, said: str) -> None:
        self._said[trial.id] = time.monotonic()
        left = self._epochs.left(trial)
        more = f"  ({_duration(left)} left)" if left is not None else ""
        place = f"epoch {epoch}/{trial.cell.settings.epochs}"
        notes.print(visible(f"{self._names.line(trial)}  {place}  {said}{more}"), soft_wrap=True)


class _LiveTable(Unwatched):
    """A table that follows the trials' folders: what is running, what ended last, what comes next."""

    def __init__(self) -> None:
        self._chosen: dict[str, Trial] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._epochs, self._folder = Epochs(), Path()
        self._began, self._before = time.monotonic(), 0
        self._note = ""
        self._live = Live(get_renderable=self._table, console=notes, refresh_per_second=2)

    def __enter__(self) -> Watcher:
        self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._live.stop()

    def begin(self, folder: Path, chosen: Sequence[Trial], done: Mapping[str, Outcome]) -> None:
        self._folder, self._names = folder, _Names(chosen)
        self._chosen = {trial.id: trial for trial in chosen}
        self._outcomes, self._before = dict(done), len(done)
        self._began = time.monotonic()

    def started(self, trial: Trial) -> None:
        self._epochs.began[trial.id] = time.monotonic()

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        self._epochs.began.pop(trial.id, None)
        self._outcomes[trial.id] = outcome

    def note(self, text: str) -> None:
        self._note = text

    def _table(self) -> RichTable:
        self._epochs.look(self._folder, self._chosen)
        table = RichTable(
            box=box.SIMPLE_HEAD, pad_edge=False, caption=Text(self._summary()), caption_justify="left"
        )
        columns = (("state", 0), ("trial", 0), ("epoch", 1), ("step", 1), ("score", 1), ("left", 1))
        for header, numeric in columns:
            table.add_column(
                header, justify="right" if numeric else "left", no_wrap=True, overflow="ellipsis"
            )
        for trial in self._shown():
            outcome = self._outcomes.get(trial.id)
            state: str = outcome.status if outcome else "waiting"
            if trial.id in self._epochs.began:
                state = "running" if trial.id in self._epochs.known else "starting"
            epoch, score = self._epochs.known.get(trial.id, (0, None))
            place = self._epochs.places.get(trial.id) if trial.id in self._epochs.began else None
            score = outcome.score if outcome and outcome.score is not None else score
            of = trial.cell.settings.epochs
            table.add_row(
                Text(state, style=_STYLES.get(state, "dim")),
                visible(
                    self._names.line(trial) + (f": {outcome.message}" if outcome and outcome.message else "")
                ),
                f"{of if state == 'done' else epoch}/{of}",
                f"{place.update}/{place.updates}" if place is not None else "",
                line(trial.cell.column, score) if score is not None else "",
                "" if (left := self._epochs.left(trial)) is None else _duration(left),
            )
        return table

    def _shown(self) -> list[Trial]:
        """Return the trials that there is room for: failed, running, the last that ended, the next."""
        room = max(4, notes.height - 7)
        waiting = [id for id in self._chosen if id not in self._outcomes and id not in self._epochs.began]
        failed = [id for id, outcome in self._outcomes.items() if outcome.status == "failed"][-room // 3 :]
        done = [id for id in self._outcomes if id not in failed and id not in self._epochs.began]
        under_way = list(self._epochs.began)[:room]
        rest = max(0, room - len(failed) - len(under_way))
        kept = {*failed, *under_way, *done[-max(1, rest // 2) :]}
        kept |= set(waiting[: max(0, room - len(kept))])
        return [trial for id, trial in self._chosen.items() if id in kept]

    def _summary(self) -> str:
        total, ended = len(self._chosen), len(self._outcomes)
        failed = sum(outcome.status == "failed" for outcome in self._outcomes.values())
        under_way = sum(
            self._epochs.done(id) / self._chosen[id].cell.settings.epochs for id in self._epochs.began
        )
        here = ended - self._before + under_way
        elapsed = time.monotonic() - self._began
        left = f", about {_duration(elapsed / here * (total - ended - under_way))} left" if here else ""
        said = f"{ended} of {total} trials ended" + (f", {failed} failed" if failed else "") + left
        return f"{said}\n{visible(self._note)}" if self._note else said


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _ranges(seeds: Sequence[int]) -> str:
    """Return ``0–2, 7`` for 0, 1, 2, 7."""
    parts: list[list[int]] = []
    for seed in sorted(seeds):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in parts)
