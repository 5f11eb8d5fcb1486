"""Which images make which batch, and their draws: functions of seed, epoch and place alone."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from training_nets import few_digits

from hmhsa_insert.training.data.images import ChosenImages
from hmhsa_insert.training.data.order import PADDING, EvalBatches, Shares, TrainBatches
from hmhsa_insert.training.loader import EvalLoader, Prepared, TrainLoader, default_workers
from hmhsa_insert.training.loop.seeding import derived_seed, kept_random_state, seed_cpu
from hmhsa_insert.training.problems import SettingsError


def _updates(
    num_images: int, batch_size: int, accumulate: int, world: int, epoch: int, first: int
) -> list[set[int]]:
    """Return the images of each update, over all processes and accumulated batches."""
    parts = []
    for rank in range(world):
        batches = TrainBatches(num_images, Shares(batch_size, accumulate, rank, world), seed=7)
        batches.start(epoch, first)
        parts.append([index for batch in batches for _, index in batch])
    size = batch_size // world
    count = len(parts[0]) // size
    return [{i for part in parts for i in part[n * size : (n + 1) * size]} for n in range(count)]


@given(
    st.integers(24, 90),
    st.sampled_from([(1, 2), (2, 1), (2, 2), (3, 2), (1, 4)]),
    st.integers(0, 3),
    st.integers(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_shares_do_not_change_the_images_of_an_update(
    num_images: int, shares: tuple[int, int], epoch: int, first: int
) -> None:
    alone = _updates(num_images, 12, 1, 1, epoch, 0)
    assert len(alone) == num_images // 12
    assert all(len(update) == 12 for update in alone)
    assert _updates(num_images, 12, *shares, epoch, first) == alone[first:]


def test_accumulated_batches_come_one_after_the_other_each_divided_among_processes() -> None:
    (first, second) = TrainBatches(24, Shares(12), seed=7)
    # Of an update's twelve images the second of two processes has the fourth to sixth and the tenth to twelfth.
    assert list(TrainBatches(24, Shares(12, 2, 1, 2), seed=7)) == [
        first[3:6],
        first[9:12],
        second[3:6],
        second[9:12],
    ]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = set()
    for seed in (0, 1):
        for epoch in (0, 1):
            batches = TrainBatches(40, Shares(8), seed)
            batches.start(epoch, 0)
            order = tuple(index for batch in batches for _, index in batch)
            assert sorted(order) == list(range(40))
            orders.add(order)
    assert len(orders) == 4


def test_batches_that_do_not_divide_or_are_too_large() -> None:
    with pytest.raises(SettingsError, match="10 images are not divided by 4 processes × 1 accumulated"):
        Shares(10, 1, 0, 4)
    with pytest.raises(SettingsError, match="64 images an update, and the training split has 60"):
        TrainBatches(60, Shares(64), 0)


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_evaluation_sees_every_image_once_in_as_many_batches(
    num_images: int, batch_size: int, world: int
) -> None:
    ranks = [list(EvalBatches(num_images, batch_size, rank, world)) for rank in range(world)]
    seen = [index for batches in ranks for batch in batches for _, index in batch]
    assert sorted(index for index in seen if index != PADDING) == list(range(num_images))
    assert len({tuple(map(len, batches)) for batches in ranks}) == 1


def _noisy(image: Image.Image) -> torch.Tensor:
    """Draw from all three generators, as timm's transforms do."""
    return torch.tensor(
        [random.random(), np.random.rand(), float(torch.rand(())), float(np.asarray(image).sum())]
    )


def _batch(keys: list[tuple[int, int]]) -> list[list[float]]:
    prepared = Prepared(few_digits().train, _noisy, 1, seed=5)
    return [item.image.tolist() for item in prepared.__getitems__(keys)]


def test_draws_depend_on_seed_epoch_and_image_alone() -> None:
    (first,) = _batch([(0, 3)])
    seed_cpu(99)
    assert _batch([(0, 8), (0, 3)])[1] == first
    assert _batch([(1, 3)])[0][:3] != first[:3]
    assert len({value for row in _batch([(0, 1), (0, 2), (0, 3)]) for value in row[:3]}) == 9


def test_kept_states_are_put_back() -> None:
    seed_cpu(4)
    wanted = (random.random(), np.random.rand(), float(torch.rand(())))
    seed_cpu(4)
    with kept_random_state():
        _batch([(0, 1), (0, 2)])
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == wanted
    assert derived_seed(1, 2) != derived_seed(2, 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(workers: int) -> None:
    options: dict[str, Any] = {"channels": 1, "shares": Shares(32, 2), "seed": 1}
    loader = TrainLoader(few_digits().train, _noisy, workers=workers, **options)
    alone = TrainLoader(few_digits().train, _noisy, workers=0, **options)
    assert loader.updates == 5
    for epoch, first in ((1, 0), (1, 3)):
        batches = list(loader.batches(epoch, first))
        assert len(batches) == 2 * (5 - first)
        for mine, theirs in zip(batches, alone.batches(epoch, first), strict=True):
            assert torch.equal(mine.images, theirs.images)
            assert torch.equal(mine.indices, theirs.indices)


def test_evaluation_pads_with_what_is_not_counted() -> None:
    split = few_digits(val=5).val
    loaders = [EvalLoader(split, _noisy, 1, 2, rank, 2, workers=0) for rank in range(2)]
    indices = [[batch.indices.tolist() for batch in loader] for loader in loaders]
    assert indices == [[[0, 2], [4]], [[1, 3], [PADDING]]]


def test_images_in_memory_need_no_workers() -> None:
    split = few_digits().val
    assert default_workers(split, 1) == 0
    assert isinstance(split, ChosenImages)
    assert default_workers(ChosenImages(split.images, [0]), 2) == 0


def test_a_short_epoch_has_the_first_updates_of_a_whole_one() -> None:
    whole, short = TrainBatches(40, Shares(8), seed=3), TrainBatches(40, Shares(8, most=2), seed=3)
    assert (whole.updates, short.updates, len(short)) == (5, 2, 2)
    assert list(short) == list(whole)[:2]
    assert TrainBatches(40, Shares(8, most=9), seed=3).updates == 5
