"""The shapes of the files of a training run; also for readers that do not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from hmhsa_insert.files.shapes import Count, Name, PathName, Percent, Shape, Share

# What is built around the backbone of a task: the key that names it.
_AROUND = {"detect": "detector", "segment": "detector", "semantic": "decoder"}
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
    task: Name | None = None
    detector: Name | None = None
    decoder: Name | None = None

    @property
    def around(self) -> str | None:
        """What is built around the network, if anything is."""
        return self.detector or self.decoder


class RunConfig(NamedRun):
    """What ``config.yaml`` holds: what determines a run."""

    data: _Data
    seed: int

    @model_validator(mode="after")
    def _says_what_is_around(self) -> RunConfig:
        for key in dict.fromkeys(_AROUND.values()):
            if (_AROUND.get(self.task or "") == key) != (getattr(self, key) is not None):
                raise ValueError(f"'task' and '{key}' go together")
        return self


class Image(Shape):
    """The settings of a run of classification, as far as a report reads them."""

    input_size: _Side


class _Sides(Shape):
    min_size: _Side
    max_size: _Side


class DetectorImages(Shape):
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


def scores_written(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``result.json`` says with its ``task`` and ``scores``, which version one wrote key by key.

    Args:
        result: the file's content, not checked yet.
    """
    if "scores" in result:
        return dict(result)
    values = {"task": "classify", **result}
    if values["task"] == "classify":
        scores: dict[str, Any] = {name: values[name] for name in ("top1", "top5", "loss") if name in values}
        return values | {"scores": scores, "best": values.get("best_top1")}
    found = {kind: values.get(kind) for kind in ("box", "mask")}
    averages = [(kind, each) for kind, each in found.items() if isinstance(each, Mapping)]
    scores = {f"{kind}_{name}".lower(): value for kind, each in averages for name, value in each.items()}
    return values | {"scores": scores}


def trial_written(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``trial.json`` says with its ``score`` and ``scores``, which version one wrote key by key."""
    if "scores" in row:
        return dict(row)
    scores = {name: row.get(name) for name in ("top1", "top5", "loss")}
    known = scores if row.get("status") == "done" else None
    return {**row, "score": "top1", "scores": known, "best": row.get("best_top1")}
