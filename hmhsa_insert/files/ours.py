"""Which files of a folder are ours, so that nothing else is ever removed.

A folder that we wrote has a list of its files with their digests. A file that is not in the list, or was
changed, is somebody's work: a folder that has one is never replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.files.json_text import read_json_mapping

MANIFEST = "manifest.json"
_FORMAT = 1
_SHOWN = 5


def write_manifest(folder: Path) -> None:
    """Write the list of a folder's files with their digests into the folder."""
    files = {name: _digest(folder / name) for name in _entries(folder)}
    text = json.dumps({"format": _FORMAT, "files": files}, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def has_list(folder: Path) -> bool:
    """Return True if a folder has a valid list of its files."""
    return _listed(folder) is not None


def divided(folder: Path, is_known: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Return what in a folder is ours and unchanged, and everything else, as relative paths.

    Args:
        folder: the folder; links are not followed, and count as not ours. Paths of folders end with a slash.
        is_known: decides by its path for each file and empty folder, if there is no list of files.
    """
    listed = _listed(folder)
    ours: list[str] = []
    others: list[str] = []
    for name in _entries(folder):
        if (folder / name).is_symlink():
            known = False
        elif listed is None:
            known = is_known(name)
        else:
            known = name == MANIFEST or _is_as_listed(folder / name, listed.get(name))
        (ours if known else others).append(name)
    return ours, others


def remove(folder: Path, names: Sequence[str], *, itself: bool = True) -> None:
    """Remove these files of a folder, and every folder that is then empty; anything else stays.

    Args:
        folder: the folder.
        names: paths in it, as :func:`divided` returns them.
        itself: whether the folder goes too if it is empty then.
    """
    for name in names:
        if not name.endswith("/"):
            (folder / name).unlink(missing_ok=True)
    for path, _, _ in os.walk(folder, topdown=False):
        if (itself or Path(path) != folder) and not os.listdir(path):
            os.rmdir(path)


def missing(folder: Path) -> list[Path]:
    """Return a folder and its parents that do not exist, deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that were made for an output that was not written."""
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def few(names: Sequence[str]) -> str:
    """Return the first names, and the number of others."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _listed(folder: Path) -> dict[str, object] | None:
    """Return the digests in a folder's list; None if there is no valid one."""
    try:
        found = read_json_mapping(folder / MANIFEST, HmhsaInsertError)
    except HmhsaInsertError:
        return None
    files = found.get("files")
    return files if found.get("format") == _FORMAT and isinstance(files, dict) else None


def _entries(folder: Path) -> list[str]:
    """Return everything in a folder, links included; folders only if they are empty or links."""
    found = []
    for path, folders, files in os.walk(folder):
        here = Path(path).relative_to(folder)
        links = [name for name in folders if os.path.islink(os.path.join(path, name))]
        found += [(here / name).as_posix() for name in (*files, *links)]
        if not folders and not files and here.parts:
            found.append(f"{here.as_posix()}/")
    return sorted(found)


def _is_as_listed(path: Path, digest: object) -> bool:
    try:
        return path.is_file() and _digest(path) == digest
    except OSError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
