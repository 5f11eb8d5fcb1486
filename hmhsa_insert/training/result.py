"""The result of a run: what its last file says, for tables and studies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import create_model

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.shapes import Shape, checked
from hmhsa_insert.training.problems import RunError
from hmhsa_insert.training.run_folder import RESULT

_DAMAGED_TIP = "remove it: the same training goes on from the last checkpoint there is, and writes it anew"
R = TypeVar("R", bound="RunResult")


@dataclass(frozen=True)
class RunResult:
    """What every finished run says.

    Attributes:
        folder: of the run.
        run_id: identity of the run.
        weights: ``model`` or ``ema``: what the scores are of; the averaged weights where there is an average.
        best_epoch, best_weights: the best evaluation of all epochs; its weights are in the artifact.
        epochs, updates, images: how much it was trained.
        num_params: of the network.
        macs, macs_modules_only: for one image, as :func:`hmhsa_insert.costs.count.count` counts them.
        damaged: names of images that could not be read.
    """

    folder: Path
    run_id: str
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

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the folder, as plain data."""
        values = asdict(self)
        del values["folder"]
        return values


@dataclass(frozen=True)
class TrainResult(RunResult):
    """A finished run of classification.

    Attributes:
        top1, top5: in percent, after the last epoch: no choice was made by looking at them.
        loss: cross-entropy on the validation split, after the last epoch.
        best_top1: of the best evaluation of all epochs.
    """

    top1: float
    top5: float
    loss: float
    best_top1: float


def read_result(folder: str | Path) -> TrainResult | None:
    """Return the result of a run of classification, or None if it is not finished.

    Raises:
        RunError: its file is damaged, or is of another task.
    """
    return read_result_as(TrainResult, folder)


def read_result_as(kind: type[R], folder: str | Path) -> R | None:
    """Return the result of a run as what its task writes, or None if it is not finished.

    Raises:
        RunError: its file is damaged, or is of another task.
    """
    path = Path(folder) / RESULT
    if not path.is_file():
        return None
    values = read_json_mapping(path, RunError, tip=_DAMAGED_TIP)
    if "task" in values and "task" not in kind.__dataclass_fields__:
        raise RunError(Problem(str(path), f"is the result of a run of the task '{values['task']}'"))
    hints = get_type_hints(kind) | {"damaged": list[str]}
    fields: dict[str, Any] = {name: (hint, ...) for name, hint in hints.items() if name != "folder"}
    checked(create_model(kind.__name__, __base__=Shape, **fields), values, path, RunError, _DAMAGED_TIP)
    known = {name: values[name] for name in fields} | {"damaged": tuple(values["damaged"])}
    return kind(folder=Path(folder), **known)
