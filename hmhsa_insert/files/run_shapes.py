"""The shapes of the files of a training run; also for readers that do not import torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hmhsa_insert.files.shapes import Count, Name, PathName, Percent, Shape, Share

_Side = Annotated[int, Field(ge=1, le=1 << 20)]


class _Scored(Shape):
    source: PathName
    val: Count


class _Data(_Scored):
    classes: Annotated[int, Field(ge=1, le=10**7)]
    channels: Annotated[int, Field(ge=1, le=10**4)]
    fingerprint: str
    names_fingerprint: str | None = None
    class_names: list[str] | None = None

    @model_validator(mode="after")
    def _names_every_class(self) -> _Data:
        if self.class_names is not None and len(self.class_names) != self.classes:
            raise ValueError(f"'class_names' must be {self.classes:,} names, found {len(self.class_names):,}")
        return self


class _Recipe(Shape):
    name: Name


class NamedRun(Shape):
    """What ``config.yaml`` holds, as far as a report reads it."""

    model: Name
    recipe: _Recipe | None
    data: _Scored
    settings: dict[str, Any]
    detector: Name | None = None


class RunConfig(NamedRun):
    """What ``config.yaml`` holds: what determines a run."""

    data: _Data
    seed: int
    task: Literal["detect", "segment"] | None = None

    @model_validator(mode="after")
    def _is_of_one_task(self) -> RunConfig:
        if (self.task is None) != (self.detector is None):
            raise ValueError("'task' and 'detector' go together")
        return self


class Image(Shape):
    """The settings of a run of classification, as far as a report reads them."""

    input_size: _Side


class _Sides(Shape):
    min_size: _Side
    max_size: _Side


class Images(Shape):
    """The settings of a detector's run, as far as a report reads them."""

    detector: _Sides


class Costs(Shape):
    """What ``result.json`` says about the network, for all tasks."""

    num_params: Count | None = None
    macs: Count | None = None
    macs_modules_only: Count | None = None


class Accuracy(Costs):
    """The ``result.json`` of classification."""

    top1: Percent


class Averages(Shape):
    """COCO's averages, from 0 to 1; None if there was nothing to find."""

    AP: Share | None
    AP50: Share | None = None
    AP75: Share | None = None
    APs: Share | None = None
    APm: Share | None = None
    APl: Share | None = None


class Precision(Costs):
    """The ``result.json`` of detection and segmentation."""

    box: Averages | None = None
    mask: Averages | None = None


class Here(Shape):
    """What ``environment.json`` says, as far as a study reads it."""

    processes: Annotated[int, Field(ge=1, le=10**6)]
    device: Name
    versions: dict[str, str]
