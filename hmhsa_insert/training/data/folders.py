"""Image folders and tar files: their splits and classes as the user sees them, checked before anything is trained."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from hmhsa_insert.errors import Problem, mention
from hmhsa_insert.training.data.files import FileImages
from hmhsa_insert.training.data.pictures import PLUGINS, ending
from hmhsa_insert.training.data.split_names import split_name
from hmhsa_insert.training.data.splits import TreeReading, at, chosen, grown
from hmhsa_insert.training.data.tree import File, Tree, scan
from hmhsa_insert.training.names import few_shown, order, order_part, shown
from hmhsa_insert.training.problems import DataError

_TIP = "give a folder with one subfolder a class, or with train and val folders (or tar files) of such"


@dataclass(frozen=True)
class Folder:
    """What was read of a folder.

    Attributes:
        root: where.
        train: the training split; None: there is none, or only what is scored was asked for.
        val: the validation split, or None.
        classes: names in the order of their numbers, printable.
        notes: what was taken for what, and what was left out.
    """

    root: Path
    train: FileImages | None
    val: FileImages | None
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def splits(self) -> tuple[FileImages, ...]:
        """The splits there are."""
        return tuple(split for split in (self.train, self.val) if split is not None)


def read_folder(root: Path, train: str | None = None, val: str | None = None) -> Folder:
    """Return the splits and classes of a folder or tar file, for training.

    Args:
        root: the folder or tar file.
        train: folder of the training split below it, if the settings choose one.
        val: of the validation split, likewise.

    Raises:
        DataError: nothing is there, or it holds no pictures; it can be read in several ways; a class is empty, or is
            in one split only.
    """
    tree, reading = _read(root, train, val)
    if reading.train is None:
        message = f"has a validation split, '{shown(reading.val or '')}', and no training split"
        raise DataError(Problem(shown(str(root)), message, "`overrides=['loader.train=FOLDER']` names it"))
    first = _Split(tree, reading.train)
    _refuse_unusable(first, tree)
    second = _Split(tree, reading.val) if reading.val is not None else None
    if second is not None:
        _refuse_loose(second)
        _compare(first, second)
    notes = [*_taken(first, second), *_left_out(tree, reading)]
    return Folder(
        root,
        first.images(first.classes),
        second.images(first.classes) if second is not None else None,
        tuple(map(shown, first.classes)),
        tuple(notes),
    )


def read_scored(root: Path, train: str | None = None, val: str | None = None) -> Folder:
    """Return the pictures to score of a folder: its validation split, or all of it where there are no splits.

    Raises:
        DataError: nothing is there, it holds no pictures, it can be read in several ways, or pictures are in no class.
    """
    tree, reading = _read(root, train, val)
    split = _Split(tree, reading.val if reading.val is not None else reading.train or "")
    _refuse_loose(split)
    what = f"'{shown(split.below)}'" if split.below else "all of it (there is no validation split)"
    notes = [f"scored: {what}, {split.said}", *split.deeper, *_left_out(tree, reading)]
    images = split.images(split.classes)
    whole = reading.val is None
    classes = tuple(map(shown, split.classes))
    return Folder(root, images if whole else None, None if whole else images, classes, tuple(notes))


class _Split:
    """Pictures below one folder, sorted into classes: the folders directly in it."""

    def __init__(self, tree: Tree, below: str) -> None:
        self._tree, self.below = tree, below
        self.where = shown(str(tree.root / below if below else tree.root))
        self.loose: list[str] = []
        self.counts: Counter[str] = Counter()
        self._deeper: Counter[str] = Counter()
        keyed: list[tuple[str, File]] = []
        for folder, files in tree.pictures.items():
            if folder == below:
                self.loose = [file.path.rpartition("/")[2] for file in files]
                continue
            if below and not folder.startswith(f"{below}/"):
                continue
            inside = folder[len(below) + 1 :] if below else folder
            name, _, rest = inside.partition("/")
            self.counts[name] += len(files)
            if rest:
                self._deeper[f"{name}/{rest.partition('/')[0]}"] += len(files)
            start, cut = order_part(f"{inside}/"), len(folder) + 1
            keyed += [(f"{start}{order_part(file.path[cut:])}\0\0{file.path[cut:]}", file) for file in files]
        # By the key alone would be enough but for two folders whose names differ in case.
        keyed.sort(key=itemgetter(0, 1))
        self._files = [file for _, file in keyed]
        self.classes = sorted(self.counts, key=order)

    def images(self, classes: list[str]) -> FileImages:
        """Return the pictures, numbered by `classes`."""
        numbers = {name: number for number, name in enumerate(classes)}
        cut = len(self.below) + 1 if self.below else 0
        targets = [numbers[file.path[cut:].partition("/")[0]] for file in self._files]
        return FileImages(self._tree.root, self._files, targets, self.below)

    @property
    def empty(self) -> list[str]:
        """Folders in it that hold no picture."""
        start = f"{self.below}/" if self.below else ""
        inside = (path[len(start) :] for path in self._tree.folders if path.startswith(start))
        return sorted((name for name in inside if "/" not in name and not self.counts[name]), key=order)

    @property
    def said(self) -> str:
        """Counts in words."""
        return f"{len(self._files):,} pictures of {len(self.classes)} classes"

    @property
    def deeper(self) -> list[str]:
        """What is said of pictures that lie in folders of a class."""
        if not self._deeper:
            return []
        count, folders = sum(self._deeper.values()), sorted(self._deeper, key=order)
        return [f"{count:,} pictures lie in folders of a class and belong to it: {few_shown(folders)}"]


def _read(root: Path, train: str | None, val: str | None) -> tuple[Tree, TreeReading]:
    if not os.path.exists(root):
        raise DataError(Problem(shown(str(root)), "there is no such folder", _TIP))
    tree = scan(root)
    if not tree.pictures:
        found = _kinds(tree.others) or "nothing else either"
        raise DataError(
            Problem(shown(str(root)), f"no pictures in it: {found}", _missing(tree.others) or _TIP)
        )
    return tree, chosen(grown(tree), shown(str(root)), train, val)


def _refuse_loose(split: _Split) -> None:
    if split.loose:
        message = (
            f"images lie in this folder itself, in no class: {few_shown(sorted(split.loose, key=order))}"
        )
        raise DataError(Problem(split.where, message, _TIP))


def _refuse_unusable(split: _Split, tree: Tree) -> None:
    """Raise if pictures are in no class, a class has none, or there is only one."""
    _refuse_loose(split)
    if empty := split.empty:
        inside = _inside(tree, split.below, empty[0])
        found = f" ({_kinds(inside)} in it)" if inside else ""
        tip = _missing(inside) or "add images, or remove the folder"
        message = f"no images in class {few_shown(empty)}{found}"
        raise DataError(Problem(f"{split.where}/{shown(empty[0])}", message, tip))
    if len(split.classes) < 2:
        message = f"holds {len(split.classes)} class: {', '.join(map(shown, split.classes))}"
        raise DataError(
            Problem(
                split.where,
                message,
                _choice(tree, "/".join(filter(None, (split.below, *split.classes)))) or _TIP,
            )
        )


def _choice(tree: Tree, only: str) -> str:
    """Return the tip for a folder around the one that was meant."""
    node = at(grown(tree), only)
    if node is None or len(node.filled) < 2:
        return ""
    names = few_shown([child.name for child in node.filled])
    chosen = mention("overrides", [f"loader.train={shown(only)}"])
    return f"if {names} are the classes: {chosen}, or give {shown(str(tree.root / only))}"


def _compare(train: _Split, val: _Split) -> None:
    unknown = [name for name in val.classes if name not in train.counts]
    missing = [name for name in train.classes if name not in val.counts]
    problems = []
    if unknown:
        problems.append(Problem(val.where, f"holds {few_shown(unknown)}, unknown in {train.where}"))
    if missing:
        tip = "give every class an image in both, or none"
        problems.append(Problem(val.where, f"no images in class {few_shown(missing)}", tip))
    if problems:
        raise DataError(problems)


def _taken(train: _Split, val: _Split | None) -> Iterator[str]:
    """Yield what was taken for what."""
    if val is not None:
        yield f"training: '{shown(train.below)}', {train.said}; validation: '{shown(val.below)}', {val.said}"
    elif train.below:
        yield f"training: '{shown(train.below)}', {train.said}"
    if val is None and (splits := [name for name in train.classes if split_name(name) is not None]):
        yield f"read as classes, though called like splits: {few_shown(splits)}"
    yield from train.deeper
    if val is not None:
        yield from val.deeper


def _left_out(tree: Tree, reading: TreeReading) -> Iterator[str]:
    """Yield what is not read, counted by where and what it is."""
    starts = tuple(f"{path}/" if path else "" for path in (reading.train, reading.val) if path is not None)
    beside = {
        folder: len(files) for folder, files in tree.pictures.items() if not f"{folder}/".startswith(starts)
    }
    if beside:
        folders = [folder or "." for folder in sorted(beside, key=order)]
        yield f"not read: {sum(beside.values()):,} pictures beside the splits, in {few_shown(folders)}"
    if tree.others:
        tip = _missing(tree.others)
        yield f"left out: {_kinds(tree.others)}" + (f" ({tip})" if tip else "")
    if tree.system:
        example = few_shown(sorted(tree.system)[:1])
        yield f"left out: {len(tree.system):,} hidden or system files and folders, such as {example}"


def _inside(tree: Tree, below: str, name: str) -> Mapping[str, str]:
    start = f"{below}/{name}/" if below else f"{name}/"
    return {path: kind for path, kind in tree.others.items() if path.startswith(start)}


def _kinds(others: Mapping[str, str]) -> str:
    """Return how many files there are of each ending, the most first."""
    counts = sorted(Counter(others.values()).items(), key=lambda item: (-item[1], item[0]))
    said = [f"{count:,} {shown(kind) or 'without an ending'}" for kind, count in counts]
    return ", ".join(said[:6]) + (f" and {len(said) - 6} other endings" if len(said) > 6 else "")


def _missing(others: Mapping[str, str]) -> str:
    """Return the tip for pictures that a package would read which is not installed."""
    packages = sorted({PLUGINS[kind] for path in others if (kind := ending(path)) in PLUGINS})
    return f"pip install {' '.join(packages)} to read them" if packages else ""
