"""What type checkers are told of ``hi.train`` and ``hi.evaluate``: the class of a result depends on the task.

The functions are in ``training/``, which knows no task; a task that is not named here has what all tasks have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, Unpack, overload

from torch import nn

from hmhsa_insert.detection.evaluation import Detection
from hmhsa_insert.detection.result import DetectResult
from hmhsa_insert.recipe import RecipeSource
from hmhsa_insert.segmentation.result import SemanticResult
from hmhsa_insert.segmentation.scores import Segmented
from hmhsa_insert.tasks.classify import ClassifyResult
from hmhsa_insert.training.evaluation import Evaluation
from hmhsa_insert.training.interfaces import DataSource, Evaluated
from hmhsa_insert.training.reporter import Reporter
from hmhsa_insert.training.result import RunResult
from hmhsa_insert.training.run_schema import RunSettings

Objects = Literal["detect", "segment"]
Model = str | Path | nn.Module
Source = str | Path | DataSource | None


class TrainArguments(TypedDict, total=False):
    """What ``hi.train`` takes by name besides the task, and what only some tasks take."""

    recipe: RecipeSource | None
    settings: str | Path | Mapping[str, Any] | RunSettings | None
    overrides: Sequence[str]
    seed: int
    folder: str | Path | None
    data_dir: str | Path | None
    weights: str | Path | None
    pretrained: bool
    input_size: int | Sequence[int] | None
    allow_code: bool
    reporter: Reporter | None


class DetectArguments(TrainArguments, total=False):
    """What it takes of detectors, too."""

    detector: str


class SemanticArguments(TrainArguments, total=False):
    """What it takes of segmenters, too."""

    decoder: str


class EvaluateArguments(TypedDict, total=False):
    """What ``hi.evaluate`` takes by name besides the task."""

    overrides: Sequence[str]
    data_dir: str | Path | None
    weights: str | Path | None
    checkpoint: str | None
    pretrained: bool
    input_size: int | Sequence[int] | None
    allow_code: bool
    renamed: Mapping[str, str] | None


class Train(Protocol):
    """:func:`hmhsa_insert.training.run.train`: the task says which result it returns."""

    @overload
    def __call__(
        self,
        model: Model,
        data: Source = None,
        *,
        task: Literal["classify"] = "classify",
        **options: Unpack[TrainArguments],
    ) -> ClassifyResult: ...

    @overload
    def __call__(
        self, model: Model, data: Source = None, *, task: Objects, **options: Unpack[DetectArguments]
    ) -> DetectResult: ...

    @overload
    def __call__(
        self,
        model: Model,
        data: Source = None,
        *,
        task: Literal["semantic"],
        **options: Unpack[SemanticArguments],
    ) -> SemanticResult: ...

    @overload
    def __call__(self, model: Model, data: Source = None, *, task: str, **options: Any) -> RunResult: ...


class Evaluate(Protocol):
    """:func:`hmhsa_insert.training.score.evaluate`: where no task is named, what every evaluation has is known."""

    @overload
    def __call__(
        self,
        model: Model,
        data: Source = None,
        *,
        task: Literal["classify"],
        **options: Unpack[EvaluateArguments],
    ) -> Evaluation: ...

    @overload
    def __call__(
        self, model: Model, data: Source = None, *, task: Objects, **options: Unpack[EvaluateArguments]
    ) -> Detection: ...

    @overload
    def __call__(
        self,
        model: Model,
        data: Source = None,
        *,
        task: Literal["semantic"],
        **options: Unpack[EvaluateArguments],
    ) -> Segmented: ...

    @overload
    def __call__(
        self,
        model: Model,
        data: Source = None,
        *,
        task: str | None = None,
        **options: Unpack[EvaluateArguments],
    ) -> Evaluated: ...
