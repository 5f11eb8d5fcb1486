"""Run many cases in worker processes, and write the table: ``python tests/fuzz/driver.py --cases 100000``.

``--only N`` runs one case again and shows its traceback.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from cases import LARGE_MB, SLOW_S, Outcome, bound_memory, kind_of, run_case
from mutate import EVIL
from specimens import KINDS, make_specimens

# A worker that says nothing for so long hangs where no signal reaches it.
_SILENT_S = 600
_CASES_EACH = 4000
_MORE_BYTES = 3 << 30
_EVIL_MODULE = (
    "import pathlib\n\npathlib.Path('IMPORTED').touch()\n\n\ndef factory(**kwargs):\n    raise RuntimeError\n"
)


def outcomes(seed: int, numbers: Sequence[int], folder: Path, workers: int = 1) -> Iterator[Outcome]:
    """Yield what becomes of every case, in no order.

    Args:
        seed: of the run.
        numbers: of the cases.
        folder: with the specimens; each worker has a copy of its own.
        workers: processes at a time.
    """
    gc.freeze()  # else each worker's collector copies all that is shared
    waiting = [numbers[start : start + _CASES_EACH] for start in range(0, len(numbers), _CASES_EACH)]
    running: list[_Worker] = []
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(_Worker(seed, waiting.pop(0), folder))
        multiprocessing.connection.wait([worker.pipe for worker in running], timeout=1)
        for worker in list(running):
            yield from worker.told()
            if worker.ended():
                running.remove(worker)
                if worker.left:
                    lost, *rest = worker.left
                    yield Outcome(
                        lost,
                        kind_of(lost).name,
                        "traceback",
                        _SILENT_S,
                        0.0,
                        False,
                        False,
                        "the process died or hung",
                    )
                    waiting += [rest] if rest else []


class _Worker:
    """One process and the cases it has not told of yet."""

    def __init__(self, seed: int, numbers: Sequence[int], folder: Path) -> None:
        self.left = list(numbers)
        self.pipe, theirs = multiprocessing.Pipe(duplex=False)
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_work, args=(seed, numbers, folder, theirs))
        self._process.start()
        theirs.close()
        self._heard = time.monotonic()

    def told(self) -> Iterator[Outcome]:
        try:
            while self.pipe.poll():
                outcome = self.pipe.recv()
                self.left.remove(outcome.number)
                self._heard = time.monotonic()
                yield outcome
        except EOFError:
            return

    def ended(self) -> bool:
        silent = time.monotonic() - self._heard > _SILENT_S
        if self.left and self._process.is_alive() and not silent:
            return False
        self._process.kill()
        self._process.join()
        return True


def _work(seed: int, numbers: Sequence[int], folder: Path, pipe: Connection) -> None:
    with tempfile.TemporaryDirectory() as own:
        here = Path(own) / "here"
        shutil.copytree(folder, here)
        os.chdir(here)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries warn of
        originals = {kind.path: Path(kind.path).read_bytes() for kind in KINDS}
        bound_memory(_MORE_BYTES)
        for number in numbers:
            pipe.send(run_case(seed, number, originals))
        os.chdir("/")


def prepared(folder: Path) -> Path:
    """Make the specimens and the module that tells of being imported in `folder`, and return it."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        make_specimens()
        Path(f"{EVIL}.py").write_text(_EVIL_MODULE)
    finally:
        os.chdir(before)
    return folder


def table(found: Sequence[Outcome]) -> list[str]:
    """Return the lines of the table: a row for each kind of file, and their sum."""
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in found:
        by_kind[outcome.kind].append(outcome)
    heads = (
        "file",
        "cases",
        "accepted",
        "refused",
        "tracebacks",
        "over 5 s",
        "over 500 MB",
        "imports",
        "live text",
    )
    lines = [f"| {' | '.join(heads)} | median ms | most ms | most MB |", "|---" + "|---:" * 11 + "|"]
    rows = [(kind.name, by_kind[kind.name]) for kind in KINDS if by_kind[kind.name]]
    for name, group in [*rows, ("**all**", list(found))]:
        results = Counter(each.result for each in group)
        seconds = sorted(each.seconds for each in group)
        counts = (
            *(len(group), results["accepted"], results["refused"], results["traceback"]),
            *(sum(each.seconds > SLOW_S for each in group), sum(each.megabytes > LARGE_MB for each in group)),
            *(sum(each.imported for each in group), sum(each.live for each in group)),
        )
        times = (1000 * seconds[len(seconds) // 2], 1000 * seconds[-1], max(each.megabytes for each in group))
        cells = [*(f"{count:,}" for count in counts), *(f"{each:,.0f}" for each in times)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def is_bad(outcome: Outcome) -> bool:
    """Return True for what no case may come to."""
    late, large = outcome.seconds > SLOW_S, outcome.megabytes > LARGE_MB
    return outcome.result == "traceback" or late or large or outcome.imported or outcome.live


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", type=int, help="run this case alone, in this process")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many")
    parser.add_argument(
        "--keep", type=Path, help="add every outcome to this file; the report is of all in it"
    )
    parser.add_argument("--report", type=Path, help="write the table there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = prepared(Path(made))
        if options.only is not None:
            os.chdir(folder)
            print(
                run_case(
                    options.seed, options.only, {kind.path: Path(kind.path).read_bytes() for kind in KINDS}
                )
            )
            return
        found = list(_run(options, folder))
    if options.keep is not None:
        lines = options.keep.read_text(encoding="utf-8").splitlines()
        found = list({each.number: each for each in (Outcome(**json.loads(line)) for line in lines)}.values())
    if options.report is not None:
        options.report.write_text(_report(found, options), encoding="utf-8")
    print("\n".join(table(found)))
    sys.exit(any(map(is_bad, found)))


def _run(options: argparse.Namespace, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes that the command line asks for, and tell of the bad ones and of how far it is."""
    numbers = range(options.first, options.first + options.cases)
    began, bad = time.monotonic(), 0
    for done, outcome in enumerate(outcomes(options.seed, numbers, folder, options.workers), 1):
        yield outcome
        if options.keep is not None:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
        if is_bad(outcome):
            bad += 1
            print(f"case {outcome.number} {outcome}", flush=True)
        if done % 2000 == 0:
            print(f"{done:,} cases, {time.monotonic() - began:.0f} s, {bad} bad", flush=True)
        if time.monotonic() - began > 60 * options.minutes:
            return


_HEAD = """# Fuzzing

Files of every kind, damaged at the level of text and of what the text says, then read by the command or function that
a user calls. `make test-fuzz` runs it; `python tests/fuzz/driver.py --only N` repeats a case.

{cases:,} cases of seed {seed}, {minutes:.0f} minutes of one processor ({machine}, Python {python}, torch {torch}).

{table}

Times are of the processor, memory is beyond what the process had before the case. Live text: an escape code or the like
in a message, or a message of more than 20,000 characters.

## Cases that came to what none may

{bad}
"""


def _report(found: Sequence[Outcome], options: argparse.Namespace) -> str:
    bad = [
        f"- case {each.number}, {each.kind}: {each.result} {each.detail} "
        f"({each.seconds:.1f} s, {each.megabytes:.0f} MB)"
        for each in found
        if is_bad(each)
    ]
    return _HEAD.format(
        cases=len(found),
        seed=options.seed,
        minutes=sum(each.seconds for each in found) / 60,
        machine=platform.machine(),
        python=platform.python_version(),
        torch=torch.__version__,
        table="\n".join(table(found)),
        bad="\n".join(bad) or "None.",
    )


if __name__ == "__main__":
    main()
