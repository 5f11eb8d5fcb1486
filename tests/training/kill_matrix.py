"""Stops trainings by every signal, sent to every process, wherever they are, and goes on with them.

``python tests/training/kill_matrix.py FOLDER [--kills 100] [--jobs 2] [--report FILE] [--only WORDS]`` trains once
to the end, then once for every kill: a child that runs the command line says when it is at the chosen place, gets the
signal from this process as it would from Slurm, systemd or a terminal, and is started again. Its files must be those
of the run that was not stopped. The exit code is 1 if a run hung, differs, or ended with another code than it should.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from training_nets import RECIPE, SETTINGS

from hmhsa_insert.commands import app
from hmhsa_insert.tasks.classify import ClassifyObjective
from hmhsa_insert.training import evaluation, loader
from hmhsa_insert.training.loop.checkpoint import latest_checkpoint
from hmhsa_insert.training.run_folder import RunFolder

SIGNALS = ("SIGTERM", "SIGINT", "SIGKILL", "SIGTERM twice")
TARGETS = ("main", "group", "worker")
# Of each place: what is called there, and how many calls a run makes at least.
PLACES: dict[str, tuple[Any, str, int]] = {
    "reading": (loader.Prepared, "batch", 8),
    "forward": (ClassifyObjective, "forward", 24),
    "checkpoint": (torch, "save", 16),
    "evaluation": (evaluation, "_judged", 12),
    "end of epoch": (RunFolder, "write_table", 4),
}
SAME = (
    *("config.yaml", "metrics.csv", "metrics.jsonl", "predictions.csv", "result.json"),
    *("best.safetensors", "last.safetensors", "ema.safetensors", "artifact/model.safetensors"),
)
TENSORS = ("pytorch_model.bin", "optimizer.bin", "run.pt")
LONGEST_S = 240.0  # a run that takes longer hangs
_HERE_S = 0.25  # a process stays where it is stopped for so long


@dataclass
class Kill:
    """One cell of the matrix, and what became of its kills."""

    signal: str
    target: str
    place: str
    codes: set[int] = field(default_factory=set)
    kills: int = 0
    hung: int = 0
    slowest: float = 0.0
    differences: list[str] = field(default_factory=list)

    @property
    def where(self) -> tuple[str, str, str]:
        return self.signal, self.target, self.place

    @property
    def name(self) -> str:
        return f"{self.signal} to {self.target} while {self.place}"

    def add(self, other: "Kill") -> None:
        self.kills, self.hung = self.kills + other.kills, self.hung + other.hung
        self.slowest = max(self.slowest, other.slowest)
        self.codes |= other.codes
        self.differences += other.differences

    @property
    def expected(self) -> int:
        """Return the exit code: of a worker's end nothing is seen from outside."""
        if self.target == "worker":
            return 0
        return -9 if self.signal == "SIGKILL" else 128 + getattr(signal, self.signal.split()[0])


def cells(only: str = "") -> list[Kill]:
    every = [Kill(*each) for each in product(SIGNALS, TARGETS, PLACES)]
    return [
        each
        for each in every
        if (each.signal, each.target) != ("SIGTERM twice", "worker") and only in each.name
    ]


def write_inputs(root: Path) -> None:
    """Write a folder of images and the files that a command needs."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 48), ("val", 24)):
        for number in range(count):
            folder = root / "set" / split / ("cat", "dog")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 120, (40, 40, 3)) + 60 * (number % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    settings = {"version": 1, **SETTINGS, "epochs": 2, "batch_size": 8, "accumulate": 2}
    settings |= {"checkpoint_steps": 4, "loader": {"workers": 2}}
    (root / "settings.yaml").write_text(yaml.safe_dump(settings))
    (root / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))


def command(root: Path, folder: Path) -> list[str]:
    files = ["--recipe", str(root / "recipe.yaml"), "--config", str(root / "settings.yaml")]
    return ["train", "training_nets:irb_nano", "--data", str(root / "set"), *files, "-o", str(folder)]


def start(arguments: list[str], log: Path, hook: Callable[[], None] = lambda: None) -> int:
    """Return the process id of a child that runs a command, in a process group of its own."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        torch.set_num_threads(1)
        hook()
        app(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def ended(child: int) -> int | None:
    """Return the exit code of a child, or the negative signal that ended it; None: it hangs."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def told_at(place: str, call: int, pipe: int, once: Path) -> None:
    """Have a call of the place's function say that it is there, and stay for a moment."""
    owner, name, _ = PLACES[place]
    original, done = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal done
        done += 1
        if done == call and _first(once):
            if place == "checkpoint":
                Path(args[1]).write_bytes(b"PK half a file")
            workers = (
                [os.getpid()] if place == "reading" else [p.pid for p in multiprocessing.active_children()]
            )
            os.write(pipe, " ".join(map(str, workers)).encode())
            time.sleep(_HERE_S)
        return original(*args, **kwargs)

    setattr(owner, name, counted)


def _first(once: Path) -> bool:
    """Return True in the one process of several that comes here first."""
    try:
        once.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def send(kill: Kill, child: int, workers: list[int], draw: random.Random) -> None:
    number = getattr(signal, kill.signal.split()[0])
    for _ in range(2 if kill.signal.endswith("twice") else 1):
        if kill.target == "group":
            os.killpg(child, number)
        else:
            os.kill(child if kill.target == "main" else draw.choice(workers), number)
        time.sleep(0.02)


def killed(kill: Kill, root: Path, number: int) -> Kill:
    """Train with one kill, go on, and compare."""
    draw, folder = random.Random(number), root / f"kill{number}"
    shutil.rmtree(folder, ignore_errors=True)
    log, once = folder.with_suffix(".log"), folder.with_suffix(".once")
    for path in (log, once):
        path.unlink(missing_ok=True)
    call = draw.randint(1, PLACES[kill.place][2])
    reading, writing = os.pipe()
    arguments = command(root, folder)
    child = start(arguments, log, lambda: told_at(kill.place, call, writing, once))
    os.close(writing)
    workers = [int(number) for number in os.read(reading, 4096).split()]
    os.close(reading)
    if not workers:
        kill.differences.append(f"{kill.place} was not reached")
    since = time.monotonic()
    if workers:
        send(kill, child, workers, draw)
    code = ended(child)
    kill.slowest = time.monotonic() - since
    again = ended(start(arguments, log)) if code else code
    kill.kills, kill.hung = 1, (code is None) + (again is None)
    kill.codes |= {code} if code is not None else set()
    if again != 0:
        kill.differences.append(f"{folder.name}: going on ends with {again}")
    if "Traceback" in log.read_text(errors="replace"):
        kill.differences.append(f"{folder.name}: a traceback")
    kill.differences += [f"{folder.name}/{name}" for name in differing(root / "whole", folder)]
    if not failed(kill):
        shutil.rmtree(folder)
    return kill


def differing(whole: Path, other: Path) -> Iterator[str]:
    """Yield the files of a run that are not those of the run that was not stopped."""
    for name in SAME:
        if not (other / name).is_file() or (other / name).read_bytes() != (whole / name).read_bytes():
            yield name
    a, b = (latest_checkpoint(folder / "checkpoints") for folder in (whole, other))
    assert a is not None
    if b is None or b.name != a.name:
        yield f"checkpoints/{a.name}"
        return
    for name in TENSORS:
        if not equal(*(torch.load(path / name, weights_only=True) for path in (a, b))):
            yield f"checkpoints/{a.name}/{name}"


def equal(a: object, b: object) -> bool:
    """Return True if two values of plain data and tensors have the same bits."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(equal, a, b))
    return a == b


def failed(kill: Kill) -> bool:
    return bool(kill.hung or kill.differences or kill.codes - {kill.expected})


def report(done: list[Kill], seconds: float) -> str:
    kills, hung = sum(each.kills for each in done), sum(each.hung for each in done)
    lost = sum(len(each.differences) for each in done)
    wrong = sum(bool(each.codes - {each.expected}) for each in done)
    lines = [
        "# Kills",
        "",
        f"{kills} trainings were stopped, {hung} hung, {lost} files differ from those of a training that was not",
        f"stopped, {wrong} ended with another exit code than they should. {seconds / 60:.0f} minutes on",
        f"{os.cpu_count()} cores; torch {torch.__version__}. Every run is two epochs of 6 updates in two accumulated",
        "batches each, with 2 processes that read training images and 2 that read the validation split, checkpoints",
        "after 4 updates and after each evaluation, mixup, dropout, drop path, EMA. Made by `make kills`.",
        "",
        "`worker`: one of the four processes that read. A worker that is killed is replaced, so that nothing is seen",
        "from outside (exit code 0). `seconds`: from the signal to the end of the process, the slowest of the kills.",
        "",
        "| signal | to | while | kills | exit code | seconds | hung | files that differ |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for each in done:
        codes = ", ".join(map(str, sorted(each.codes)))
        words = [each.signal, each.target, each.place, each.kills, codes, f"{each.slowest:.1f}", each.hung]
        lines.append("| " + " | ".join(map(str, [*words, len(each.differences)])) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", default="", help="cells whose name has this in it")
    options = parser.parse_args()
    root, began = options.folder, time.monotonic()
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "set").is_dir():
        write_inputs(root)
    if ended(start(command(root, root / "whole"), root / "whole.log")) != 0:
        sys.exit((root / "whole.log").read_text())
    matrix = cells(options.only)
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("fork")) as pool:
        asked = {
            pool.submit(killed, Kill(*matrix[number % len(matrix)].where), root, number): number
            for number in range(options.kills)
        }
        for count, done in enumerate(as_completed(asked), 1):
            kill = done.result()
            matrix[asked[done] % len(matrix)].add(kill)
            said = "; ".join(kill.differences) or ("another exit code" if failed(kill) else "as it should")
            print(f"{count:>3} {kill.name}: {sorted(kill.codes)}, {kill.slowest:.1f} s, {said}", flush=True)
            if options.report:
                options.report.write_text(report(matrix, time.monotonic() - began))
    return int(any(map(failed, matrix)))


if __name__ == "__main__":
    sys.exit(main())
