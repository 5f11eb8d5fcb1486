"""Segmentations of annotations: polygons or run lengths, checked before pycocotools, which believes them, sees them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from hmhsa_insert.detection.coco_tools import mask_tools
from hmhsa_insert.detection.rle import BadRuns, area_of, read_runs

Mask = npt.NDArray[np.uint8]
_FEWEST_NUMBERS = 6  # of a polygon: pycocotools takes four numbers for a box
_FARTHEST = 16  # sides of the image that a polygon's corner may be away
_LARGEST = 2**63 - 1  # of an integer, as the metric's arrays hold it


class BadSegmentation(ValueError):
    """A segmentation that cannot be used; says what is wrong."""


def read_segmentation(value: Any, height: int, width: int) -> Any:
    """Return what is drawn of a segmentation: no polygon of fewer than three corners; [] if nothing is left.

    Raises:
        BadSegmentation: says what is wrong.
    """
    if isinstance(value, list):
        return _polygons(value, height, width)
    if not isinstance(value, dict) or not isinstance(value.get("counts"), str | list):
        raise BadSegmentation("no 'segmentation' (polygons or RLE), which masks need")
    if value.get("size") != [height, width]:
        raise BadSegmentation("a 'segmentation' whose size is not the image's")
    try:
        runs = read_runs(value["counts"], height * width)
    except BadRuns as error:
        raise BadSegmentation(f"a 'segmentation' that {error}") from error
    if not area_of(runs):
        return []
    counts = value["counts"] if isinstance(value["counts"], str) else runs.tolist()
    return {"size": [height, width], "counts": counts}


def encoded(segmentation: Any, height: int, width: int) -> Any:
    """Return a segmentation that was read as pycocotools' compressed RLE."""
    tools = mask_tools()
    if segmentation == []:
        return {"size": [height, width], "counts": [height * width]}
    if isinstance(segmentation, list):
        return tools.merge(tools.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return tools.frPyObjects(segmentation, height, width)
    return segmentation


def decoded(segmentation: Any, height: int, width: int) -> Mask:
    """Return the mask of polygons or of an RLE that was read, H×W, 0 or 1."""
    mask: Mask = mask_tools().decode(encoded(segmentation, height, width))
    return mask


def mask_area(segmentation: Any, height: int, width: int) -> float:
    """Return how many pixels a segmentation that was read has."""
    return float(mask_tools().area(encoded(segmentation, height, width))) if segmentation else 0.0


def is_number(value: Any) -> bool:
    """Return True for a finite number that a double holds."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def is_int(value: Any) -> bool:
    """Return True for an integer of 64 bits."""
    return isinstance(value, int) and is_number(value)


def _polygons(value: list[Any], height: int, width: int) -> list[list[float]]:
    polygons = all(isinstance(each, list) and all(map(is_number, each)) for each in value)
    if not (polygons and all(len(each) % 2 == 0 for each in value)):
        raise BadSegmentation("a 'segmentation' that is not a list of polygons [x1, y1, x2, y2, …]")
    # pycocotools draws every pixel of an outline, however far outside.
    far = _FARTHEST * max(height, width)
    if any(abs(number) > far for polygon in value for number in polygon):
        raise BadSegmentation("a 'segmentation' with a corner far outside the image")
    return [polygon for polygon in value if len(polygon) >= _FEWEST_NUMBERS]
