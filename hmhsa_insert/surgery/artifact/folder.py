"""Write a folder completely or not at all, by renaming it at the end. Only our own are replaced."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import ArtifactError, Problem
from hmhsa_insert.files.ours import divided, few, has_list, missing, remove, remove_empty, write_manifest
from hmhsa_insert.surgery.artifact.older import FolderKind, is_written


def check_writable(target: Path, kind: FolderKind, overwrite: bool) -> None:
    """Raise before any work is done if :func:`write_folder` would refuse.

    Raises:
        ArtifactError: `target` exists and may not be replaced, or its parent cannot be written.
    """
    if os.path.lexists(target):
        _replaceable(target, kind, overwrite)
    parent = target.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise ArtifactError(Problem(str(target), f"'{parent}' is not a folder", "choose another folder"))
    try:  # os.access is wrong for root and for read-only file systems
        os.rmdir(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    except OSError as error:
        message = f"nothing can be written in '{parent}': {error.strerror or error}"
        raise ArtifactError(Problem(str(target), message, "choose another folder")) from error


def _replaceable(target: Path, kind: FolderKind, overwrite: bool) -> list[str]:
    """Return the files of an older folder, all ours; raise ArtifactError if it may not be replaced."""
    try:
        recipes = _recipes(target, kind)
    except ArtifactError as error:
        tip = "choose another folder" + (": only artifacts are ever replaced" if overwrite else "")
        message = f"it exists and is not an artifact ({error.problems[0].message})"
        raise ArtifactError(Problem(str(target), message, tip)) from error
    if not overwrite:
        tip = "choose another folder, or replace it: `overwrite=True`"
        raise ArtifactError(Problem(str(target), "an artifact is here already", tip))
    ours, others = divided(target, lambda name: is_written(target, name, kind, recipes))
    if others:
        message = f"it also holds what this package did not write, or not like this: {few(others)}"
        raise ArtifactError(Problem(str(target), message, "move that away, or choose another folder"))
    return ours


def _recipes(target: Path, kind: FolderKind) -> list[Mapping[str, Any]]:
    """Return the recipes of a folder that has no list of its files, which must load as ours; else no recipe.

    Raises:
        ArtifactError: it is not a folder of this kind.
    """
    if target.is_symlink() or not target.is_dir():
        raise ArtifactError(Problem(str(target), "it is a link" if target.is_symlink() else "it is a file"))
    is_listed = has_list(target)
    for name in (kind.marker,) if is_listed else kind.files:
        if not (target / name).is_file():
            raise ArtifactError(Problem(str(target), f"it has no {name}"))
    if is_listed:
        return []
    try:
        return kind.recipes(target)
    except ArtifactError as error:
        problem = error.problems[0]
        place = problem.where.removeprefix(str(target)).lstrip("/")
        said = f"{place}: {problem.message}" if place else problem.message
        raise ArtifactError(Problem(str(target), said)) from error


def write_folder(
    target: Path, write: Callable[[Path], None], kind: FolderKind, overwrite: bool = False
) -> Path:
    """Let `write` fill a folder beside `target`, then rename it to `target`.

    Args:
        target: the folder to appear.
        write: gets the temporary folder.
        kind: the only kind of folder that may be overwritten.
        overwrite: replace a folder of this kind, if everything in it is ours.

    Raises:
        ArtifactError: as :func:`check_writable`, or writing fails. Nothing is left behind then, and an older
            folder stays as it was.
    """
    check_writable(target, kind, overwrite)
    parent = target.absolute().parent
    made = missing(parent)
    temporary: Path | None = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
        write(temporary)
        write_manifest(temporary)
        _make_readable(temporary)
        _move_into_place(temporary, target, kind, overwrite)
    except OSError as error:
        message = f"it cannot be written: {error.strerror or error}"
        raise ArtifactError(Problem(str(target), message)) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary)
        remove_empty(made)
    return target


def _make_readable(folder: Path) -> None:
    """Set the permissions that files have without mkdtemp."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _move_into_place(temporary: Path, target: Path, kind: FolderKind, overwrite: bool) -> None:
    """Rename `temporary` to `target`; an older folder's files are removed last, and put back if the rename fails."""
    if not os.path.lexists(target):
        os.rename(temporary, target)
        return
    ours = _replaceable(target, kind, overwrite)  # again: writing took a while
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.absolute().parent))
    os.rename(target, aside / "old")
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(aside / "old", target)
        aside.rmdir()
        raise
    remove(aside, [f"old/{name}" for name in ours])
