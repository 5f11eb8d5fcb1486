"""What the files of a study's folder hold; read by ``ablate`` and, without torch, by reports."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from hmhsa_insert.files.shapes import Count, Name, Percent, Quantity, Shape
from hmhsa_insert.quantities import by_field

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


# What can stand in a block's place, to tell what the block itself does.
CONTROLS = ("placebo", "matched")


class ControlOf(_Known):
    """What ``study.json`` says of a variant that is a control: of which one, and which kind."""

    of: str
    control: Name


class Refused(_Known):
    """A recipe that a network refuses, as ``study.json`` lists it."""

    variant: str
    group: str
    reason: str


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
    score: Name = "top1"
    controls: dict[str, ControlOf] | None = None
    refused: list[Refused] = Field(default_factory=list)
    asked: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _lists_a_trial_once(self) -> StudyShape:
        listed = [(trial.id, trial.variant, trial.model, trial.settings, trial.data) for trial in self.trials]
        if again := [trial for trial, times in Counter(listed).items() if times > 1]:
            raise ValueError(f"trials has {again[0][0]} of '{again[0][1]}' more than once")
        return self

    @model_validator(mode="after")
    def _is_compared_by_a_score(self) -> StudyShape:
        # It is a column of the trials, and X_mean one of the variants.
        columns = {*Listed.model_fields, *TrialShape.model_fields, "diff"}
        if self.score in columns - set(SCORES_OF_TRIALS):
            raise ValueError(f"'score' must be a score's name, found '{self.score}'")
        return self


# Scores that classification has beside `scores`, which hold those of all other tasks.
SCORES_OF_TRIALS = ("top1", "top5", "loss", "best_top1")


class _Removed(_Known):
    block: str
    val_loss: float


class PrunedShape(_Known):
    """The content of ``pruned/ID.json``: which blocks of a trained network went, the first first."""

    whole: _Id
    removed: list[_Removed]


class TrialShape(_Known):
    """The content of ``trial.json``."""

    id: _Id
    status: Literal["done", "failed"]
    message: str
    score: str | None = "top1"
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
    costs: dict[Name, int | float | None] | None = None
    scores: dict[Name, float | None] | None = None
    val_images: Count | None = None
    correct: _Hex | None = None
    seconds: Quantity | None = None
    processes: Count | None = None
    device: str | None = None
    kept: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_scores_by_name(cls, row: Any) -> Any:
        if isinstance(row, dict) and row.get("score") == "top1" and isinstance(row.get("scores"), dict):
            return row | row["scores"] | {"best_top1": row.get("best")}
        return row

    @model_validator(mode="after")
    def _is_whole(self) -> TrialShape:
        if self.status == "done" and self.top1 is None and not self.scores:
            raise ValueError("a trial that is done has a top1, or other scores")
        if self.correct is not None and len(self.correct) // 2 != -(-(self.val_images or 0) // 8):
            raise ValueError("correct does not have one bit for each of val_images")
        known = by_field() if self.costs else {}
        for name, cost in (self.costs or {}).items():
            if cost is not None and name in known and not known[name].kind.allows(cost):
                raise ValueError(f"'costs' has what '{name}' cannot be, {cost}")
        return self
