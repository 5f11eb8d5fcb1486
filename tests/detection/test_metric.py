"""Average precision equals pycocotools' own, run on files, and what can be worked out by hand."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import SIDE, box, split, write
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hmhsa_insert.detection.coco_data import CocoSplit, open_coco
from hmhsa_insert.detection.make_shapes import make_shapes
from hmhsa_insert.detection.metric import NAMES, average_precision

KINDS = {"box": "bbox", "mask": "segm"}


def found(image: int, category: int, bbox: tuple[float, ...], score: float) -> dict[str, Any]:
    x, y, w, h = (round(number) for number in bbox)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8, order="F")
    mask[max(y, 0) : y + h, max(x, 0) : x + w] = 1
    rle = coco_mask.encode(mask)
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [*bbox],
        "score": score,
        "segmentation": segmentation,
    }


def val_split(tmp_path: Path, annotations: list[dict[str, Any]], images: Any = (1, 2, 3)) -> CocoSplit:
    return open_coco(write(tmp_path / "set", val=split(annotations, images)), masks=True).val


def reference(truth: Path, detections: list[dict[str, Any]], kind: str, tmp_path: Path) -> list[float]:
    """Return pycocotools' six numbers from files, as its own demo computes them."""
    results = tmp_path / "results.json"
    keep = ("image_id", "category_id", "score", "bbox" if kind == "box" else "segmentation")
    results.write_text(json.dumps([{key: each[key] for key in keep} for each in detections]))
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(str(truth))
        judged = COCOeval(annotated, annotated.loadRes(str(results)), KINDS[kind])
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(value) for value in judged.stats[:6]]


def assert_equal(scores: dict[str, float | None], expected: list[float]) -> None:
    assert [-1.0 if scores[name] is None else scores[name] for name in NAMES] == expected


def disturbed(whole: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Return detections made from annotations: moved, missed, doubled, of other classes, with tied scores."""
    rng = np.random.default_rng(seed)
    sizes = {each["id"]: (each["height"], each["width"]) for each in whole["images"]}
    detections = []
    for each in whole["annotations"]:
        for _ in range(int(rng.integers(0, 4))):
            moved = np.roll(coco_mask.decode(each["segmentation"]), rng.integers(-3, 4, 2), (0, 1))
            rle = coco_mask.encode(np.asfortranarray(moved))
            category = each["category_id"] if rng.random() < 0.8 else int(rng.integers(1, 6))
            detections.append(
                {
                    "image_id": each["image_id"],
                    "category_id": category,
                    "bbox": coco_mask.toBbox(rle).tolist(),
                    "score": round(float(rng.random()), 1),
                    "segmentation": {"size": list(sizes[each["image_id"]]), "counts": rle["counts"].decode()},
                }
            )
    return detections


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_pycocotools_on_the_shapes_set(tmp_path: Path, kind: Any, seed: int) -> None:
    """pycocotools' wheel has no example results, so they are made here: every image, crowds and ignored ones too."""
    make_shapes(tmp_path / "set", images=40, size=160, seed=seed)
    path = tmp_path / "set" / "annotations" / "instances_val.json"
    whole = json.loads(path.read_text())
    detections = disturbed(whole, seed)
    for number, each in enumerate(whole["annotations"]):
        each["iscrowd"] = int(number % 7 == 3)
    path.write_text(json.dumps(whole))
    scores = average_precision(open_coco(tmp_path / "set", masks=True).val, detections, kind)
    expected = reference(path, detections, kind, tmp_path)
    assert_equal(scores, expected)
    assert 0.1 < expected[0] < 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_found_exactly_is_one(tmp_path: Path, kind: Any) -> None:
    whole = val_split(tmp_path, [box(1, 3, (5, 5, 20, 10), 1), box(2, 17, (0, 0, 8, 8), 2)])
    detections = [found(1, 3, (5, 5, 20, 10), 0.9), found(2, 17, (0, 0, 8, 8), 0.2)]
    scores = average_precision(whole, detections, kind)
    assert [scores["APm"], scores["APl"]] == [None, None]
    assert [scores[name] for name in NAMES[:4]] == [pytest.approx(1.0, abs=1e-12)] * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("side", "height", "scores"),
    [
        (10, 8, (0.7, 1.0, 1.0)),  # an IoU of 0.8 is right at 7 of the 10 thresholds
        (30, 17, (0.2, 1.0, 0.0)),  # one of 0.567 at 0.5 and 0.55
    ],
)
def test_an_iou_between_two_thresholds(
    tmp_path: Path, kind: Any, side: int, height: int, scores: tuple[float, ...]
) -> None:
    whole = val_split(tmp_path, [box(1, 3, (5, 5, side, side), 1)])
    found_scores = average_precision(whole, [found(1, 3, (5, 5, side, height), 0.9)], kind)
    assert [found_scores[name] for name in ("AP", "AP50", "AP75")] == pytest.approx(list(scores))


@pytest.mark.parametrize("kind", KINDS)
def test_a_false_one_in_front_halves_precision(tmp_path: Path, kind: Any) -> None:
    whole = val_split(tmp_path, [box(1, 3, (5, 5, 10, 10), 1)])
    detections = [found(1, 3, (5, 5, 10, 10), 0.5), found(3, 3, (5, 5, 10, 10), 0.9)]
    assert average_precision(whole, detections, kind)["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_no_detections_at_all(tmp_path: Path, kind: Any) -> None:
    whole = val_split(tmp_path, [box(1, 3, (5, 5, 10, 10), 1)])
    scores = average_precision(whole, [], kind)
    assert scores == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "APs": 0.0, "APm": None, "APl": None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("detections", [[], [found(1, 3, (5, 5, 10, 10), 0.5)]])
def test_nothing_to_find(tmp_path: Path, kind: Any, detections: Any) -> None:
    scores = average_precision(val_split(tmp_path, []), detections, kind)
    assert scores == dict.fromkeys(NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_found_in_a_crowd_is_neither_right_nor_wrong(tmp_path: Path, kind: Any) -> None:
    crowd = box(1, 3, (0, 0, 30, 30), 1, iscrowd=1)
    crowd["segmentation"] = {"size": [SIDE, SIDE], "counts": _runs(30)}
    whole = val_split(tmp_path, [crowd, box(2, 3, (5, 5, 10, 10), 2)])
    true = found(2, 3, (5, 5, 10, 10), 0.3)
    in_crowd = [found(1, 3, (2 * n, 2 * n, 6, 6), 0.9) for n in range(5)]
    assert average_precision(whole, [true, *in_crowd], kind)["AP"] == pytest.approx(1.0, abs=1e-12)
    beside = found(1, 3, (31, 31, 8, 8), 0.95)
    assert average_precision(whole, [true, beside], kind)["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_only_crowds(tmp_path: Path, kind: Any) -> None:
    crowd = box(1, 3, (0, 0, 30, 30), 1, iscrowd=1)
    crowd["segmentation"] = {"size": [SIDE, SIDE], "counts": _runs(30)}
    whole = val_split(tmp_path, [crowd])
    assert average_precision(whole, [found(1, 3, (0, 0, 9, 9), 0.9)], kind) == dict.fromkeys(NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_an_annotation_numbered_0_counts(tmp_path: Path, kind: Any) -> None:
    """pycocotools takes a match with number 0 for none."""
    whole = val_split(tmp_path, [box(1, 3, (5, 5, 10, 10), 0)])
    assert average_precision(whole, [found(1, 3, (5, 5, 10, 10), 0.9)], kind)["AP"] == pytest.approx(
        1.0, abs=1e-12
    )


def test_more_than_100_detections_of_an_image(tmp_path: Path) -> None:
    """The hundred and first is not looked at."""
    whole = val_split(tmp_path, [box(1, 3, (5, 5, 10, 10), 1)])
    wrong = [found(1, 3, (30, 30, 4, 4), 0.9) for _ in range(100)]
    true = [found(1, 3, (5, 5, 10, 10), 0.1)]
    assert average_precision(whole, [*wrong, *true], "box")["AP"] == 0.0
    assert average_precision(whole, [*wrong[:99], *true], "box")["AP"] == pytest.approx(0.01)


def test_a_found_mask_is_as_large_as_the_mask(tmp_path: Path) -> None:
    """A thin diagonal has a large box: its size is that of its mask, as where pycocotools is given masks alone."""
    diagonal = {
        "size": [SIDE, SIDE],
        "counts": coco_mask.encode(np.eye(SIDE, dtype=np.uint8, order="F"))["counts"],
    }
    whole = val_split(tmp_path, [box(1, 3, (0, 0, 12, 12), 1)])
    wrong = {
        "image_id": 1,
        "category_id": 3,
        "score": 0.9,
        "bbox": [0, 0, SIDE, SIDE],
        "segmentation": diagonal,
    }
    right = found(1, 3, (0, 0, 12, 12), 0.5)
    # 40 pixels are small, so that it is a false small object; its box of 1,600 would be a medium one.
    assert average_precision(whole, [wrong, right], "mask")["APs"] == pytest.approx(0.5)


def test_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    average_precision(val_split(tmp_path, [box(1, 3, (5, 5, 10, 10), 1)]), [], "box")
    assert capsys.readouterr().out == ""


def _runs(side: int) -> list[int]:
    """Return the uncompressed RLE of the upper left square."""
    return [0, *[side, SIDE - side] * (side - 1), side, SIDE * SIDE - side - (side - 1) * SIDE]
