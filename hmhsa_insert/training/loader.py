"""Loaders: images read, augmented by timm's transforms and collated, every draw seeded by where it is made.

Reading seeds python's, numpy's and torch's CPU generators for each image and leaves them so; the loop seeds them again
for each update, after its batch was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Sampler

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.machine import cores
from hmhsa_insert.training.data.images import ArrayImages, ChosenImages, Images
from hmhsa_insert.training.data.order import PADDING, EvalBatches, Key, Shares, TrainBatches
from hmhsa_insert.training.data.streams import Stream, StreamedImages
from hmhsa_insert.training.loop.seeding import IMAGE, STREAM, derived_seed, seed_cpu
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.workers import BatchReading, Rest, WorkerLoader, as_it_is, prepare_worker

T = TypeVar("T")
Transform = Callable[[Image.Image], torch.Tensor]
_MODES = {1: "L", 3: "RGB"}
_MOST_WORKERS = 8
_MOST_DAMAGED = 50  # in a row: then the folder is damaged, or a disk is gone, and not an image


class Batch(NamedTuple):
    """What a loader yields.

    Attributes:
        images: N×C×H×W, normalized.
        targets: N.
        indices: N, each image's number in its split; PADDING for what only fills up the batch.
        damaged: N, true where the image of that index could not be read; in training another stands in for it.
    """

    images: torch.Tensor
    targets: torch.Tensor
    indices: torch.Tensor
    damaged: torch.Tensor


class Item(NamedTuple):
    """One image of a batch."""

    image: torch.Tensor
    target: int
    number: int
    damaged: bool


class _Readable(Protocol):
    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image: ...

    def name(self, index: int) -> str: ...


class Prepared:
    """Images of a split, read by key and transformed; a batch at a time.

    Args:
        images: the split.
        transform: of one image; may draw from python's, numpy's and torch's generators.
        channels: what images are converted to first: 1, 3, or the number that arrays have.
        seed: of the run.
    """

    def __init__(self, images: Images, transform: Transform, channels: int, seed: int) -> None:
        self._images = images
        self._transform = transform
        self._mode = _MODES.get(channels, str(channels))  # a number is for arrays
        self._seed = seed

    def batch(self, keys: Sequence[Key]) -> Batch:
        """Return the images of these keys."""
        return _collate(self.__getitems__(keys))

    def __getitems__(self, keys: Sequence[Key]) -> list[Item]:
        """Return the images of these keys, one by one."""
        return [self[key] for key in keys]

    def __getitem__(self, key: Key) -> Item:
        epoch, index = key
        seed_cpu(derived_seed(self._seed, IMAGE, epoch, index))
        wanted = 0 if index == PADDING else index
        read, image = read_or_next(self._images, wanted, self._mode)
        return Item(self._transform(image), int(self._images.targets[read]), index, read != wanted)


class Streamed(IterableDataset[Item]):
    """A stream's images, transformed."""

    def __init__(self, images: StreamedImages, transform: Transform, channels: int) -> None:
        self._images = images
        self._transform = transform
        self._mode = _MODES[channels]

    def __iter__(self) -> Iterator[Item]:
        for image, target, number, seed in self._images:
            seed_cpu(seed)
            yield Item(self._transform(image.convert(self._mode)), target, number, False)


class TrainLoader:
    """The training split of one process, any epoch from any update on.

    Args:
        split: what to read.
        transform: of one image.
        channels: of the network's images, 1 or 3.
        shares: how an update's images are divided.
        seed: of the run.
        workers: processes that read; None: see :func:`default_workers`.
        pin: keep batches in page-locked memory, for an accelerator.
    """

    def __init__(
        self,
        split: Images | Stream,
        transform: Transform,
        channels: int,
        shares: Shares,
        seed: int,
        workers: int | None = None,
        pin: bool = False,
    ) -> None:
        self._split, self._transform, self._channels, self._shares = split, transform, channels, shares
        self._seed = seed
        count = len(split) if isinstance(split, Stream) else len(split.targets)
        self._sampler = TrainBatches(count, shares, seed)
        self._workers, self._pin = _workers(split, workers, shares.world), pin
        self._loader: WorkerLoader[Batch] | None = None
        if not isinstance(split, Stream):
            prepared = Prepared(split, transform, channels, seed)
            self._loader = reading_loader(prepared.batch, self._sampler, self._workers, pin)

    @property
    def updates(self) -> int:
        """Updates in an epoch."""
        return self._sampler.updates

    def batches(self, epoch: int, first_update: int = 0) -> Iterator[Batch]:
        """Yield this process's batches of an epoch, `accumulate` of them an update."""
        if self._loader is not None:
            self._sampler.start(epoch, first_update)
            return iter(self._loader)
        # A stream has no places: what comes before is read and passed over.
        start, stop = (n * self._shares.accumulate for n in (first_update, self.updates))
        return islice(WorkerLoader[Batch](lambda: self._stream(epoch)), start, stop)

    def close(self) -> None:
        """End the processes that read."""
        if self._loader is not None:
            self._loader.close()

    def _stream(self, epoch: int) -> DataLoader[Item]:
        assert isinstance(self._split, Stream)
        images = self._split.open(training=True, seed=self._seed, epoch=epoch, workers=self._workers)
        streamed = Streamed(images, self._transform, self._channels)
        options = stream_options(self._workers, self._pin, derived_seed(self._seed, STREAM, epoch, 2))
        return DataLoader(streamed, self._shares.micro_batch, drop_last=True, **options)


class EvalLoader:
    """A split read in order, every image once over all processes.

    Args:
        split: what to read.
        transform: of one image.
        channels: of the network's images, 1 or 3.
        batch_size: images of one forward in one process.
        rank, world: number of this process, and how many there are.
        workers, pin: as of :class:`TrainLoader`.
    """

    def __init__(
        self,
        split: Images | Stream,
        transform: Transform,
        channels: int,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        workers: int | None = None,
        pin: bool = False,
    ) -> None:
        self._rank, self._world = rank, world
        count = _workers(split, workers, world)
        if isinstance(split, Stream):
            images = split.open(training=False, seed=0, epoch=0, workers=count)
            streamed, options = Streamed(images, transform, channels), stream_options(count, pin, 0)
            self._loader = WorkerLoader[Batch](lambda: DataLoader(streamed, batch_size, **options))
            self._divided = world == 1
        else:
            batches = EvalBatches(len(split.targets), batch_size, rank, world)
            prepared = Prepared(split, transform, channels, seed=0)
            self._loader = reading_loader(prepared.batch, batches, count, pin)
            self._divided = True

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader) if self._divided else self._own_batches()

    def close(self) -> None:
        """End the processes that read."""
        self._loader.close()

    def _own_batches(self) -> Iterator[Batch]:
        """Yield every world-th batch of what every process reads; as many in every process."""
        batches = iter(self._loader)
        while group := list(islice(batches, self._world)):
            if self._rank < len(group):
                yield group[self._rank]
            else:
                yield group[0]._replace(indices=torch.full_like(group[0].indices, PADDING))


def read_or_next(images: _Readable, wanted: int, mode: str = "RGB") -> tuple[int, Image.Image]:
    """Return the wanted image, or else the next one that can be read, and which one it is.

    Raises:
        DataError: so many cannot be read that the folder is damaged and not an image.
    """
    return first_readable(lambda index: images.image(index).convert(mode), len(images), wanted, images.name)


def first_readable(
    read: Callable[[int], T], count: int, wanted: int, name: Callable[[int], str]
) -> tuple[int, T]:
    """Return what `read` makes of the wanted one of `count`, or else of the next that can be read, and which it is.

    Raises:
        DataError: so many cannot be read that the folder is damaged and not an image.
    """
    for step in range(min(count, _MOST_DAMAGED)):
        index = (wanted + step) % count
        try:
            return index, read(index)
        except Exception:  # a damaged image fails in any way its format likes; the loop counts and names it
            continue
    message = f"this and the {step} images after it cannot be read"
    raise DataError(Problem(name(wanted), message))


def default_workers(split: object, world: int) -> int:
    """Return 0 for images in memory, else one worker a core that this process can use, at most 8."""
    whole = split
    while isinstance(whole, ChosenImages):
        whole = whole.images
    if isinstance(whole, ArrayImages):
        return 0
    most = split.num_shards // world if isinstance(split, Stream) else _MOST_WORKERS
    return max(0, min(cores() // world, _MOST_WORKERS, most))


def reading_loader(
    read: Callable[[Any], Any], batches: Sampler[Any], workers: int, pin: bool
) -> WorkerLoader[Any]:
    """Return the batches of a sampler, each read and collated by `read`."""
    rest = Rest(batches)
    options = {**_options(workers, pin, 0), "batch_sampler": rest, "collate_fn": as_it_is}
    options["persistent_workers"] = workers > 0
    return WorkerLoader(lambda **others: DataLoader(BatchReading(read), **(options | others)), rest)


def stream_options(workers: int, pin: bool, seed: int) -> dict[str, Any]:
    """Return what is passed to torch's ``DataLoader`` of a stream."""
    return {**_options(workers, pin, seed), "collate_fn": _collate}


def _options(workers: int, pin: bool, seed: int) -> dict[str, Any]:
    return {
        "num_workers": workers,
        "pin_memory": pin,
        "worker_init_fn": prepare_worker,
        # Its own, so that starting workers draws nothing from the generator of the training itself.
        "generator": torch.Generator().manual_seed(seed),
    }


def _workers(split: Images | Stream, workers: int | None, world: int) -> int:
    workers = default_workers(split, world) if workers is None else workers
    if isinstance(split, Stream) and split.num_shards < max(workers, 1) * world:
        message = f"{split.num_shards} shards for {world} processes with {workers} workers each"
        raise DataError(Problem(split.root, message, "a worker needs a shard of its own: fewer workers"))
    return workers


def _collate(items: list[Item]) -> Batch:
    images, targets, indices, damaged = zip(*items, strict=True)
    return Batch(torch.stack(images), torch.tensor(targets), torch.tensor(indices), torch.tensor(damaged))
