"""The result of a run: what its last file says, for tables and studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from pydantic import create_model

from hmhsa_insert.errors import Problem, listed
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.numbers import big
from hmhsa_insert.files.run_shapes import scores_written
from hmhsa_insert.files.shapes import Shape, checked
from hmhsa_insert.printed import Printed
from hmhsa_insert.quantities import score
from hmhsa_insert.tables import Table, left, right
from hmhsa_insert.tasks.table import task_class
from hmhsa_insert.training.problems import RunError
from hmhsa_insert.training.run_folder import RESULT

_DAMAGED_TIP = "remove it: the same training goes on from the last checkpoint there is, and writes it again"
Scores = Mapping[str, float | None]


@dataclass(frozen=True, repr=False)
class RunResult(Printed):
    """What every finished run says, whatever its task.

    Attributes:
        folder: of the run.
        run_id: identity of the run.
        task: the name of its task.
        weights: ``model`` or ``ema``: which weights `scores` belong to; the averaged ones where there is an EMA.
        best_epoch, best_weights: the best evaluation of all epochs; its weights are in the artifact.
        epochs, updates, images: how much it was trained.
        num_params: of the network.
        macs, macs_modules_only: for one image, as :func:`hmhsa_insert.costs.count.count` counts them.
        damaged: names of images that could not be read.
        scores: by name, after the last epoch: no choice was made by looking at them.
        best: the best value of the task's own score, of all epochs.
    """

    folder: Path
    run_id: str
    task: str
    weights: str
    best_epoch: int
    best_weights: str
    epochs: int
    updates: int
    images: int
    num_params: int
    macs: int
    macs_modules_only: int
    damaged: tuple[str, ...]
    scores: Scores
    best: float
    # Scores that a finished run of the task always says.
    required: ClassVar[tuple[str, ...]] = ()

    def tables(self) -> Sequence[Table]:
        """Return the scores after the last epoch, the best one, and what was trained for how long."""
        rows = [(name, _written(name, value)) for name, value in self.scores.items()]
        rows += [("best, of all epochs", f"{self.best:.6g} (epoch {self.best_epoch}, {self.best_weights})")]
        rows += [("parameters", big(self.num_params)), ("MACs", big(self.macs))]
        plural = "s" if self.epochs != 1 else ""
        title = (
            f"{self.folder.name}: {self.task}, {self.epochs} epoch{plural}, {self.updates:,} optimizer steps"
        )
        notes = [
            f"scores after the last epoch, of the weights '{self.weights}'; everything is in {self.folder}"
        ]
        notes += [f"{len(self.damaged)} damaged images were skipped"] if self.damaged else []
        return [Table.of(title, [left("score"), right("value")], rows, notes)]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the folder, as plain data."""
        values = asdict(self)
        del values["folder"]
        return values


def _written(name: str, value: float | None) -> str:
    return "–" if value is None else score(name).text(value)


def read_result(folder: str | Path) -> RunResult | None:
    """Return the result of a run, as its task's own :class:`RunResult`; None if the run is not finished.

    Raises:
        RunError: its file is damaged, or of a task that is not known.
    """
    path = Path(folder) / RESULT
    if not path.is_file():
        return None
    values = scores_written(read_json_mapping(path, RunError, tip=_DAMAGED_TIP))
    hints = {each.name: get_type_hints(RunResult)[each.name] for each in fields(RunResult)}
    hints |= {"damaged": list[str], "scores": dict[str, float | None]}
    shape: dict[str, Any] = {name: (hint, ...) for name, hint in hints.items() if name != "folder"}
    checked(create_model("RunResult", __base__=Shape, **shape), values, path, RunError, _DAMAGED_TIP)
    known = {name: values[name] for name in shape} | {"damaged": tuple(values["damaged"])}
    kind: type[RunResult] = task_class(values["task"], str(path)).result_type
    if missing := [name for name in kind.required if known["scores"].get(name) is None]:
        raise RunError(Problem(str(path), f"it is damaged: it has no {listed(missing)}", _DAMAGED_TIP))
    return kind(folder=Path(folder), **known)


def score_name(column: str) -> str:
    """Return what results, trials and reports call the score of a column of ``metrics.csv``."""
    return column.removeprefix("val_").lower()
