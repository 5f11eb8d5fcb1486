"""What the files of a training run hold; read here by those that know no torch, too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hmhsa_insert.files.shapes import Count, Name, Percent, Shape, Share

_Side = Annotated[int, Field(ge=1, le=1 << 20)]


class _Data(Shape):
    source: Name
    val: Count
    classes: Annotated[int, Field(ge=1, le=10**7)]
    channels: Annotated[int, Field(ge=1, le=10**4)]


class _Recipe(Shape):
    name: Name


class RunConfig(Shape):
    """What ``config.yaml`` holds: what determines a run."""

    model: Name
    recipe: _Recipe | None
    data: _Data
    seed: int
    settings: dict[str, Any]
    task: Literal["detect", "segment"] | None = None
    detector: Name | None = None


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
    """What ``result.json`` says of the network, whatever the task."""

    num_params: Count | None = None
    macs: Count | None = None
    macs_modules_only: Count | None = None


class Accuracy(Costs):
    """The ``result.json`` of classification."""

    top1: Percent


class Averages(Shape):
    """COCO's averages, as shares; None where there was nothing to find."""

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
