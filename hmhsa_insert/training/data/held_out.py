"""A validation split held out: some of every class, the same pictures every time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.images import ChosenImages, Images, Targets
from hmhsa_insert.training.problems import DataError


class HeldOut(NamedTuple):
    """Two splits made of one.

    Attributes:
        rest, held: for training, and for validation.
        as_before: whether versions that did not look at single classes made the same two.
    """

    rest: ChosenImages
    held: ChosenImages
    as_before: bool


def held_out(images: Images, share: float, where: str) -> HeldOut:
    """Split off `share` of every class.

    Of a class with two pictures or more at least one is on either side; a class with one stays in the rest.

    Raises:
        DataError: no class has two.
    """
    from sklearn.model_selection import train_test_split

    targets = images.targets
    counts = np.bincount(targets)
    divisible = np.flatnonzero(counts > 1)
    if not len(divisible):
        message = "no class has two pictures, so that none can be held out for validation"
        raise DataError(Problem(where, message, "add pictures, or a folder val beside a folder train"))
    numbers = np.flatnonzero(counts[targets] > 1)
    wanted = np.clip(math.ceil(len(numbers) * share), len(divisible), len(numbers) - len(divisible))
    _, drawn = train_test_split(numbers, test_size=int(wanted), random_state=0, stratify=targets[numbers])
    held = _with_every_class(drawn, targets, divisible)
    rest = np.setdiff1d(np.arange(len(targets)), held)
    stratified = len(divisible) == len(counts) and len(targets) * share >= max(2, len(counts))
    as_before = stratified and np.array_equal(held, np.sort(drawn))
    return HeldOut(ChosenImages(images, rest), ChosenImages(images, held), as_before)


def left_whole(images: Images, classes: tuple[str, ...]) -> list[str]:
    """Return the classes of which nothing can be held out: those with one picture."""
    return [classes[number] for number in np.flatnonzero(np.bincount(images.targets) == 1)]


def _with_every_class(held: Targets, targets: Targets, divisible: Targets) -> Targets:
    """Return the held-out pictures with one more of classes that have none, and one less of those wholly in it."""
    counts = np.bincount(targets)
    inside = np.bincount(targets[held], minlength=len(counts))
    more = [np.flatnonzero(targets == number)[-1] for number in divisible if not inside[number]]
    whole = [number for number in divisible if inside[number] == counts[number]]
    less = [np.flatnonzero(targets == number)[0] for number in whole]
    return np.setdiff1d(np.concatenate([held, np.asarray(more, dtype=held.dtype)]), less)
