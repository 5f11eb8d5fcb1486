"""The result of a detector's run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hmhsa_insert.detection.metric import Scores
from hmhsa_insert.training.result import RunResult, read_result_as


@dataclass(frozen=True)
class DetectResult(RunResult):
    """A finished run of detection or segmentation.

    Attributes:
        task: ``detect`` or ``segment``.
        detector: its name, such as ``retinanet``.
        box: AP, AP50, AP75, APs, APm and APl of boxes after the last epoch, as shares; None: there was nothing to find.
        mask: the same of masks; None for a detector without masks.
        best: the best AP of all epochs, of masks where there are masks.
    """

    task: str
    detector: str
    box: Scores
    mask: Scores | None
    best: float


def read_detect_result(folder: str | Path) -> DetectResult | None:
    """Return the result of a run of detection or segmentation, or None if it is not finished.

    Raises:
        RunError: its file is damaged, or is of another task.
    """
    return read_result_as(DetectResult, folder)
