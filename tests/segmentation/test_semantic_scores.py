"""Scores of segmenters: those of a plain NumPy confusion matrix, on cases that go wrong easily."""

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hmhsa_insert.segmentation.evaluation import confusion_of_pixels, evaluate_segmenter
from hmhsa_insert.segmentation.infer import scores_of, starts
from hmhsa_insert.segmentation.labels import IGNORED, Numbering
from hmhsa_insert.segmentation.loader import MaskBatch
from hmhsa_insert.segmentation.objective import CrossEntropy
from hmhsa_insert.segmentation.scores import Segmented
from hmhsa_insert.segmentation.segmenter import Seen
from hmhsa_insert.training.data.order import PADDING
from hmhsa_insert.training.problems import ScoresError

NUMBERING = Numbering({number: number for number in range(3)}, frozenset({255}))
# Name -> the numbers of a mask, what was predicted there, classes.
CASES: dict[str, tuple[list[int], list[int], int]] = {
    "all classes": ([0, 1, 2, 2, 1, 0], [0, 1, 1, 2, 0, 0], 3),
    "no pixel of a class, and none taken for it": ([0, 0, 1, 1], [0, 1, 1, 1], 3),
    "no pixel of a class, but one taken for it": ([0, 0, 1, 1], [0, 2, 1, 1], 3),
    "one class alone": ([1, 1, 1], [1, 1, 1], 3),
    "a set of one class": ([0, 0, 255], [0, 0, 0], 1),
    "255 ignored": ([0, 255, 1, 255], [0, 1, 0, 2], 3),
    "everything wrong": ([0, 1, 2], [1, 2, 0], 3),
    "ignored pixels may be predicted as anything": ([255, 255, 2], [0, 1, 2], 3),
}


def plain(truth: list[int], predicted: list[int], classes: int) -> np.ndarray[Any, Any]:
    """Return the confusion matrix by a loop."""
    found = np.zeros((classes, classes), dtype=np.int64)
    for true, other in zip(truth, predicted, strict=True):
        if true not in (255, -1):
            found[true, other] += 1
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ignored", [255, -1])
def test_scores_are_those_of_a_plain_confusion_matrix(case: str, ignored: int) -> None:
    truth, predicted, classes = CASES[case]
    if ignored == 255:
        numbers = np.array([truth], dtype=np.int32)
        labels = Numbering({n: n for n in range(classes)}, frozenset({255})).numbered(numbers, "mask")
    else:
        labels = np.array([[-1 if each == 255 else each for each in truth]])
    found = confusion_of_pixels(torch.tensor([predicted]), torch.from_numpy(labels).long(), classes)
    expected = plain(truth, predicted, classes)
    assert found.tolist() == expected.tolist()
    segmented = Segmented((), 1.0, tuple(map(str, range(classes))), found.numpy(), 1)
    ious, dices = [], []
    for place in range(classes):
        both = expected[place, place]
        areas = expected[place].sum() + expected[:, place].sum()
        if areas:
            ious.append(both / (areas - both))
            dices.append(2 * both / areas)
    assert segmented.row["mIoU"] == pytest.approx(np.mean(ious), abs=0, rel=1e-15)
    assert segmented.row["mDice"] == pytest.approx(np.mean(dices), abs=0, rel=1e-15)
    assert segmented.row["pixel_accuracy"] == np.trace(expected) / expected.sum()
    known = [each["iou"] for each in segmented.per_class().values() if each["iou"] is not None]
    assert known == ious


class Told(nn.Module):
    """Predicts for each pixel the class that its first channel says."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(images[:, 0].long(), self.classes).permute(0, 3, 1, 2).float()


def batch(*images: tuple[list[list[int]], list[list[int]]], padding: int = 0) -> MaskBatch:
    pictures = [torch.tensor(told)[None].float() for told, _ in images]
    labels = [torch.tensor(truth) for _, truth in images]
    indices = [*range(len(images) - padding), *[PADDING] * padding]
    return MaskBatch(pictures, labels, torch.tensor(indices), torch.zeros(len(images), dtype=torch.bool))


def evaluated(*batches: MaskBatch, seen: Seen | None = None) -> Segmented:
    return evaluate_segmenter(Told(3), batches, ("a", "b", "c"), seen or Seen(), Accelerator(cpu=True))


def test_it_is_counted_over_the_set_and_not_a_mean_of_images() -> None:
    large = ([[0] * 8] * 4, [[0] * 8] * 4)
    small = ([[1]], [[2]])
    found = evaluated(batch(large), batch(small))
    assert found.confusion.tolist() == [[32, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert found.row["mIoU"] == pytest.approx((1 + 0 + 0) / 3)
    assert found.row["pixel_accuracy"] == 32 / 33
    # What only fills up a batch is not counted again.
    assert evaluated(batch(large, small, large, padding=1)).confusion.tolist() == found.confusion.tolist()


def test_damaged_images_are_left_out_and_nothing_to_count_is_an_error() -> None:
    given = batch(([[0]], [[0]]), ([[1]], [[2]]))
    damaged = given._replace(damaged=torch.tensor([False, True]))
    found = evaluated(damaged)
    assert (found.damaged, found.images, found.confusion.sum()) == ((1,), 1, 1)
    with pytest.raises(ScoresError, match="no image of the split could be read"):
        evaluated(given._replace(damaged=torch.tensor([True, True])))
    with pytest.raises(ScoresError, match="no pixel of the split has a class"):
        evaluated(batch(([[1, 0]], [[IGNORED, IGNORED]])))


def test_scores_that_are_not_numbers_are_an_error() -> None:
    class Broken(Told):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * float("nan")

    with pytest.raises(ScoresError, match="the scores of image 0 are not numbers"):
        evaluate_segmenter(Broken(3), [batch(([[0]], [[0]]))], ("a", "b", "c"), Seen(), Accelerator(cpu=True))


def test_the_cross_entropy_is_the_mean_over_pixels_that_have_a_class() -> None:
    scores = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(3, (2, 4, 5))
    labels[0, :2] = IGNORED
    known = labels != IGNORED
    chances = scores.log_softmax(1).permute(0, 2, 3, 1)[known]
    each = -chances[torch.arange(len(chances)), labels[known]]
    assert torch.allclose(CrossEntropy(None)(scores, labels), each.mean())
    weights = torch.tensor([0.2, 1.0, 3.0])
    expected = (each * weights[labels[known]]).sum() / weights[labels[known]].sum()
    assert torch.allclose(CrossEntropy(weights.tolist())(scores, labels), expected)
    nothing = CrossEntropy(None)(scores, torch.full_like(labels, IGNORED))
    nothing.backward()
    assert nothing == 0
    assert torch.equal(scores.grad, torch.zeros_like(scores))


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 97, 131])
def test_windows_cover_everything_and_lie_within(length: int) -> None:
    found = starts(length, 32)
    covered = {place for start in found for place in range(start, min(start + 32, length))}
    assert covered == set(range(length))
    assert all(start + 32 <= length or found == [0] for start in found)


def test_windows_of_a_network_that_looks_at_single_pixels_change_nothing() -> None:
    image = torch.randint(3, (1, 97, 131)).float()
    whole = scores_of(Told(3), image, Seen(), (97, 131))
    assert torch.equal(scores_of(Told(3), image, Seen(window=32), (97, 131)), whole)
    assert scores_of(Told(3), image, Seen(window=32), (50, 60)).shape == (3, 50, 60)


@pytest.mark.parametrize(
    ("seen", "size", "expected"),
    [
        (Seen(), (30, 50), (30, 50)),
        (Seen(short_side=60), (30, 50), (60, 100)),
        (Seen(short_side=60, long_side=80), (30, 50), (48, 80)),
        (Seen(long_side=80), (30, 50), (30, 50)),
        (Seen(long_side=25), (30, 50), (15, 25)),
        (Seen(short_side=8, long_side=8), (1, 4000), (1, 8)),
    ],
)
def test_the_size_at_which_an_image_is_seen(
    seen: Seen, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert seen.size(*size) == expected
