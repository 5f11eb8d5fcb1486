"""Checkpoints: everything a run needs to go on, written under another name first and renamed when it is whole."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.problems import RunError

_WHOLE = re.compile(r"update-(\d+)\Z")
WRITING = ".writing-"
_DONE_WITH = ".old-"
# Beside accelerate's files and not among its custom objects, which it reads back as pickles that may hold code.
EXTRA = "run.pt"


def save_checkpoint(accelerator: Accelerator, folder: Path, update: int, extra: Mapping[str, Any]) -> Path:
    """Write the state of model, optimiser and scaler, and `extra`; all processes call this together.

    The rename is the commit: a folder named ``update-N`` is whole, whatever happened when. Older ones go afterwards.

    Raises:
        RunError: the disk refuses; the last good checkpoint is as it was.
    """
    target, writing = folder / f"update-{update:09d}", folder / f"{WRITING}{update:09d}"
    if target.exists():
        return target
    try:
        if accelerator.is_main_process:
            _clear(folder)
            writing.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(writing), safe_serialization=False)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            torch.save(dict(extra), writing / EXTRA)
            flush(writing)
            os.rename(writing, target)
            flush(folder)
            _drop_older(folder, target)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(writing, ignore_errors=True)
        raise _refused(error, target, latest_checkpoint(folder)) from error
    accelerator.wait_for_everyone()
    return target


def load_checkpoint(accelerator: Accelerator, checkpoint: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote into model, optimiser and scaler; return what was extra.

    Raises:
        RunError: it is damaged, or of another network.
    """
    try:
        accelerator.load_state(str(checkpoint))
        extra: dict[str, Any] = torch.load(checkpoint / EXTRA, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in any way torch's reader likes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        tip = f"remove {checkpoint} to go on from an older one, or {checkpoint.parents[1]} to start again"
        raise RunError(Problem(str(checkpoint), f"cannot be read: {reason}", tip)) from error
    return extra


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in a folder."""
    whole = [path for path in folder.glob("update-*") if _WHOLE.match(path.name) and path.is_dir()]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a file beside `path`, then rename it: readers see the old one or the new one.

    Raises:
        RunError: the disk refuses.
    """
    writing = path.with_name(f"{WRITING}{path.name}")
    try:
        write(writing)
        writing.chmod(0o644)  # safetensors writes for the owner alone
        flush(writing)
        os.replace(writing, path)
    except (OSError, RuntimeError) as error:
        writing.unlink(missing_ok=True)
        raise _refused(error, path, None) from error


def flush(path: Path) -> None:
    """Have the disk keep a file, or a folder and the files in it, before what comes next."""
    for each in [*(sorted(path.iterdir()) if path.is_dir() else []), path]:
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove what a killed process left half-written or half-removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix in (WRITING, _DONE_WITH):
        for path in folder.glob(f"{prefix}*"):
            shutil.rmtree(path, ignore_errors=True)


def _drop_older(folder: Path, newest: Path) -> None:
    for path in folder.glob("update-*"):
        if path != newest:
            # Renamed first, so that no half-removed folder has a whole one's name.
            aside = folder / f"{_DONE_WITH}{path.name}"
            os.rename(path, aside)
            shutil.rmtree(aside, ignore_errors=True)


def _refused(error: Exception, path: Path, last_good: Path | None) -> RunError:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    # torch's writer reports a full disk as a RuntimeError of its own.
    full = full or "file write failed" in str(error) or "No space left" in str(error)
    reason = "the disk is full" if full else str(error).strip().splitlines()[0]
    kept = f"the last good checkpoint is {last_good}; " if last_good else ""
    return RunError(
        Problem(str(path), f"cannot be written: {reason}", f"{kept}make room and run the same command again")
    )
