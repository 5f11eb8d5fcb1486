"""Write a file whole or not at all, for what is no part of a run, a study or an artifact."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hmhsa_insert.errors import HmhsaInsertError, Problem


def write_file(path: Path, write: Callable[[Path], object], error: type[HmhsaInsertError]) -> None:
    """Have `write` fill a file beside `path`, and rename it: readers see the old file or the new one.

    Args:
        path: of the file.
        write: gets the path to fill.
        error: is raised where writing fails.

    Raises:
        HmhsaInsertError: an `error`; what was there is as it was, and nothing is left beside it.
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
    """Return where what is written to `path` belongs: a link stays, and the file that it names is written.

    Raises:
        HmhsaInsertError: an `error`; a folder, pipe or device is there, which no file takes the place of.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = os.lstat(target).st_mode
    except OSError:  # nothing is there, or the system says why not when it is written
        return target
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file but a pipe, a device or the like"
        raise error(Problem(str(path), f"this is {kind}", "give the name of a file"))
    return target


def write_text(path: Path, text: str, error: type[HmhsaInsertError]) -> None:
    """Write text as :func:`write_file` does."""
    write_file(path, lambda writing: writing.write_text(text, encoding="utf-8"), error)
