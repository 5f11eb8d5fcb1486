"""``hi.detector``: torchvision's detectors on any located network, with their own pyramid, anchors, losses, transforms.

Classes are numbered as torchvision does: 0 is the background, so `num_classes` is one more than the categories.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.detection.backbone import pyramid_backbone
from hmhsa_insert.detection.given import given_network, normalization
from hmhsa_insert.detection.heads import PYRAMID_CHANNELS, anchors, heads
from hmhsa_insert.detection.resize import DetectorTransform
from hmhsa_insert.errors import ModelError, Problem, near
from hmhsa_insert.surgery.artifact.identify import identify
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.base.load import ModelSource

RECORD = "_hmhsa_insert_detector"


@dataclass(frozen=True)
class DetectorKind:
    """One of torchvision's detectors.

    Attributes:
        name, title: for commands, and as papers write it.
        build: torchvision's class.
        strides: of the backbone's maps that its pyramid takes.
        masks: whether it segments instances.
    """

    name: str
    title: str
    build: Callable[..., nn.Module]
    strides: tuple[int, ...]
    masks: bool = False


DETECTORS: Mapping[str, DetectorKind] = {
    kind.name: kind
    for kind in (
        DetectorKind("retinanet", "RetinaNet", RetinaNet, (8, 16, 32)),
        DetectorKind("fasterrcnn", "Faster R-CNN", FasterRCNN, (4, 8, 16, 32)),
        DetectorKind("maskrcnn", "Mask R-CNN", MaskRCNN, (4, 8, 16, 32), masks=True),
    )
}


@dataclass(frozen=True)
class DetectorRecord:
    """How a detector was built, weights apart: what builds it again around the same network.

    Attributes:
        kind: its name in :data:`DETECTORS`.
        num_classes: with the background.
        categories: the data's category ids and names, in the order of the labels 1, 2, …; empty if not given.
        input_size: (C, H, W) at which the backbone's stages were measured.
        options: the other arguments of :func:`detector`.
        source: what builds the backbone's base network again; None if nothing known does.
    """

    kind: str
    num_classes: int
    categories: Mapping[int, str]
    input_size: Size
    options: Mapping[str, Any] = field(default_factory=dict)
    source: ModelSource | None = None


@reads_arguments
def detector(
    kind: str,
    backbone: str | Path | nn.Module,
    num_classes: int | None = None,
    *,
    categories: Mapping[int, str] | None = None,
    input_size: InputSize = None,
    min_size: int | Sequence[int] = 800,
    max_size: int = 1333,
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    trainable_stages: int | None = None,
    frozen_norm: bool = False,
    pretrained: bool = False,
    pyramid_channels: int = PYRAMID_CHANNELS,
    anchor_size: int = 32,
    group_norm: bool = False,
    **options: Any,
) -> nn.Module:
    """Return one of torchvision's detectors with `backbone` and a feature pyramid on its stages.

    RetinaNet takes strides 8 to 32 and makes P6 and P7 from the last; Faster and Mask R-CNN take 4 to 32. The result
    is an instance of torchvision's class: call it with a list of C×H×W images in [0, 1] (and targets, in training).

    Args:
        kind: ``retinanet``, ``fasterrcnn`` or ``maskrcnn``.
        backbone: a network, edited or not, which is copied; a name that ``load_model`` takes; an artifact's folder.
        num_classes: with the background as class 0; default one more than `categories`, else 91 as for COCO's ids.
        categories: the data's category ids and names, in the order of the labels 1, 2, ….
        input_size: at which the stages are measured: 224 for a square, (H, W) or (C, H, W); default what the network
            was made for.
        min_size: images are scaled to this shorter side;
        max_size: or to this longer side, if that comes first.
        image_mean: of the backbone's normalization; default what the network says (timm), else ImageNet's.
        image_std: likewise.
        trainable_stages: only the last so many stages train (and inserted blocks); default all of the network.
        frozen_norm: the base network's BatchNorms stand still, as detectors with pretrained weights have them.
        pretrained: for a name: with the library's weights.
        pyramid_channels: of the pyramid; the heads behind a narrower one are narrower in proportion.
        anchor_size: side of the finest level's smallest anchors, doubled level by level.
        group_norm: GroupNorm in the pyramid and in the heads of RetinaNet and of masks, as torchvision's second ones
            have norms there: it learns faster where nothing is pretrained.
        options: of torchvision's class, by name, such as ``score_thresh`` or ``box_detections_per_img``: numbers.

    Raises:
        ModelError: no such detector, fewer than two classes, a network that lacks a stride.
        PlanError, ArtifactError, WeightsError: as the functions it calls.

    Example:
        >>> import torch
        >>> import hmhsa_insert as hi
        >>> model = hi.detector("retinanet", "test_resnet", num_classes=3, min_size=64, max_size=64).eval()
        >>> (found,) = model([torch.zeros(3, 64, 64)])
        >>> sorted(found)
        ['boxes', 'labels', 'scores']
    """
    chosen = _kind(kind)
    _check_options(chosen, options)
    classes = _num_classes(num_classes, categories)
    model, size = given_network(backbone, input_size, pretrained)
    mean, std = normalization(model, size, image_mean, image_std)
    freezing = {"trainable_stages": trainable_stages, "frozen_norm": frozen_norm}
    source = identify(model)
    body = pyramid_backbone(
        model,
        chosen.strides,
        chosen.title,
        input_size=size,
        channels=pyramid_channels,
        group_norm=group_norm,
        **freezing,  # type: ignore[arg-type]
    )
    given = {"min_size": min_size, "max_size": max_size, "image_mean": mean, "image_std": std, **options}
    sized = {"pyramid_channels": pyramid_channels, "anchor_size": anchor_size, "group_norm": group_norm}
    parts = heads(chosen.name, pyramid_channels, classes, group_norm) | anchors(chosen.name, anchor_size)
    made = chosen.build(body, **parts, **given)
    made.transform = DetectorTransform(min_size, max_size, mean, std)
    made.train(model.training)
    made.__dict__[RECORD] = DetectorRecord(
        chosen.name, classes, dict(categories or {}), size, {**given, **sized, **freezing}, source
    )
    return made


def detector_record(model: nn.Module) -> DetectorRecord | None:
    """Return how a detector was built; None for what :func:`detector` did not build."""
    record: DetectorRecord | None = model.__dict__.get(RECORD)
    return record


def _kind(name: str) -> DetectorKind:
    if name not in DETECTORS:
        tip = near(name, DETECTORS) or f"choose {', '.join(DETECTORS)}"
        raise ModelError(Problem(name or "DETECTOR", "there is no detector of this name", tip))
    return DETECTORS[name]


def _check_options(kind: DetectorKind, options: Mapping[str, Any]) -> None:
    """Refuse what torchvision would pass over in silence, and what no folder could hold."""
    known = {
        name
        for name, p in inspect.signature(kind.build).parameters.items()
        if isinstance(p.default, int | float)
    }
    problems = [
        Problem(
            name,
            f"{kind.title} has no such option",
            near(name, known) or f"it has {', '.join(sorted(known))}",
        )
        if name not in known
        else Problem(name, f"{value!r} is not a number")
        for name, value in options.items()
        if name not in known or not isinstance(value, int | float)
    ]
    if problems:
        raise ModelError(problems)


def _num_classes(given: int | None, categories: Mapping[int, str] | None) -> int:
    if categories is not None:
        count = len(categories) + 1
        if given not in (None, count):
            message = f"{len(categories)} categories and the background are {count} classes, not {given}"
            raise ModelError(Problem("num_classes", message))
        given = count
    classes = 91 if given is None else given
    if classes < 2:
        message = f"{classes} classes leave none to detect: class 0 is the background"
        raise ModelError(Problem("num_classes", message, "give one more than the categories"))
    return classes
