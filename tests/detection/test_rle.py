"""Masks of annotations: right runs are read as pycocotools does, bad ones are refused before it sees them."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_sets import SIDE, box, split, write
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from hmhsa_insert.detection.coco_data import CocoData, open_coco
from hmhsa_insert.detection.rle import BadRuns, area_of, read_runs
from hmhsa_insert.training.problems import DataError

GOOD = [box(1, 3, (5, 5, 10, 10), 1), box(2, 17, (4, 4, 20, 20), 2), box(3, 3, (9, 9, 12, 12), 3)]


def _write(root: Path, whole: dict[str, Any], **options: Any) -> Path:
    """Write a set whose splits are alike."""
    return write(root, whole, whole, **options)


def _mask() -> np.ndarray[Any, Any]:
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[10:20, 10:30] = 1
    return mask


TEXT = coco_mask.encode(_mask())["counts"].decode()
LARGER = coco_mask.encode(np.asfortranarray(np.pad(_mask(), ((0, 8), (0, 8)))))["counts"].decode()
ALL = SIDE * SIDE
FEWER, MORE = "has runs of fewer pixels than the image", "has runs of more pixels than the image"
RANGE = "has a run that is negative or longer than the image"
NO_RUN, NO_TEXT = "has a run that is not an integer", "its text has other characters"

BAD_COUNTS: dict[str, tuple[Any, str]] = {
    "too few": ([100, 50, 100], FEWER),
    "too many": ([100, 50, ALL], MORE),
    "larger mask": (LARGER, MORE),
    "cut off": (TEXT[:-2], FEWER),
    "cut off within a number": (TEXT[:1], "its text ends within a number"),
    "negative": ([100, -50, ALL - 50], RANGE),
    "one negative": ([-5], RANGE),
    "huge": ([10**9], RANGE),
    "beyond 64 bits": ([10**30], RANGE),
    "text in a list": (["a"], NO_RUN),
    "numbers as text": (["100", "50", str(ALL - 150)], NO_RUN),
    "nothing in a list": ([None], NO_RUN),
    "a list in a list": ([[100]], NO_RUN),
    "true": ([True, ALL - 1], NO_RUN),
    "half a pixel": ([0.5, ALL - 0.5], NO_RUN),
    "infinite": ([float("inf")], NO_RUN),
    "no number": ([float("nan")], NO_RUN),
    "bytes as text": (f"b'{TEXT}'", NO_TEXT),
    "no ASCII": ("é" + TEXT, "its text is not ASCII"),
    "a lone surrogate": ("\udce9" + TEXT, "its text is not ASCII"),
    "nothing": ("", FEWER),
    "an empty list": ([], FEWER),
    "a number that never ends": ("o" * 40 + "0", RANGE),
    "spaces": ("  " + TEXT, NO_TEXT),
}


def _open(root: Path, annotation: dict[str, Any], **options: Any) -> CocoData:
    return open_coco(_write(root / "set", split([*GOOD, annotation])), **options)


@pytest.mark.parametrize("kind", BAD_COUNTS)
def test_bad_runs_are_refused_with_file_and_id(tmp_path: Path, kind: str) -> None:
    counts, message = BAD_COUNTS[kind]
    rle = {"size": [SIDE, SIDE], "counts": counts}
    with pytest.raises(DataError) as caught:
        _open(tmp_path, box(2, 3, (10, 10, 20, 10), 99, segmentation=rle), masks=True)
    for problem, name in zip(caught.value.problems, ("train", "val"), strict=False):
        assert problem.where.endswith(f"instances_{name}.json")
        assert problem.message.startswith("a 'segmentation' that ")
        assert message in problem.message
        assert problem.message.endswith("annotations[3] (id 99)")
    # Where no mask is needed it is not looked at.
    assert len(_open(tmp_path / "boxes", box(2, 3, (10, 10, 20, 10), 99, segmentation=rle)).train) == 3


@pytest.mark.parametrize(
    "counts", [TEXT, [430, 10, 10], [float(430), 10, 10]], ids=["text", "integers", "floats"]
)
def test_good_runs_are_the_mask(tmp_path: Path, counts: Any) -> None:
    if isinstance(counts, list):
        edges = np.flatnonzero(np.diff(_mask().ravel(order="F"), prepend=0, append=2))
        runs = np.diff(edges, prepend=0).tolist()
        counts = [type(counts[0])(each) for each in runs]
        assert sum(counts) == ALL
    rle = {"size": [SIDE, SIDE], "counts": counts}
    data = _open(tmp_path, box(2, 3, (10, 10, 20, 10), 99, segmentation=rle), masks=True)
    assert np.array_equal(data.train.target(1)["masks"][-1].numpy(), _mask())


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_runs_are_read_as_pycocotools_writes_them(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    seed, share = (
        data.draw(st.integers(0, 2**16)),
        data.draw(st.sampled_from([0.0, 0.02, 0.3, 0.5, 0.98, 1.0])),
    )
    mask = np.asfortranarray(np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    mask = np.asfortranarray(mask)
    runs = read_runs(coco_mask.encode(mask)["counts"].decode(), height * width)
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    assert np.array_equal(flat.reshape(width, height).T, mask)
    assert area_of(runs) == mask.sum()


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(max_codepoint=130), max_size=30), st.integers(1, 2000))
def test_what_is_let_through_is_decoded_to_its_own_runs(text: str, pixels: int) -> None:
    try:
        runs = read_runs(text, pixels)
    except BadRuns:
        return
    decoded = coco_mask.decode({"size": [pixels, 1], "counts": text})
    assert decoded[:, 0].tolist() == np.repeat(np.arange(len(runs)) % 2, runs).tolist()


def test_many_runs_are_read_quickly() -> None:
    mask = np.asfortranarray(np.random.default_rng(0).random((640, 480)) < 0.5).astype(np.uint8)
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    start = time.perf_counter()
    for _ in range(20):
        read_runs(text, mask.size)
    assert time.perf_counter() - start < 20  # a loop over the characters takes several times as long


@pytest.mark.parametrize(
    "polygon", [[1e300, 0, 5, 5, 0, 5], [0, 0, 5, -1e9, 0, 5], [0, 0, 10**18, 10**18, 5, 5]]
)
def test_a_polygon_that_pycocotools_would_draw_for_hours(tmp_path: Path, polygon: list[float]) -> None:
    with pytest.raises(DataError, match=r"a corner far outside the image: annotations\[3\] \(id 99\)"):
        _open(tmp_path, box(2, 3, (1, 1, 5, 5), 99, segmentation=[polygon]), masks=True)


def test_an_empty_mask_is_no_mask_to_learn_from(tmp_path: Path) -> None:
    rle = {"size": [SIDE, SIDE], "counts": [ALL]}
    data = _open(tmp_path, box(2, 3, (1, 1, 5, 5), 99, segmentation=rle), masks=True)
    assert len(data.train.target(1)["boxes"]) == 1
    assert "1 boxes without area or mask in the image left out (id 99 of 2.png)" in data.notes[0]
