"""Which folder is which split: the one reading of a tree, or an error that lists the readings there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from hmhsa_insert.errors import Problem, mention, near
from hmhsa_insert.training.data.split_names import SplitKind, is_filler, split_name
from hmhsa_insert.training.data.tree import Tree
from hmhsa_insert.training.names import few_shown, order, shown
from hmhsa_insert.training.problems import DataError

ROOT, NONE = ".", "none"


@dataclass
class Node:
    """A folder and what is in it.

    Attributes:
        path: below the root; empty for the root.
        name: of the folder.
        pictures: that lie in it directly.
        total: pictures in it and below.
        children: its folders, by name.
    """

    path: str
    name: str
    pictures: int = 0
    total: int = 0
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def filled(self) -> list[Node]:
        """Its folders that hold pictures, in order."""
        found = [child for child in self.children.values() if child.total]
        return sorted(found, key=lambda child: order(child.name))

    @property
    def holds_folders(self) -> bool:
        """Whether pictures lie in folders below it."""
        return self.total > self.pictures


@dataclass(frozen=True)
class TreeReading:
    """One way to read a tree.

    Attributes:
        train, val: paths of the splits' folders below the root; empty: the root; None: there is none.
    """

    train: str | None
    val: str | None = None

    @property
    def options(self) -> str:
        """The settings that choose it."""
        train = f"loader.train={shown(self.train or ROOT)}" if self.train is not None else ""
        val = f"loader.val={shown(self.val)}" if self.val is not None else ""
        return mention("overrides", [each for each in (train, val) if each])


def grown(tree: Tree) -> Node:
    """Return a tree's folders as nodes, with what they hold."""
    root = Node("", "")
    nodes = {"": root}

    def node(path: str) -> Node:
        if path not in nodes:
            above, _, name = path.rpartition("/")
            nodes[path] = node(above).children.setdefault(name, Node(path, name))
        return nodes[path]

    for folder in tree.folders:
        node(folder)
    for folder, files in tree.pictures.items():
        count = node(folder).pictures = len(files)
        while folder:
            nodes[folder].total += count
            folder = folder.rpartition("/")[0]
        root.total += count
    return root


def chosen(root: Node, where: str, train: str | None, val: str | None) -> TreeReading:
    """Return the reading that the settings choose, or else the only one.

    Args:
        root: of the tree.
        where: what the user called it.
        train: ``loader.train``: a folder below the root, `.` for the root itself; None: found by its name.
        val: ``loader.val``, likewise; ``none``: there is none.

    Raises:
        DataError: there are several readings, or a chosen folder is not there.
    """
    if train is None and val in (None, NONE):
        if not _splits_in(root)[0]:
            _refuse_splits_in_classes(root, where)
        found = list(dict.fromkeys(readings(root)))
        if len(found) > 1:
            raise DataError(_ambiguous(found, where))
        return TreeReading(found[0].train) if val == NONE else found[0]
    paths = [
        _folder(root, where, f"loader.{name}", path) if path not in (None, NONE) else None
        for name, path in (("train", train), ("val", val))
    ]
    first, second = paths
    if first is not None and second is not None and _overlap(first, second):
        message = f"{shown(first or ROOT)} and {shown(second or ROOT)} share pictures: one lies in the other"
        raise DataError(Problem("loader.val", message))
    return TreeReading(first, second)


def readings(root: Node) -> Iterator[TreeReading]:
    """Yield every way to read a folder; most have one."""
    splits, flat = _splits_in(root)
    if splits:
        yield from _of_splits(root, splits, flat)
        return
    if len(root.filled) == 1 and _splits_in(root.filled[0])[0] and not root.pictures:
        yield from readings(root.filled[0])
        return
    inner = [child for child in root.filled if "train" in _splits_in(child)[0].values()]
    yield TreeReading("")
    for child in inner:
        yield from readings(child)
    # Pictures in train and in test, and no folders in either: two classes, or two splits without classes?
    kinds = set(flat.values())
    if len(kinds) > 1:
        paths = {kind: next(path for path, each in flat.items() if each == kind) for kind in kinds}
        yield TreeReading(paths.get("train"), paths.get("val", paths.get("test")))


def _of_splits(root: Node, splits: dict[str, SplitKind], flat: dict[str, SplitKind]) -> Iterator[TreeReading]:
    """Yield the readings of a folder that holds folders of splits."""
    trains = [path for path, kind in splits.items() if kind == "train"]
    for kind in ("val", "test"):
        if vals := [path for path, each in splits.items() if each == kind]:
            break
    others = [child.path for child in root.filled if child.path not in splits and child.path not in flat]
    first: list[str | None] = [*trains] or [None]
    second: list[str | None] = [*vals] or [None]
    for train, val in product(first, second):
        yield TreeReading(
            _innermost(_child(root, train)).path if train is not None else None,
            _innermost(_child(root, val)).path if val is not None else None,
        )
    if others and not (trains and vals):
        yield TreeReading("")  # a class that is called train


def _refuse_splits_in_classes(root: Node, where: str) -> None:
    """Raise for cat/train, cat/test, dog/train, …: all of it would be trained on."""
    for child in root.filled:
        flat = _splits_in(child)[1]
        if len(set(flat.values())) > 1:
            message = f"{few_shown(list(flat))} are splits that lie inside a class, and no folders of classes"
            tip = "put the splits first (train/cat, test/cat); all pictures of a class: `overrides=['loader.train=.']`"
            raise DataError(Problem(where, message, tip))


def _splits_in(node: Node) -> tuple[dict[str, SplitKind], dict[str, SplitKind]]:
    """Return which folders are called like splits: those that hold folders, and those that hold pictures only."""
    named = [(child, said) for child in node.filled if (said := split_name(child.name)) is not None]
    kinds_of: dict[tuple[str, ...], set[SplitKind]] = {}
    for _, said in named:
        kinds_of.setdefault(said.affix, set()).add(said.kind)
    meant = [(child, said.kind) for child, said in named if not said.affix or len(kinds_of[said.affix]) > 1]
    deep = {child.path: kind for child, kind in meant if _innermost(child).holds_folders}
    return deep, {child.path: kind for child, kind in meant if child.path not in deep}


def _innermost(node: Node) -> Node:
    """Return the folder of a split's classes: train in train/train/cat, and images in train/images/cat."""
    while not node.pictures and len(node.filled) == 1:
        (only,) = node.filled
        said, own = split_name(only.name), split_name(node.name)
        if not is_filler(only.name) and (said is None or own is None or said.kind != own.kind):
            break
        node = only
    return node


def _child(node: Node, path: str) -> Node:
    """Return the folder of a node that has this path below the root."""
    return next(child for child in node.filled if child.path == path)


def at(root: Node, path: str) -> Node | None:
    """Return the folder at a path below the root; None if there is none."""
    node: Node | None = root
    for part in filter(None, path.split("/")):
        node = node.children.get(part) if node is not None else None
    return node


def _folder(root: Node, where: str, key: str, path: str | None) -> str:
    wanted = "/".join(part for part in (path or "").split("/") if part not in ("", ROOT))
    node = at(root, wanted)
    if node is None or not node.total:
        there = [child.path for child in root.filled] + [c.path for n in root.filled for c in n.filled]
        message = f"there is no folder '{shown(wanted)}' with pictures in {where}"
        raise DataError(Problem(key, message, near(wanted, there) or f"there are: {few_shown(there)}"))
    return wanted


def _overlap(one: str, other: str) -> bool:
    return one == other or any(f"{a}/".startswith(f"{b}/") or not b for a, b in ((one, other), (other, one)))


def _ambiguous(found: list[TreeReading], where: str) -> list[Problem]:
    """Return what to say of a tree that has several readings: all of them, and how each is chosen."""
    problems = [Problem(where, f"can be read in {len(found)} ways; choose one")]
    for reading in found:
        if reading.train == "" and reading.val is None:
            text = "its folders are the classes"
        else:
            text = f"training from {_said(reading.train)}, validation from {_said(reading.val)}"
        problems.append(Problem(where, text, reading.options))
    return problems


def _said(path: str | None) -> str:
    return "no folder" if path is None else f"'{shown(path)}'"
