"""What a whole detector costs: backbone, pyramid and heads, by the counters that count networks.

What a detector does after its heads depends on the image: how many boxes are kept, and where. Counts need fixed shapes,
so the heads of boxes and masks run on as many regions as the detector keeps at most (1000 proposals and 100 masks, as
mmdetection counts), and what selects boxes, which has no products, is left out. The image is padded to a multiple of
32 as the detector pads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet

from hmhsa_insert.costs.count import Counts, count
from hmhsa_insert.costs.counters import counted
from hmhsa_insert.costs.parts import Parts, stage_parts
from hmhsa_insert.costs.profile import ProfileRecord, profile_all
from hmhsa_insert.detection.detector import detector_record

_BODY = "backbone.body"
# Parts behind the backbone, in the order in which they run.
_HEADS = {
    "FPN": ("backbone.fpn",),
    "RetinaNet head": ("head",),
    "RPN head": ("rpn",),
    "box head": ("roi_heads.box_head", "roi_heads.box_predictor"),
    "mask head": ("roi_heads.mask_head", "roi_heads.mask_predictor"),
}


class CountedDetector(nn.Module):
    """The parts of a detector under their own names, run at fixed shapes on one image N×C×H×W.

    Attributes:
        num_boxes, num_masks: regions of an image that the heads of boxes and masks run on.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.multiple = int(detector.transform.size_divisible)
        for name, child in detector.named_children():
            self.add_module(name, child)
        self.num_boxes = self.num_masks = 0
        if not isinstance(detector, RetinaNet):
            self.num_boxes = int(detector.rpn._post_nms_top_n["testing"])
            if detector.roi_heads.mask_head is not None:
                self.num_masks = int(detector.roi_heads.detections_per_img)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return what the heads make of the image and of regions whose content does not matter."""
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % self.multiple, 0, -height % self.multiple))
        maps = list(self.get_submodule("backbone")(image).values())
        if not self.num_boxes:
            return list(self.get_submodule("head")(maps).values())
        rpn: Any = self.get_submodule("rpn")
        scores, deltas = rpn.head(maps)
        return [*scores, *deltas, *self._of_regions(maps[0])]

    def _of_regions(self, like: Tensor) -> list[Tensor]:
        heads: Any = self.get_submodule("roi_heads")
        side = heads.box_roi_pool.output_size[0]
        boxes = heads.box_head(like.new_zeros(self.num_boxes * len(like), like.shape[1], side, side))
        found = list(heads.box_predictor(boxes))
        if self.num_masks:
            side = heads.mask_roi_pool.output_size[0]
            regions = like.new_zeros(self.num_masks * len(like), like.shape[1], side, side)
            found.append(heads.mask_predictor(heads.mask_head(regions)))
        return found


def count_detector(detector: nn.Module, size: tuple[int, int] = (800, 1333)) -> Counts:
    """Count what one forward of a detector costs at height × width; see :func:`~hmhsa_insert.costs.count.count`.

    Raises:
        ModelError: it cannot run at this size.
    """
    return count(CountedDetector(detector), _image(detector, size))


def detector_costs(detector: nn.Module, size: tuple[int, int]) -> dict[str, int | float | None]:
    """Return what every counter says of one forward of a detector at height × width."""
    return counted(CountedDetector(detector), _image(detector, size))


def profile_detectors(
    detectors: Mapping[str, nn.Module], size: tuple[int, int] = (800, 1333)
) -> tuple[ProfileRecord, ...]:
    """Return the cost of detectors at height × width, by backbone stage, inserted block, pyramid and head.

    Args:
        detectors: by the name tables call them; the first is the base the others are compared with.
        size: of one image.

    Raises:
        ModelError: one cannot run at this size.
    """
    counted = {name: CountedDetector(detector) for name, detector in detectors.items()}
    first = next(iter(detectors.values()))
    records = profile_all(counted, _image(first, size))
    return tuple(
        replace(
            record,
            parts=detector_parts(detectors[record.name], size),
            conventions=_conventions(counted[record.name]),
        )
        for record in records
    )


def detector_parts(detector: nn.Module, size: tuple[int, int]) -> Parts:
    """Return the modules of each part: the backbone's stages and inserted blocks, the pyramid, the heads."""
    body = detector.get_submodule(_BODY)
    parts: Parts = {
        name if name in modules else f"backbone {name}": tuple(f"{_BODY}.{module}" for module in modules)
        for name, modules in stage_parts(body, _image(detector, size)).items()
    }
    names = {name for name, _ in detector.named_modules()}
    for title, modules in _HEADS.items():
        if present := tuple(module for module in modules if module in names):
            parts[title] = present
    return parts or {"backbone": (_BODY,)}


def _conventions(counted: CountedDetector) -> tuple[str, ...]:
    if not counted.num_boxes:
        return ()
    masks = f", masks of {counted.num_masks:,}" if counted.num_masks else ""
    return (
        f"Heads: boxes of {counted.num_boxes:,} proposals an image{masks}; selecting boxes is not counted",
    )


def _image(detector: nn.Module, size: tuple[int, int]) -> tuple[int, int, int]:
    record = detector_record(detector)
    channels = record.input_size[0] if record else 3
    return (channels, *size)
