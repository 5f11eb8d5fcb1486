"""The run folder: who may write into it, which run it holds, and its files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from filelock import FileLock, Timeout

from hmhsa_insert.errors import Problem
from hmhsa_insert.files.ours import divided, missing, remove, remove_empty
from hmhsa_insert.files.run_shapes import RunConfig
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.inert import json_text
from hmhsa_insert.recipe.canonical import dump_plain
from hmhsa_insert.recipe.yaml_text import read_yaml
from hmhsa_insert.training.loop.checkpoint import WRITING, latest_checkpoint, write_table, write_text
from hmhsa_insert.training.loop.progress import EpochRow
from hmhsa_insert.training.problems import InUseError, RunError
from hmhsa_insert.training.run_identity import as_known_then, identity
from hmhsa_insert.training.run_tables import TIMING, read_timing

CONFIG, RESULT, ENVIRONMENT, EPOCH0 = "config.yaml", "result.json", "environment.json", "epoch0.json"
METRICS, CURVES = "metrics.csv", "curves.png"
ARTIFACT, BEST, LAST, EMA = "artifact", "best.safetensors", "last.safetensors", "ema.safetensors"
_LOCK, _OWNER = ".lock", ".owner"
PROGRESS = ".progress"  # of a trial under way
# All that a run writes into its folder, trackers' folders among it.
_WRITTEN = re.compile(
    r"((config|result|environment|epoch0|predictions)\.(yaml|json)|(metrics|timing|predictions)\.(csv|jsonl)|curves\.png"
    r"|(best|last|ema)\.safetensors|\.lock|\.owner|\.progress|\.writing-[^/]*"
    r"|(checkpoints/(update-|\.)|hmhsa-insert/|wandb/|mlruns/).*|checkpoints/"
    r"|artifact/[^/]*\.(json|yaml|safetensors)|artifact/README\.md)\Z"
)
# What those of them hold that are there before the first is whole; a killed process may have left them empty.
_BEGUN = {
    _LOCK: re.compile(rb"\Z"),
    _OWNER: re.compile(rb"(process \d+ on [^\n]*)?\Z"),
    f"{WRITING}{CONFIG}": re.compile(rb"(model: |\Z)"),
}
_MOST_BEGUN = 1024
_STARTED = frozenset({CONFIG, ENVIRONMENT, EPOCH0, PROGRESS, *_BEGUN, "checkpoints/"})
_MOST_SHOWN = 8
_LONGEST_NAME = 200  # bytes; file systems take 255
_LETTING_GO_S = 10.0  # in which the loader processes of a killed run are gone too
_OTHER_TIP = "give another folder, or the same settings; this one is another run's"


class _Predictions(Protocol):
    def write_predictions(self, folder: Path, split: Any) -> None: ...


class RunFolder:
    """One run's folder, held by one process at a time.

    It keeps ``config.yaml`` (what determines the run), ``environment.json``, ``metrics.csv`` and ``.jsonl`` (a row an
    epoch, and only what repeats), ``timing.csv`` (what does not), ``checkpoints/``, ``best``, ``last`` and
    ``ema.safetensors``, ``predictions.csv`` (the last evaluation, image by image), ``curves.png``, ``artifact/`` (the
    best weights, for ``hi.load``), and at the end ``result.json``.

    Args:
        path: the folder; made by :meth:`take`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._lock = FileLock(path / _LOCK)
        # Folders that this process made, deepest first, and what was in the folder before; None: it has not taken it.
        self._made: list[Path] = []
        self._before: frozenset[str] | None = None

    def take(self, config: Mapping[str, Any]) -> None:
        """Take the folder for the run that `config` determines, and write it down if the folder is new.

        Raises:
            InUseError: another process has it.
            RunError: it holds another run or something else, or cannot be written.
        """
        try:
            known = (self.path / CONFIG).is_file()
            if known:  # another program's file may have this name: then nothing of ours goes beside it
                read_config(self.path)
            if self.path.exists() and not known and _foreign(self.path):
                tip = "give a folder that is new or empty"
                raise RunError(Problem(str(self.path), "it exists, and holds no run", tip))
            self._made = missing(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            added = frozenset() if (self.path / _LOCK).exists() else {_LOCK}
            self._acquire()
        except Timeout as error:
            raise InUseError(_in_use(self.path)) from error
        except (OSError, ValueError) as error:
            remove_empty(self._made)
            raise self._unwritable(error) from error
        there = frozenset(divided(self.path, is_of_run)[0]) - added
        # What a run left that ended before its first checkpoint is no more worth than what this one leaves then.
        known = (self.path / CONFIG).is_file() and not _is_only_begun(there)
        self._before = there if known else frozenset()
        try:
            if known:
                _compare(self.path, config)
                if (self.path / TIMING).is_file():
                    read_timing(self.path)  # before the first epoch is trained and not after it
            (self.path / _OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}")
            if not known:
                self.write_text(CONFIG, dump_plain(config))
        except (RunError, OSError) as error:
            self.discard()
            self.release()
            if isinstance(error, OSError):
                raise self._unwritable(error) from error
            raise

    def _unwritable(self, error: OSError | ValueError) -> RunError:
        reason = getattr(error, "strerror", None) or error
        return RunError(Problem(str(self.path), f"cannot be written: {reason}"))

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            if not _owner_is_gone(self.path / _OWNER):
                raise
            self._lock.acquire(timeout=_LETTING_GO_S)

    def release(self) -> None:
        """Let other processes have the folder."""
        self._lock.release()

    def clear_remains(self) -> None:
        """Remove the files of a run without ``config.yaml``: its folder was removed while it was written.

        Raises:
            InUseError: another process has the folder.
        """
        if not self.path.is_dir() or is_run(self.path) or divided(self.path, is_of_run)[1]:
            return
        try:
            self._acquire()
        except Timeout as error:
            raise InUseError(_in_use(self.path)) from error
        with suppress(OSError):  # then `take` says what is wrong with the folder
            if not is_run(self.path):  # nor has a process that had it meanwhile begun the run
                remove(self.path, [name for name in divided(self.path, is_of_run)[0] if name != _LOCK])
        self.release()

    def discard(self) -> None:
        """Remove what this process wrote, unless there is a checkpoint to go on from: of a run that failed.

        The folder goes too, and its parents, if this process made them. What was there before stays.
        """
        if self._before is None or latest_checkpoint(self.checkpoints) is not None:
            return
        with suppress(OSError):  # whatever came to them meanwhile
            ours = divided(self.path, is_of_run)[0]
            remove(self.path, [name for name in ours if name not in self._before], itself=False)
            remove_empty(self._made)

    def write_metrics(self, history: Sequence[EpochRow]) -> None:
        """Write ``metrics.csv`` and ``.jsonl``: whole each time, so that a killed run leaves no half row."""
        self.write_table(METRICS, pd.DataFrame(history))
        lines = "".join(json.dumps(row) + "\n" for row in history)
        self.write_text(METRICS.replace(".csv", ".jsonl"), lines)

    def add_timing(self, row: EpochRow) -> None:
        """Add one epoch's seconds, images/s and memory."""
        known = read_timing(self.path).to_dict("records") if (self.path / TIMING).is_file() else []
        self.write_table(TIMING, pd.DataFrame([*(r for r in known if r["epoch"] != row["epoch"]), row]))

    def write_predictions(self, found: _Predictions, split: Any) -> None:
        """Write what an evaluation said of every image of `split`."""
        found.write_predictions(self.path, split)

    def write_json(self, name: str, value: Any) -> None:
        """Write plain data."""
        self.write_text(name, json_text(value, indent=1) + "\n")

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV."""
        write_table(self.path / name, table)

    def write_text(self, name: str, text: str) -> None:
        """Write text."""
        write_text(self.path / name, text)


def folder_name(name: str) -> str:
    """Return a name as that of one folder: what no terminal shows is "_", and it is not too long."""
    plain = "".join("_" if unicodedata.category(each)[0] == "C" or each in "/\\" else each for each in name)
    if plain == name and len(plain.encode()) <= _LONGEST_NAME:
        return plain
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    short = plain.encode()[: _LONGEST_NAME - len(digest) - 1].decode(errors="ignore")
    return f"{short}-{digest}"


def is_of_run(name: str) -> bool:
    """Return True for the path of what a run writes into its folder."""
    return _WRITTEN.match(name) is not None


def is_run(folder: str | Path) -> bool:
    """Return True if a path is the folder of a run."""
    return os.path.isfile(os.path.join(folder, CONFIG))


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return what determines the run of a folder.

    Raises:
        RunError: it holds no run, or its file is damaged.
    """
    path = Path(folder) / CONFIG
    config: dict[str, Any] = read_yaml(path, RunError, tip="is this the folder of a run?")
    checked(RunConfig, config, path, RunError)
    return config


def _compare(folder: Path, config: Mapping[str, Any]) -> None:
    there = read_config(folder)
    known, wanted = identity(there), identity(as_known_then(config, there))
    problems = []
    for key in [*known, *(key for key in wanted if key not in known)]:
        there, here = known.get(key, "nothing"), wanted.get(key, "nothing")
        if there != here:
            problems.append(Problem(str(folder), f"{key} is {there} in this run, and {here} was asked for"))
    if problems:
        more = len(problems) - _MOST_SHOWN
        shown = problems[:_MOST_SHOWN]
        last = shown[-1].message + (f"; {more} more differences" if more > 0 else "")
        raise RunError([*shown[:-1], Problem(str(folder), last, _OTHER_TIP)])


def _foreign(folder: Path) -> bool:
    """Return True if a folder holds more than a run leaves that was killed before its first file was whole."""
    if not folder.is_dir():
        return True
    return not all(map(_is_begun, folder.iterdir()))


def _is_begun(path: Path) -> bool:
    """Return True for one of the files that come before a run's first whole one, holding what a run writes there."""
    form = _BEGUN.get(path.name)
    if form is None or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return form.match(file.read(_MOST_BEGUN)) is not None


def _is_only_begun(names: Collection[str]) -> bool:
    """Return True if a run's files are those of one that was killed before it saved anything it had trained."""
    return {CONFIG, _LOCK, _OWNER}.issubset(names) and _STARTED.issuperset(names)


def _owner_is_gone(owner: Path) -> bool:
    """Return True if the process that had the folder was one of this machine, and has ended."""
    try:
        match = re.fullmatch(r"process (\d+) on (.*)", owner.read_text(errors="replace"), re.DOTALL)
        if match is None or match[2] != socket.gethostname():
            return False
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _in_use(folder: Path) -> Problem:
    owner = folder / _OWNER
    who = owner.read_text() if owner.is_file() else "another process"
    return Problem(str(folder), f"in use by {who}", "wait for it, stop it, or give another folder")
