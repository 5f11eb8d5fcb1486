"""Write a file whole or not at all, for what is no part of a run, a study or an artifact."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hmhsa_insert.errors import HmhsaInsertError, Problem


def write_file(path: Path, write: Callable[[Path], object], error: type[HmhsaInsertError]) -> None:
    """Have `write` fill a file beside `path`, and rename it: readers see the old file or the new one.

    Args:
        path: of the file.
        write: gets the path to fill.
        error: is raised where the disk refuses.

    Raises:
        HmhsaInsertError: an `error`; what was there is as it was, and nothing is left beside it.
    """
    writing = path.with_name(f".writing-{os.getpid()}{path.suffix}")
    try:
        write(writing)
        os.replace(writing, path)
    except OSError as reason:
        tip = "make room, or choose another place"
        raise error(Problem(str(path), f"cannot be written: {reason.strerror or reason}", tip)) from reason
    finally:
        with suppress(OSError):
            writing.unlink(missing_ok=True)


def write_text(path: Path, text: str, error: type[HmhsaInsertError]) -> None:
    """Write text as :func:`write_file` does."""
    write_file(path, lambda writing: writing.write_text(text, encoding="utf-8"), error)
