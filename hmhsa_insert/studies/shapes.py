"""What the files of a study's folder hold; read by ``ablate`` and, without torch, by reports."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from hmhsa_insert.files.shapes import Count, Percent, Quantity, Shape

_Id = Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
_Hex = Annotated[str, StringConstraints(pattern="^([0-9a-f]{2})*$")]


class _Known(Shape):
    model_config = ConfigDict(extra="ignore")


class Listed(_Known):
    """A trial as ``study.json`` lists it."""

    id: _Id
    variant: str
    model: str
    recipe: str | None
    settings: str
    data: str
    seed: int
    group: str
    baseline: bool


class StudyShape(_Known):
    """The content of ``study.json``."""

    kind: Literal["study"]
    version: Literal[1]
    name: str
    intent: str
    baseline: str
    variants: list[str]
    trials: list[Listed]
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _lists_a_trial_once(self) -> StudyShape:
        listed = [(trial.id, trial.variant, trial.model, trial.settings, trial.data) for trial in self.trials]
        if again := [trial for trial, times in Counter(listed).items() if times > 1]:
            raise ValueError(f"trials has {again[0][0]} of '{again[0][1]}' more than once")
        return self


class TrialShape(_Known):
    """The content of ``trial.json``."""

    id: _Id
    status: Literal["done", "failed"]
    message: str
    score: str | None = "top1"
    scores: dict[str, float | None] | None = None
    best: float | None = None
    top1: Percent | None = None
    top5: Percent | None = None
    loss: float | None = None
    best_top1: Percent | None = None
    epochs: Count | None = None
    updates: Count | None = None
    images: Count | None = None
    num_params: Count | None = None
    macs: Count | None = None
    macs_modules_only: Count | None = None
    memory_bytes: Quantity | None = None
    val_images: Count | None = None
    correct: _Hex | None = None
    seconds: Quantity | None = None
    processes: Count | None = None
    device: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_scores_by_name(cls, row: Any) -> Any:
        if isinstance(row, dict) and isinstance(row.get("scores"), dict) and row.get("score") == "top1":
            return row | row["scores"] | {"best_top1": row.get("best")}
        return row

    @model_validator(mode="after")
    def _is_whole(self) -> TrialShape:
        if self.status == "done" and self.top1 is None and self.scores is None:
            raise ValueError("a trial that is done has a top1")
        if self.correct is not None and len(self.correct) // 2 != -(-(self.val_images or 0) // 8):
            raise ValueError("correct does not have one bit for each of val_images")
        return self
