"""Checksums of the files of a checkpoint: whether it is as it was written."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.training.problems import RunError

DIGESTS = "digests.json"


def write_digests(folder: Path) -> None:
    """Write down size and checksum of every file below `folder`."""
    files = {str(path.relative_to(folder)): _seen(path) for path in _files(folder)}
    (folder / DIGESTS).write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")


def find_damage(folder: Path) -> tuple[Path, str] | None:
    """Return the first file that is not as it was written, and what is wrong with it; None if all are."""
    record = folder / DIGESTS
    if not record.exists():
        return _damaged_archive(folder)
    try:
        written: dict[str, Any] = read_json_mapping(record, RunError)["files"]
        known = {folder / name: (each["bytes"], each["sha256"]) for name, each in written.items()}
    except (RunError, TypeError, KeyError, AttributeError):
        return record, "is not a list of checksums"
    there = _files(folder)
    for path, (size, digest) in known.items():
        if path not in there:  # nor is anything read that a damaged list names elsewhere
            return path, "is missing"
        try:
            seen = _seen(path)
        except OSError as error:
            return path, f"cannot be read: {error.strerror}"
        if seen["bytes"] != size:
            return path, f"has {seen['bytes']:,} bytes, {size:,} were written"
        if seen["sha256"] != digest:
            return path, "is damaged: its checksum is not that of what was written"
    return None


def _damaged_archive(folder: Path) -> tuple[Path, str] | None:
    """Look at the checksums inside torch's files, of a checkpoint from before there were others."""
    for path in _files(folder):
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return path, "is damaged: a checksum inside is not that of what was written"
        except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            return path, f"cannot be read: {error}"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DIGESTS)


def _seen(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
