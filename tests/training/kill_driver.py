"""Runs a training many times, killed with SIGKILL at a chosen place and started again; a process of its own.

``python kill_driver.py FOLDER PLACE…`` prints nothing and leaves ``FOLDER/PLACE`` for every place, ``FOLDER/whole`` for
the run that was not killed. Children are forked before torch starts threads, so that each costs no import.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from training_nets import RECIPE, SETTINGS, few_digits

from hmhsa_insert.training import run, run_folder
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.loop import checkpoint, weights
from hmhsa_insert.training.loop.updates import Loop

DATA: list[Data] = []  # read once, before the first child is forked
UPDATES = 4  # in an epoch
KILLED = 9


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after_calls(owner: Any, name: str, calls: int, before: bool = False) -> None:
    """Die at the end of (or in front of) the call of a function that comes after `calls` others."""
    original: Callable[..., Any] = getattr(owner, name)
    done = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal done
        done += 1
        if before and done > calls:
            die()
        result = original(*args, **kwargs)
        if done > calls:
            die()
        return result

    setattr(owner, name, counted)


def half_written(calls: int) -> None:
    """Die in the middle of a file that ``torch.save`` writes."""
    original, done = torch.save, 0

    def cut(value: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal done
        done += 1
        original(value, path, *args, **kwargs)
        if done > calls:
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    torch.save = cut


# Every checkpoint is five files by torch.save: model, optimizer, random states, ours.
PLACES: dict[str, Callable[[], None]] = {
    "first_update": lambda: after_calls(Loop, "_close_update", 0),
    "inside_epoch": lambda: after_calls(Loop, "_close_update", UPDATES + 2),
    "inside_accumulation": lambda: after_calls(Loop, "_on_device", 2 * UPDATES + 2),
    "after_inner_checkpoint": lambda: after_calls(Loop, "save", 2),
    "checkpoint_model_half_written": lambda: half_written(4),
    "checkpoint_optimizer_half_written": lambda: half_written(9),
    "checkpoint_last_file_half_written": lambda: half_written(7),
    "checkpoint_before_rename": lambda: after_calls(checkpoint.os, "rename", 1, before=True),
    "checkpoint_before_old_is_dropped": lambda: after_calls(checkpoint, "_drop_older", 1, before=True),
    "old_checkpoint_half_removed": lambda: after_calls(checkpoint.shutil, "rmtree", 0, before=True),
    "epoch_before_metrics": lambda: after_calls(run_folder.RunFolder, "write_metrics", 1, before=True),
    "epoch_before_checkpoint": lambda: after_calls(run_folder.RunFolder, "write_predictions", 0),
    "best_weights_before_rename": lambda: after_calls(checkpoint.os, "replace", 8, before=True),
    "before_artifact": lambda: after_calls(weights.Weights, "write_artifact", 0, before=True),
    "before_result": lambda: after_calls(run, "draw_curves", 0),
}


def train(folder: Path) -> None:
    torch.set_num_threads(1)
    settings = SETTINGS | {"accumulate": 2, "checkpoint_steps": 3, "epochs": 2, "batch_size": 40}
    run.train("training_nets:irb_nano", DATA[0], recipe=RECIPE, settings=settings, folder=folder, seed=3)


def in_child(work: Callable[[], None]) -> int:
    """Return the signal that ended a child, 0 for none; its errors go to standard error."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(f"a child failed with {os.WEXITSTATUS(status)}")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def killed_at(place: str, folder: Path) -> None:
    def work() -> None:
        PLACES[place]()
        train(folder)

    if in_child(work) != KILLED:
        sys.exit(f"{place} was never reached")
    in_child(lambda: train(folder))


def killed_anywhen(folder: Path, seed: int, longest: float) -> None:
    """Kill again and again after a random time, until a child gets to the end."""
    draw = random.Random(seed)

    def work() -> None:
        signal.signal(signal.SIGALRM, lambda *_: die())
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.05, longest))
        train(folder)

    while in_child(work) == KILLED:
        draw.random()
        longest *= 1.1


if __name__ == "__main__":
    root = Path(sys.argv[1])
    DATA.append(few_digits())
    start = time.perf_counter()
    in_child(lambda: train(root / "whole"))
    seconds = time.perf_counter() - start
    for name in sys.argv[2:]:
        shutil.rmtree(root / name, ignore_errors=True)
        if name.startswith("any"):
            killed_anywhen(root / name, int(name[3:]), seconds)
        else:
            killed_at(name, root / name)
