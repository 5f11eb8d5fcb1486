"""Streamed data: shards of webdataset, which have an order of their own and cannot be asked for one image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from timm.data import create_dataset
from torch.utils.data import IterableDataset, get_worker_info

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.training.data.digests import CONTENTS, Watch, file_digests
from hmhsa_insert.training.data.pictures import as_it_looks
from hmhsa_insert.training.data.split_names import split_kind
from hmhsa_insert.training.data.tree import File, stamp_of
from hmhsa_insert.training.loop.seeding import STREAM, derived_seed
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.schema import LoaderSettings

_MOST_CLASSES = 100_000  # ten times those of any data set: one that has more is damaged
_INFO_TIP = (
    'timm\'s _info.json: {"splits": {"train": {"name": "train", "num_samples": …, "filenames": […], '
    '"shard_lengths": […]}, "validation": {…}}}'
)


@dataclass(frozen=True)
class Stream:
    """One split of a streamed source; images are read as RGB.

    Attributes:
        source: ``wds/FOLDER``.
        root: the folder.
        split: its name in ``_info.json``.
        num_samples: images in it.
        num_shards: files in it.
    """

    source: str
    root: str
    split: str
    num_samples: int
    num_shards: int

    def __len__(self) -> int:
        return self.num_samples

    def name(self, index: int) -> str:
        """Return the image's number: a stream has no names."""
        return str(index)

    def open(self, training: bool, seed: int, epoch: int, workers: int) -> StreamedImages:
        """Return the split opened again, its order depending on seed and epoch alone (in training)."""
        # timm keeps a shuffle buffer's generator from epoch to epoch; opened again, an epoch can be repeated.
        start = derived_seed(seed, STREAM, epoch) & 0x7FFFFFFF
        # Not converted by timm: what a picture looks like is also in what its conversion would drop.
        dataset = create_dataset(
            self.source,
            root=self.root,
            split=self.split,
            is_training=training,
            seed=start,
            input_img_mode="",
        )
        if not training:  # every process reads all of it and keeps its own batches: none twice, none left out
            dataset.reader.dist_rank, dataset.reader.dist_num_replicas = 0, 1
        dataset.set_loader_cfg(num_workers=workers)
        dataset.set_epoch(epoch)
        return StreamedImages(dataset, derived_seed(seed, STREAM, epoch, 1))


class StreamedImages(IterableDataset[tuple[Image.Image, int, int, int]]):
    """Yields an image, its class, a number that no other image of the split has, and a seed for its draws."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self._dataset = dataset
        self._seed = seed

    def __iter__(self) -> Iterator[tuple[Image.Image, int, int, int]]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        rank = self._dataset.reader.dist_rank
        for count, (image, target) in enumerate(self._dataset):
            number = count * workers + worker
            yield as_it_looks(image), int(target), number, derived_seed(self._seed, rank, number)


def open_streams(
    source: str, data_dir: str | Path | None, loader: LoaderSettings, watch: Watch | None = None
) -> tuple[Stream, Stream, tuple[str, ...], tuple[str, ...], str]:
    """Return the two splits, the classes, notes and fingerprint of ``wds/FOLDER``.

    Raises:
        DataError: no such folder, no ``_info.json``, a split or the number of classes is missing.
    """
    root = Path(data_dir or "") / source.partition("/")[2]
    info = _read_info(root)
    try:
        import webdataset  # noqa: F401
    except ImportError as error:
        raise DataError(
            Problem(source, "needs the package webdataset", "pip install 'hmhsa-insert[wds]'")
        ) from error
    splits = info["splits"]
    kinds = {kind: name for name, kind in reversed(split_kind(splits).items())}
    train_name, val_name = kinds.get("train"), kinds.get("val", kinds.get("test"))
    if train_name is None or val_name is None:
        raise DataError(Problem(str(root / "_info.json"), f"splits: {', '.join(splits)}", _INFO_TIP))
    num_classes = info.get("num_classes") or loader.num_classes
    if num_classes is not None and not (_is_count(num_classes) and num_classes <= _MOST_CLASSES):
        message = f"'num_classes' must be an integer up to {_MOST_CLASSES:,}, found {shown(num_classes)}"
        raise DataError(Problem(str(root / "_info.json"), message))
    if not num_classes:
        tip = "set loader.num_classes, or write num_classes into _info.json"
        raise DataError(Problem(source, "a stream does not say how many classes it has", tip))
    train, val = (_stream(root, name, splits[name]) for name in (train_name, val_name))
    note = "a stream: images are read as RGB, damaged ones are left out by webdataset without being counted"
    classes = tuple(str(number) for number in range(int(num_classes)))
    return train, val, classes, (note,), _fingerprint(root, [splits[train_name], splits[val_name]], watch)


def _fingerprint(root: Path, splits: Sequence[Mapping[str, Any]], watch: Watch | None) -> str:
    """Return a digest of what is in the shards, split by split; how they are called plays no part."""
    digest = hashlib.sha256()
    for split in splits:
        shards = []
        for name in split["filenames"]:
            status = (root / name).stat()
            shards.append(File(name, status.st_size, stamp_of(status)))
        digest.update(b"split\0" + b"".join(file_digests(root, shards, watch)))
    return CONTENTS + digest.hexdigest()[:24]


def _read_info(root: Path) -> dict[str, Any]:
    path = root / "_info.json"
    if not os.path.isdir(root):
        raise DataError(
            Problem(str(root), "there is no such folder", "write wds/FOLDER, or give `data_dir=DIR`")
        )
    info = read_json_mapping(path, DataError, tip=_INFO_TIP)
    if not isinstance(info.get("splits"), dict):
        raise DataError(Problem(str(path), "names no splits", _INFO_TIP))
    return info


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40


def _stream(root: Path, name: str, split: Any) -> Stream:
    found = split if isinstance(split, dict) else {}
    files: Any = found.get("filenames")
    samples: Any = found.get("num_samples")
    if not (isinstance(files, list) and all(isinstance(file, str) for file in files) and _is_count(samples)):
        message = f"split '{name}' needs a list 'filenames' and a number 'num_samples'"
        raise DataError(Problem(str(root / "_info.json"), message, _INFO_TIP))
    missing = [str(root / file) for file in files if not os.path.isfile(root / file)]
    if missing:
        raise DataError(Problem(missing[0], f"this shard of split '{name}' is missing"))
    return Stream("wds/", str(root), name, samples, len(files))
