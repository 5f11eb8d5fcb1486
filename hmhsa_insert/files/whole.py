"""Write a file completely or not at all; for files outside of runs, studies and artifacts."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hmhsa_insert.errors import HmhsaInsertError, Problem


def write_file(path: Path, write: Callable[[Path], object], error: type[HmhsaInsertError]) -> None:
    """Let `write` fill a file beside `path`, then rename it: readers see the old file or the new one.

    Args:
        path: of the file.
        write: gets the path to fill.
        error: the class to raise if writing fails.

    Raises:
        HmhsaInsertError: an `error`; an existing file is unchanged, and no temporary file is left.
    """
    target = place_to_write(path, error)
    writing = target.with_name(f".writing-{os.getpid()}{target.suffix}")
    try:
        write(writing)
        os.replace(writing, target)
    except OSError as reason:
        tip = "make room, or choose another place"
        raise error(Problem(str(path), f"cannot be written: {reason.strerror or reason}", tip)) from reason
    finally:
        with suppress(OSError):
            writing.unlink(missing_ok=True)


def place_to_write(path: Path, error: type[HmhsaInsertError]) -> Path:
    """Return the file to write for `path`: a link stays, and the file that it points to is written.

    Raises:
        HmhsaInsertError: an `error`; a folder, pipe or device is there, which is not replaced.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = os.lstat(target).st_mode
    except OSError:  # nothing is there, or writing will raise the reason
        return target
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file but a pipe, a device or the like"
        raise error(Problem(str(path), f"this is {kind}", "give the name of a file"))
    return target


def check_place(path: Path, overwrite: bool, error: type[HmhsaInsertError]) -> None:
    """Refuse before any work is done if a file may not be replaced or cannot be written.

    Raises:
        HmhsaInsertError: an `error`: something is there, there is no such folder, or nothing can be written in it.
    """
    target = place_to_write(path, error)
    if target.exists() and not overwrite:
        tip = "choose another name, or replace it: `overwrite=True`"
        raise error(Problem(str(path), "a file is here already", tip))
    if not target.parent.is_dir():
        raise error(Problem(str(path), f"there is no folder '{path.parent}'", "make it first"))
    try:  # os.access is wrong for root and for read-only file systems
        handle, name = tempfile.mkstemp(prefix=".writing-", dir=target.parent)
    except OSError as reason:
        message = f"nothing can be written in '{path.parent}': {reason.strerror or reason}"
        raise error(Problem(str(path), message, "choose another folder")) from reason
    os.close(handle)
    os.unlink(name)


def write_text(path: Path, text: str, error: type[HmhsaInsertError]) -> None:
    """Write text as :func:`write_file` does."""
    write_file(path, lambda writing: writing.write_text(text, encoding="utf-8"), error)
