"""Write a folder whole or not at all: under a temporary name first, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hmhsa_insert.errors import ArtifactError, Problem


def check_writable(target: Path, marker: str, overwrite: bool) -> None:
    """Raise before any work is done if :func:`write_folder` would refuse.

    Raises:
        ArtifactError: `target` exists and may not be replaced, or its parent cannot be written.
    """
    if os.path.lexists(target):
        _refuse_existing(target, marker, overwrite)
    parent = target.absolute().parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise ArtifactError(Problem(str(target), f"'{parent}' is not a folder", "choose another folder"))
    try:  # what os.access says does not hold for root, nor for file systems mounted to be read
        os.rmdir(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
    except OSError as error:
        message = f"nothing can be written in '{parent}': {error.strerror or error}"
        raise ArtifactError(Problem(str(target), message, "choose another folder")) from error


def _refuse_existing(target: Path, marker: str, overwrite: bool) -> None:
    ours = not target.is_symlink() and (target / marker).is_file()
    if not ours:
        message = f"it exists and is no artefact (it has no {marker})"
        tip = (
            "choose another folder: only artefacts are ever replaced"
            if overwrite
            else "choose another folder"
        )
        raise ArtifactError(Problem(str(target), message, tip))
    if not overwrite:
        tip = "choose another folder, or replace it with --overwrite"
        raise ArtifactError(Problem(str(target), "an artefact is here already", tip))


def write_folder(target: Path, write: Callable[[Path], None], marker: str, overwrite: bool = False) -> Path:
    """Have `write` fill a folder beside `target`, then rename it to `target`.

    Args:
        target: the folder to appear.
        write: gets the temporary folder.
        marker: a file that tells a folder of this kind, which alone may be overwritten.
        overwrite: replace a folder of this kind.

    Raises:
        ArtifactError: as :func:`check_writable`, or the disk refuses. Nothing is left behind then, and an older
            folder stays as it was.
    """
    check_writable(target, marker, overwrite)
    parent = target.absolute().parent
    made = _missing(parent)
    temporary: Path | None = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=parent))
        write(temporary)
        _make_readable(temporary)
        _move_into_place(temporary, target)
    except OSError as error:
        message = f"it cannot be written: {error.strerror or error}"
        raise ArtifactError(Problem(str(target), message)) from error
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary)
        _remove_empty(made)
    return target


def _make_readable(folder: Path) -> None:
    """Give others the rights that files written without mkdtemp would have."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _move_into_place(temporary: Path, target: Path) -> None:
    """Rename `temporary` to `target`; an older folder is removed last, and put back if the rename fails."""
    if not target.exists():
        os.rename(temporary, target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.absolute().parent))
    try:
        os.rename(target, aside / "old")
        try:
            os.rename(temporary, target)
        except OSError:
            os.rename(aside / "old", target)
            raise
    finally:
        shutil.rmtree(aside)


def _missing(folder: Path) -> list[Path]:
    """Return the parents of an output that are not there yet, deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: list[Path]) -> None:
    """Remove parents that were made for an output that did not come."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
