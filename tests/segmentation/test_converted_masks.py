"""Masks that ``data convert --to masks`` writes are those that the objects themselves give."""

from pathlib import Path

import numpy as np

from hmhsa_insert.detection.convert import convert
from hmhsa_insert.detection.make_shapes import make_shapes
from hmhsa_insert.detection.shapes import SHAPES
from hmhsa_insert.segmentation.open_masks import open_masks


def test_converted_masks_are_read_as_they_were(tmp_path: Path) -> None:
    made = make_shapes(tmp_path / "shapes", images=10, size=64)
    convert(str(made.folder), "masks", tmp_path / "masks")
    objects, pixels = open_masks(str(made.folder)), open_masks(str(tmp_path / "masks"))
    assert pixels.classes == objects.classes == ("background", *SHAPES)
    for one, other in ((objects.train, pixels.train), (objects.val, pixels.val)):
        assert [each.name for each in one.records] == [each.name for each in other.records]
        for before, after in zip(one.records, other.records, strict=True):
            assert np.array_equal(before.labels.read(), after.labels.read())
            assert before.labels.read().max() <= len(SHAPES)
