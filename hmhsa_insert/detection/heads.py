"""Anchors and heads of a detector that is not of torchvision's usual size: smaller objects, a narrower pyramid.

torchvision's detectors are made for a pyramid of 256 channels and objects from 32 pixels on. In a narrower one all
heads shrink alike: what is 256 or 1024 wide there is as wide as the pyramid, or four times as wide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNetHead

PYRAMID_CHANNELS = 256
_ANCHOR_SIZE = 32
_LEVELS = 5
_RATIOS = (0.5, 1.0, 2.0)
_POOLED = 7  # side of a region's map in front of the box head
_MASK_LAYERS = 4
_GROUP = 8  # channels that are normalized together, as 32 groups of 256 are in torchvision's second RetinaNet


def anchors(kind: str, size: int) -> dict[str, nn.Module]:
    """Return torchvision's anchors with the finest level's side `size` instead of 32, doubled level by level.

    Args:
        kind: of detector: RetinaNet has three sizes a level, a third of an octave apart.
        size: in pixels of the image as it is scaled for the network.
    """
    if size == _ANCHOR_SIZE:
        return {}
    steps = (0, 1 / 3, 2 / 3) if kind == "retinanet" else (0,)
    sizes = tuple(tuple(int(size * 2 ** (level + step)) for step in steps) for level in range(_LEVELS))
    name = "anchor_generator" if kind == "retinanet" else "rpn_anchor_generator"
    return {name: AnchorGenerator(sizes, (_RATIOS,) * _LEVELS)}


def norm_layer(group_norm: bool) -> Callable[[int], nn.Module] | None:
    """Return what makes the norm of so many channels, None for no norm."""
    return (lambda channels: nn.GroupNorm(channels // _GROUP, channels)) if group_norm else None


def heads(kind: str, channels: int, num_classes: int, group_norm: bool) -> dict[str, Any]:
    """Return the heads behind a pyramid of `channels`, and the classes where no head says them.

    RetinaNet's heads and the proposal network follow the pyramid's width by themselves.
    """
    if kind == "retinanet" and group_norm:
        head = RetinaNetHead(channels, 3 * len(_RATIOS), num_classes, norm_layer=norm_layer(group_norm))
        return {"num_classes": num_classes, "head": head}
    if kind == "retinanet" or (channels == PYRAMID_CHANNELS and not group_norm):
        return {"num_classes": num_classes}
    wide = 4 * channels
    made: dict[str, Any] = {
        "box_head": TwoMLPHead(channels * _POOLED**2, wide),
        "box_predictor": FastRCNNPredictor(wide, num_classes),
    }
    if kind == "maskrcnn":
        made["mask_head"] = MaskRCNNHeads(channels, (channels,) * _MASK_LAYERS, 1, norm_layer(group_norm))
        made["mask_predictor"] = MaskRCNNPredictor(channels, channels, num_classes)
    return made
