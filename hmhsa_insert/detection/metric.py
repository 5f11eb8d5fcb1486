"""COCO's average precision, by pycocotools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from hmhsa_insert.detection.coco_data import CocoSplit
from hmhsa_insert.detection.coco_tools import coco_module, quiet
from hmhsa_insert.detection.segmentation import encoded

IouKind = Literal["box", "mask"]
Scores = dict[str, float | None]
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")
_IOU_TYPES = {"box": "bbox", "mask": "segm"}


def average_precision(split: CocoSplit, detections: Sequence[Mapping[str, Any]], kind: IouKind) -> Scores:
    """Return AP over IoU 0.5 to 0.95, AP at 0.5 and 0.75, and AP of small, medium and large objects.

    Each is a share, 0 to 1, at most 100 detections an image; None where pycocotools says -1: there is nothing of that
    size to find. Crowd regions are ignored as COCO does. Every image of the split counts, detections or not.

    Args:
        split: what is to be found.
        detections: in COCO's result format: image_id, category_id, score, ``bbox`` [x, y, width, height] and, for
            masks, ``segmentation`` as RLE.
        kind: whether boxes or masks are compared.
    """
    evaluation = coco_module("cocoeval").COCOeval
    truth, found = _truth(split, kind), _found(split, detections, kind)
    with quiet():
        judged = evaluation(truth, found, _IOU_TYPES[kind])
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return {
        name: None if value < 0 else float(value)
        for name, value in zip(NAMES, judged.stats[: len(NAMES)], strict=True)
    }


def _truth(split: CocoSplit, kind: IouKind) -> Any:
    annotations: list[dict[str, Any]] = []
    for record in split.records:
        for each in record.annotations:
            entry = dict(each)
            if kind == "mask":
                entry["segmentation"] = encoded(entry["segmentation"], record.height, record.width)
            annotations.append(entry)
    return _indexed(split, annotations)


def _found(split: CocoSplit, detections: Iterable[Mapping[str, Any]], kind: IouKind) -> Any:
    """Return detections as pycocotools wants them, which cannot read an empty list itself."""
    tools = coco_module("mask")
    annotations = []
    for number, each in enumerate(detections, 1):
        # The size of a found object is that of what is compared: of the mask, not of the box around it.
        own: dict[str, Any]
        if kind == "mask":
            rle = each["segmentation"]
            own = {"segmentation": rle, "area": float(tools.area(rle))}
        else:
            own = {"bbox": each["bbox"], "area": each["bbox"][2] * each["bbox"][3]}
        shared = {key: each[key] for key in ("image_id", "category_id", "score")}
        annotations.append({"id": number, "iscrowd": 0, **shared, **own})
    return _indexed(split, annotations)


def _indexed(split: CocoSplit, annotations: list[dict[str, Any]]) -> Any:
    with quiet():
        made = coco_module("coco").COCO()
        made.dataset = {
            "images": [{"id": r.id, "height": r.height, "width": r.width} for r in split.records],
            "categories": [{"id": number} for number in split.labels],
            "annotations": annotations,
        }
        made.createIndex()
    return made
