"""What a detector found, in COCO's result format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hmhsa_insert.detection.coco_tools import mask_tools

# A pixel belongs to an object from this probability on, as torchvision's own evaluation has it.
MASK_THRESHOLD = 0.5


def coco_results(
    found: Mapping[str, Tensor], image_id: int, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one image's detections, best first as torchvision sorts them.

    Args:
        found: from a detector in eval mode: boxes N×4 (x1, y1, x2, y2), labels N, scores N, maybe masks N×1×H×W.
        image_id: of the image.
        category_ids: of the labels 1, 2, …; a label beyond them is none of the data's and left out.

    Returns:
        Entries with image_id, category_id, ``bbox`` [x, y, width, height], score, and ``segmentation`` as RLE.
    """
    corners = found["boxes"].cpu().tolist()
    labels, scores = found["labels"].tolist(), found["scores"].tolist()
    masks = _encoded(found["masks"]) if "masks" in found else [None] * len(labels)
    results = []
    for (left, top, right, bottom), label, score, mask in zip(corners, labels, scores, masks, strict=True):
        if not 1 <= label <= len(category_ids):
            continue
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": category_ids[label - 1],
            "bbox": [left, top, right - left, bottom - top],
            "score": score,
        }
        results.append(entry if mask is None else {**entry, "segmentation": mask})
    return results


def _encoded(masks: Tensor) -> list[dict[str, Any]]:
    """Return N×1×H×W probabilities as RLEs whose counts are text, as JSON needs."""
    binary = (masks[:, 0] > MASK_THRESHOLD).to("cpu").numpy().astype(np.uint8)
    columns_first = np.asfortranarray(binary.transpose(1, 2, 0))
    encoded = mask_tools().encode(columns_first)
    return [{"size": list(each["size"]), "counts": each["counts"].decode("ascii")} for each in encoded]
