"""Held-out pictures: some of every class, none in both splits, and true words about it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures_on_disk import fill, names

from hmhsa_insert.training.data import open_data
from hmhsa_insert.training.data.held_out import held_out
from hmhsa_insert.training.data.images import ArrayImages
from hmhsa_insert.training.problems import DataError, SettingsError
from hmhsa_insert.training.schema import LoaderSettings
from hmhsa_insert.training.settings import load_settings


def _images(counts: list[int]) -> ArrayImages:
    targets = np.repeat(np.arange(len(counts)), counts)
    return ArrayImages(np.zeros((len(targets), 4, 4), np.uint8), targets, "made", np.arange(len(targets)))


def _split(counts: list[int], share: float) -> tuple[list[int], list[int]]:
    rest, held, _ = held_out(_images(counts), share, "made")
    return [np.bincount(each.targets, minlength=len(counts)).tolist() for each in (rest, held)]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([5] * 40, 0.1, [1] * 40),
        ([50, 50, 1], 0.1, [5, 5, 0]),
        ([100, 100, *[1] * 20], 0.2, [20, 20, *[0] * 20]),
        ([90, 2], 0.1, [10, 1]),
        ([3] * 4, 0.9, [2] * 4),
        ([2, 2], 0.99, [1, 1]),
        ([2, 2], 0.001, [1, 1]),
        ([1000, 2, 2], 0.5, [500, 1, 1]),
        ([10, 20], 0.2, [2, 4]),
    ],
)
def test_how_many_of_each_class(counts: list[int], share: float, expected: list[int]) -> None:
    rest, held = _split(counts, share)
    assert held == expected
    assert rest == [whole - part for whole, part in zip(counts, expected, strict=True)]


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.floats(0.001, 0.999))
@settings(max_examples=150, deadline=None)
def test_every_class_of_two_is_on_either_side(counts: list[int], share: float) -> None:
    if max(counts) == 1:
        with pytest.raises(DataError, match="no class has two pictures"):
            _split(counts, share)
        return
    rest, held = _split(counts, share)
    assert all(kept and part for kept, part, whole in zip(rest, held, counts, strict=True) if whole > 1)
    assert all(not part for part, whole in zip(held, counts, strict=True) if whole == 1)
    assert [a + b for a, b in zip(rest, held, strict=True)] == counts


@pytest.mark.parametrize(
    ("counts", "share", "notes"),
    [
        ({"a": 50, "b": 50}, 0.1, ["no validation split: 10 of 100 images held out, 90 for training"]),
        (
            {"a": 5, "b": 5, "c": 1},
            0.01,
            [
                "no validation split: 2 of 11 images held out, 9 for training",
                "loader.val_share is 0.01; of each class at least one image is on either side",
                "one image only, so that none is held out: class 'c'",
            ],
        ),
    ],
)
def test_what_is_said(tmp_path: Path, counts: Mapping[str, int], share: float, notes: list[str]) -> None:
    data = open_data(str(fill(tmp_path, counts)), loader=LoaderSettings(val_share=share))
    assert list(data.notes) == notes
    train, val = names(data)
    assert not train & val
    assert len(train | val) == sum(counts.values())


def test_two_classes_of_one_picture(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no class has two pictures, so that none can be held out .*\(add pictures"
    ):
        open_data(str(fill(tmp_path, {"a": 1, "b": 1})))


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "2", ".nan", ".inf", "a tenth"])
def test_a_share_that_is_none(share: str) -> None:
    with pytest.raises(SettingsError, match=r"loader\.val_share.*: .*(must be|is not a finite number)"):
        load_settings("digits", [f"loader.val_share={share}"])
