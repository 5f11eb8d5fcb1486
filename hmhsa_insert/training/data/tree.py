"""What lies in a folder or a tar file: pictures, folders, and all that is neither, in an order of their names."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.collector import resting_collector
from hmhsa_insert.training.data.arrays import ENDING as ARRAY
from hmhsa_insert.training.data.pictures import ending, picture_endings
from hmhsa_insert.training.data.split_names import split_name
from hmhsa_insert.training.names import shown
from hmhsa_insert.training.problems import DataError

# What file managers, notebooks, cameras' cards and network drives leave behind, beside all that is hidden (".…").
_SYSTEM = {
    *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler", "lost+found"),
    *("__macosx", "__pycache__", "system volume information", "network trash folder", "temporary items"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
}  # fmt: skip
LINK, ODD = "links that lead nowhere", "neither files nor folders"


class File(NamedTuple):
    """A picture's file.

    Attributes:
        path: below the root, `/` between its parts.
        size: in bytes.
        stamp: what changes when it is written to: times of its content and of its entry, and its inode's number.
        tar: the tar file below the root that it lies in, or None.
        offset: of its first byte in that file.
    """

    path: str
    size: int
    stamp: tuple[int, int, int]
    tar: str | None = None
    offset: int = 0


@dataclass
class Tree:
    """What lies in a folder or a tar file.

    Attributes:
        root: where.
        pictures: by the folder they lie in directly, empty for the root; in no order.
        folders: every folder that is none of the system's, below the root.
        system: hidden and system files and folders.
        others: path -> why it is not a picture: its ending, or what it is.
    """

    root: Path
    pictures: dict[str, list[File]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    system: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)


def scan(root: Path) -> Tree:
    """Return what lies in a folder or tar file. A tar file of a split, beside other splits, is as good as a folder.

    Raises:
        DataError: a folder cannot be listed, links lead in a circle, or a tar file is damaged or compressed.
    """
    with resting_collector():
        return _scanned(root)


def _scanned(root: Path) -> Tree:
    tree = Tree(root)
    if root.is_file():
        _add_tar(tree, "", "")
        return tree
    _add_folder(tree, "", ())
    if not tree.pictures:
        _take_arrays(tree)
    known = set(tree.folders)
    for path in [path for path in tree.others if "/" not in path and ending(path) == ".tar"]:
        name = path[: -len(".tar")]
        if split_name(name) is not None and name not in known:
            del tree.others[path]
            tree.folders.append(name)
            _add_tar(tree, path, f"{name}/")
    return tree


def _take_arrays(tree: Tree) -> None:
    """Take arrays for the pictures of a folder that has no others."""
    for path in [path for path, kind in tree.others.items() if kind == ARRAY]:
        status = os.stat(os.path.join(tree.root, path))
        del tree.others[path]
        file = File(path, status.st_size, stamp_of(status))
        tree.pictures.setdefault(path.rpartition("/")[0], []).append(file)


def open_path(root: str, file: File) -> str:
    """Return the path of the file on the disk that holds a picture."""
    below = file.path if file.tar is None else file.tar
    return f"{root}/{below}" if below else root


def is_system(name: str) -> bool:
    """Return True for the name of a hidden or system file or folder."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _add_folder(tree: Tree, below: str, inside: tuple[tuple[int, int], ...]) -> None:
    where = os.path.join(tree.root, below)
    try:
        here = os.stat(where)
        entries = list(os.scandir(where))
    except OSError as error:
        raise DataError(Problem(shown(where), f"cannot be listed: {error.strerror}")) from error
    identity = (here.st_dev, here.st_ino)
    if identity in inside:
        raise DataError(Problem(shown(where), "a link leads back to a folder it lies in", "remove the link"))
    endings, pictures = picture_endings(), []
    for entry in entries:
        path = f"{below}{entry.name}"
        if is_system(entry.name):
            tree.system.append(path)
            continue
        try:
            status = entry.stat()
        except OSError:
            tree.others[path] = LINK
            continue
        if stat.S_ISDIR(status.st_mode):
            tree.folders.append(path)
            _add_folder(tree, f"{path}/", (*inside, identity))
        elif not stat.S_ISREG(status.st_mode):
            tree.others[path] = ODD
        elif (kind := ending(entry.name)) in endings:
            pictures.append(File(path, status.st_size, stamp_of(status)))
        else:
            tree.others[path] = kind
    if pictures:
        tree.pictures[below[:-1]] = pictures


def stamp_of(status: os.stat_result) -> tuple[int, int, int]:
    """Return what changes of a file when it is written to; no user can put the second time back."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _add_tar(tree: Tree, tar: str, below: str) -> None:
    """Add what a tar file holds, and what tar files in it hold, each as a folder."""
    path = os.path.join(tree.root, tar) if tar else os.fspath(tree.root)
    stamp = stamp_of(os.stat(path))
    found: dict[str, File] = {}
    folders: set[str] = set()
    try:
        with tarfile.open(path, "r:", errors="surrogateescape", encoding="utf-8") as archive:
            for name, size, offset in _members(archive, 0):
                parts = [part for part in name.split("/") if part not in ("", ".")]
                inner = "/".join(parts)
                if any(map(is_system, parts)):
                    tree.system.append(below + inner)
                elif size is None or ".." in parts:
                    tree.others[below + inner] = ODD
                else:
                    # What was added to a tar file later is what it holds by that name.
                    found[inner] = File(below + inner, size, stamp, tar, offset)
                known = list(takewhile(lambda part: not is_system(part), parts[:-1]))
                folders.update("/".join(known[:depth]) for depth in range(1, len(known) + 1))
    except (tarfile.TarError, OSError, EOFError) as error:
        tip = "unpack it, or pack it without compression"
        raise DataError(Problem(shown(path), f"cannot be read as a tar file: {error}", tip)) from error
    tree.folders.extend(below + folder for folder in sorted(folders))
    for file in found.values():
        if (kind := ending(file.path)) in picture_endings():
            tree.pictures.setdefault(file.path.rpartition("/")[0], []).append(file)
        else:
            tree.others[file.path] = kind


def _members(archive: tarfile.TarFile, start: int) -> Iterator[tuple[str, int | None, int]]:
    """Yield name, size and place of every file in a tar file; size None: its bytes are not there in one piece."""
    for member in archive:
        if member.isdir():
            continue
        if not member.isreg() or member.sparse:
            yield member.name, None, 0
        elif ending(member.name) == ".tar":
            name, held = member.name[: -len(".tar")], archive.extractfile(member)
            with tarfile.open(fileobj=held, mode="r:", errors="surrogateescape", encoding="utf-8") as inner:
                for below, size, offset in _members(inner, start + member.offset_data):
                    yield f"{name}/{below}", size, offset
        else:
            yield member.name, member.size, start + member.offset_data
