"""Write a folder completely or not at all; one that we wrote before is replaced, and nothing else is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.files.ours import divided, few, has_list, remove, write_manifest


def replaceable(folder: Path, overwrite: bool) -> tuple[list[str], list[Problem]]:
    """Return the files of ours in a folder that are to be replaced, and what forbids to write it."""
    if not folder.exists() and not folder.is_symlink():
        return [], []
    is_ours = not folder.is_symlink() and has_list(folder)
    if not (is_ours and overwrite):
        tip = "give the name of a new folder" + (", or replace it: `overwrite=True`" if is_ours else "")
        return [], [Problem(str(folder), "it exists", tip)]
    ours, others = divided(folder, lambda name: False)
    if others:
        message = f"it also holds what this package did not write, or not like this: {few(others)}"
        return [], [Problem(str(folder), message, "move that away, or name a new folder")]
    return ours, []


@contextmanager
def whole_folder(folder: Path, ours: Sequence[str], error: type[HmhsaInsertError]) -> Iterator[Path]:
    """Give a folder to fill; what was filled is at `folder` once the block ends, with a list of its files.

    Args:
        folder: where it will be.
        ours: the files there to replace, as :func:`replaceable` returned them.
        error: the class to raise if writing fails.

    Raises:
        HmhsaInsertError: an `error`; nothing is left of what was written.
    """
    target = folder.absolute()
    writing: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        writing = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        writing.chmod(0o755)
        yield writing
        write_manifest(writing)
        if ours:
            remove(target, ours)
        os.rename(writing, target)
    except OSError as reason:
        raise error(Problem(str(folder), f"cannot be written: {reason.strerror or reason}")) from reason
    finally:
        if writing is not None:
            shutil.rmtree(writing, ignore_errors=True)
