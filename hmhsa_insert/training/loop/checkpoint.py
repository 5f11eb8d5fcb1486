"""Checkpoints: everything a run needs to go on, written under another name first and renamed when it is whole."""

from __future__ import annotations

import errno
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.utils import load
from safetensors import SafetensorError

from hmhsa_insert.errors import HmhsaInsertError, Problem, first_line
from hmhsa_insert.files.whole import place_to_write
from hmhsa_insert.training.digests import find_damage, write_digests
from hmhsa_insert.training.problems import RunError

# Of an update, that at the end of an epoch before its evaluation is the older one.
_WHOLE = re.compile(r"update-(\d+)(-unevaluated)?\Z")
_KEPT = 2
WRITING = ".writing-"
_DONE_WITH = ".old-"
_DAMAGED = ".damaged-"
# How the system refuses to write, what that means, and what can be done.
_REFUSALS = (
    (
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "the disk is full",
        "make room and run the same command again",
    ),
    ((errno.ENOENT, errno.ESTALE), "its folder is gone", "was it removed? the same command starts again"),
    (
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "writing is not allowed there",
        "allow it and run the same command again",
    ),
)
_PROBED_BYTES = 1 << 24
# Beside accelerate's files and not among its custom objects, which it reads back as pickles that may hold code.
EXTRA = "run.pt"


def checkpoint_name(update: int, evaluated: bool) -> str:
    """Return the name of the checkpoint after an update; `evaluated`: unless its epoch's evaluation is to come."""
    return f"update-{update:09d}" + ("" if evaluated else "-unevaluated")


def save_checkpoint(accelerator: Accelerator, target: Path, extra: Mapping[str, Any]) -> Path:
    """Write the state of model, optimizer and scaler, and `extra`; all processes call this together.

    The rename is the commit: a folder that is named as a checkpoint is whole, whatever happened when. The one before
    is kept, older ones go afterwards.

    Raises:
        RunError: writing fails; the last good checkpoint is as it was.
    """
    folder = target.parent
    writing = folder / f"{WRITING}{target.name}"
    if target.exists():
        return target
    try:
        if accelerator.is_main_process:
            folder.mkdir(exist_ok=True)
            _remove(folder, WRITING, _DONE_WITH)
            writing.mkdir()
        accelerator.wait_for_everyone()
        accelerator.save_state(str(writing), safe_serialization=False)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            torch.save(dict(extra), writing / EXTRA)
            write_digests(writing)
            flush(writing)
            os.rename(writing, target)
            flush(folder)
            _drop_older(folder)
    except (OSError, RuntimeError) as error:
        refused = _refused(error, target, latest_checkpoint(folder))
        shutil.rmtree(writing, ignore_errors=True)
        raise refused from error
    accelerator.wait_for_everyone()
    return target


def load_checkpoint(accelerator: Accelerator, checkpoint: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote into model, optimizer and scaler; return what was extra.

    Raises:
        RunError: it is of another network, or holds what is not read.
    """
    try:
        accelerator.load_state(str(checkpoint))
        extra: dict[str, Any] = torch.load(checkpoint / EXTRA, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader fails in any way it likes
        where, reason = _culprit(checkpoint, error)
        older = [path.name for path in checkpoints(checkpoint.parent) if path != checkpoint]
        way = f"remove {checkpoint} to go on from {older[0]}, or " if older else ""
        tip = f"{way}remove {checkpoint.parents[1]} to start again"
        raise RunError(Problem(str(where), reason, tip)) from error
    return extra


def checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a folder, the newest one first."""
    whole = [path for path in folder.glob("update-*") if _WHOLE.match(path.name) and path.is_dir()]
    return sorted(whole, key=_place, reverse=True)


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in a folder."""
    return next(iter(checkpoints(folder)), None)


def put_damaged_aside(folder: Path) -> Iterator[str]:
    """Rename checkpoints that are not as they were written, newer than one that is; yield what was found.

    Raises:
        RunError: none is left; nothing is renamed.
    """
    found = []
    for checkpoint in checkpoints(folder):
        damage = find_damage(checkpoint)
        if damage is None:
            break
        found.append((checkpoint, *damage))
    else:
        if found:
            tip = f"no older checkpoint is whole: remove {folder.parent} to start again"
            raise RunError([Problem(str(path), said, tip) for _, path, said in found])
    for newer, path, said in found:
        aside = folder / f"{_DAMAGED}{newer.name}"
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(newer, aside)
        yield f"{path} {said}; going on from {checkpoint.name}, which leads to the same result"


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a file beside `path`, then rename it: readers see the old one or the new one.

    Raises:
        RunError: writing fails.
    """
    target = place_to_write(path, RunError)
    writing = target.with_name(f"{WRITING}{target.name}")
    try:
        write(writing)
        writing.chmod(0o644)  # safetensors writes for the owner alone
        flush(writing)
        os.replace(writing, target)
    except (OSError, RuntimeError, SafetensorError) as error:
        refused = _refused(error, path, None)
        with suppress(OSError):
            writing.unlink(missing_ok=True)
        raise refused from error


@contextmanager
def disk_may_refuse(path: Path) -> Iterator[None]:
    """Turn an error in writing `path` into a RunError, whoever writes: the run itself is sound.

    Raises:
        RunError: writing fails.
    """
    try:
        yield
    except (OSError, HmhsaInsertError) as error:
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError):
            raise
        raise _refused(reason, path, None) from error


def write_text(path: Path, text: str) -> None:
    """Write text as :func:`write_whole` does.

    A name that is not UTF-8 has lone surrogates, which are written as JSON and YAML read them again: ``\\udce9``.

    Raises:
        RunError: writing fails.
    """
    encoded = text.encode("utf-8", errors="backslashreplace")
    write_whole(path, lambda writing: writing.write_bytes(encoded))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, as :func:`write_text` does."""
    write_whole(path, lambda writing: table.to_csv(writing, index=False, errors="backslashreplace"))


def flush(path: Path) -> None:
    """Have the disk keep a file, or a folder and the files in it, before what comes next."""
    for each in [*(sorted(path.iterdir()) if path.is_dir() else []), path]:
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _place(checkpoint: Path) -> tuple[int, bool]:
    match = _WHOLE.match(checkpoint.name)
    assert match is not None
    return int(match[1]), match[2] is None


def _remove(folder: Path, *prefixes: str) -> None:
    """Remove what a killed process left half-written or half-removed, or what is no longer needed."""
    for prefix in prefixes:
        for path in folder.glob(f"{prefix}*"):
            shutil.rmtree(path, ignore_errors=True)


def _drop_older(folder: Path) -> None:
    for path in checkpoints(folder)[_KEPT:]:
        # Renamed first, so that no half-removed folder has a whole one's name.
        aside = folder / f"{_DONE_WITH}{path.name}"
        os.rename(path, aside)
        shutil.rmtree(aside, ignore_errors=True)
    _remove(folder, _DAMAGED)


def _culprit(checkpoint: Path, error: Exception) -> tuple[Path, str]:
    """Return the file of a checkpoint that torch does not read, and why; the whole one if each can be read."""
    for path in sorted(each for each in checkpoint.iterdir() if each.suffix in (".bin", ".pt", ".pkl")):
        try:
            load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            return path, "holds more than tensors and plain data, which is never loaded: it may be code"
        except UnicodeError:
            return path, "cannot be read: it is damaged"
        except Exception as own:
            return path, f"cannot be read: {first_line(own)}"
    return checkpoint, f"cannot be read: {first_line(error)}"


def _refused(error: Exception, path: Path, last_good: Path | None) -> RunError:
    code = errno.ENOENT if not path.parent.is_dir() else getattr(error, "errno", None)
    if code is None:
        # safetensors quotes the system's number; torch's own words leave it open.
        quoted = re.search(r"os error (\d+)", str(error))
        code = int(quoted[1]) if quoted else _probed(path.parent)
    known = (row[1:] for row in _REFUSALS if code in row[0])
    reason, tip = next(known, (first_line(error), "run the same command again once it can be written"))
    kept = f"the last good checkpoint is {last_good}; " if last_good else ""
    return RunError(Problem(str(path), f"cannot be written: {reason}", kept + tip))


def _probed(folder: Path) -> int | None:
    """Return the number by which the system refuses a file of some size in `folder`, or None."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, _PROBED_BYTES)
    except OSError as error:
        return error.errno
    return None
