"""How fast the tool itself is: ``python benchmarks/tool.py`` writes ``reports/tool.md`` and ``reports/tool.svg``.

Commands and steps run in fresh processes, this version and an older one (``--against``, a commit) in turns; the clock
is CPU time of the process at one thread, which other work on the machine disturbs least, and the ratio of two
neighbours is what is said to have changed. Then how time and memory grow: of locating, planning, applying and verifying
with the nodes of a network, of a study with its trials, of a report with its rows; and loading a folder against timm's
own two calls, a profile against fvcore's count. ``--only commands,steps,growth,others`` measures some of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import linear_regression, median

import matplotlib.pyplot as plt
import numpy as np
import timm
import torch
from fvcore.nn import FlopCountAnalysis
from safetensors.torch import load_file, save_file

import hmhsa_insert as hi
from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.latency import quantile

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports"
OLD = "0a25a73"
PROFILE = "tests/fixtures/version_one/profile.json"
# A command, and how many seconds it may take.
COMMANDS = {
    "--help": 0.5,
    "recipe check stage3.yaml": 0.5,
    "recipes": 0.5,
    "blocks": 0.5,
    "settings": 0.5,
    f"report {PROFILE}": 0.5,
    "stages resnet50": 5.0,
    "apply resnet50 --recipe stage3.yaml -o SCRATCH --overwrite": 6.0,
}
# A step of `tool_steps.py`, what of, and how many seconds it may take.
STEPS = (
    ("locate", "resnet50", 0.3),
    ("plan a located network", "resnet50", 0.3),
    ("plan a located network", "resnet50@16384", 3.0),
    ("verify", "resnet50", 2.0),
    ("report", "10000", 5.0),
)
NODES = (500, 1000, 2000, 4000, 8000)
GROWTH = {
    "locate": NODES,
    "plan": NODES,
    "apply": NODES,
    "verify": NODES,
    "study": (100, 1_000, 10_000, 100_000),
    "report": (100, 1_000, 10_000),
}
STEEPEST = 1.1
Lines = Iterator[str]


@contextmanager
def older(commit: str) -> Iterator[Path]:
    """Give the package of another commit, with the steps of this one beside it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        for name in ("tool_steps.py",):
            (Path(folder) / "benchmarks" / name).write_bytes((ROOT / "benchmarks" / name).read_bytes())
        yield Path(folder)


def ran(root: Path, arguments: Sequence[str]) -> tuple[float, str]:
    """Run Python on the package in `root`; return the CPU seconds of the process, and what it printed."""
    around = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=around, check=True, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def in_turns(measure: Callable[[Path], float], old: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the older package and of this one, from rounds in which each goes first in turn."""
    seconds: dict[Path, list[float]] = {old: [], ROOT: []}
    for number in range(rounds):
        for root in (old, ROOT) if number % 2 else (ROOT, old):
            seconds[root].append(measure(root))
    return seconds[old], seconds[ROOT]


def commands(old: Path, rounds: int) -> Lines:
    """Yield a row for each command."""
    yield "\n## Commands\n"
    yield from _head("command")
    with tempfile.TemporaryDirectory() as scratch:
        for command, bar in COMMANDS.items():
            words = command.replace("SCRATCH", str(Path(scratch) / "spliced")).split()
            line = ["-m", "hmhsa_insert", *words]
            yield _row(
                f"`{command}`", bar, *in_turns(lambda root, line=line: ran(root, line)[0], old, rounds)
            )


def steps(old: Path, rounds: int) -> Lines:
    """Yield a row for each step, without the imports and what comes before it."""
    yield "\n## Steps\n"
    yield from _head("step")
    for step, of, bar in STEPS:
        yield _row(
            f"{step}, {of}",
            bar,
            *in_turns(lambda root, of=of, step=step: measured(root, step, of)[0], old, rounds),
        )


def measured(root: Path, step: str, of: str) -> tuple[float, float]:
    """Return the CPU seconds of a step and the MiB that it took."""
    found = json.loads(ran(root, ["benchmarks/tool_steps.py", step, of])[1])
    return float(found["seconds"]), float(found["mib"])


def _head(what: str) -> Lines:
    yield f"| {what} | older | now | p10 to p90 | times as long | bar | |"
    yield "|---|---:|---:|---|---:|---:|---|"


def _row(what: str, bar: float, old: list[float], new: list[float]) -> str:
    ratio = median(now / before for before, now in zip(old, new, strict=True))
    spread = f"{quantile(new, 0.1):.2f} to {quantile(new, 0.9):.2f}"
    kept = "kept" if median(new) <= bar else "**missed**"
    return f"| {what} | {median(old):.2f} s | {median(new):.2f} s | {spread} | {ratio:.2f} | {bar:g} s | {kept} |"


def growth(old: Path, rounds: int) -> Lines:
    """Yield a table of times and memory for each step, with their slopes; and draw them."""
    yield f"\n## Growth\n\nSlopes of log time and memory over log size, by least squares (bar: {STEEPEST}).\n"
    yield "| step | size | time | memory | slope of time | slope of memory | |\n|---|---:|---:|---:|---:|---:|---|"
    found: dict[str, list[tuple[int, float, float]]] = {}
    for step, sizes in GROWTH.items():
        for size in sizes:
            turns = [measured(ROOT, step, str(size)) for _ in range(max(1, rounds // 2))]
            found.setdefault(step, []).append(
                (size, *(median(values) for values in zip(*turns, strict=True)))
            )
        time_slope, memory_slope = (
            slope([(row[0], row[column]) for row in found[step]]) for column in (1, 2)
        )
        for size, seconds, mib in found[step][:-1]:
            yield f"| {step} | {size:,} | {seconds:.2f} s | {mib:.0f} MiB | | | |"
        size, seconds, mib = found[step][-1]
        kept = "kept" if max(time_slope, memory_slope) <= STEEPEST else "**missed**"
        slopes = f"{time_slope:.2f} | {memory_slope:.2f} | {kept} |"
        yield f"| {step} | {size:,} | {seconds:.2f} s | {mib:.0f} MiB | {slopes}"
    draw(found)
    yield "\n![How time and memory grow](tool.svg)"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of log y over log x; what is too small to be measured counts as one unit of its last digit."""
    logs = [(np.log(x), np.log(max(y, 0.01))) for x, y in points]
    return float(linear_regression(*zip(*logs, strict=True)).slope)


def draw(found: dict[str, list[tuple[int, float, float]]]) -> None:
    """Draw time and memory over size, both axes logarithmic."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for column, (axis, unit) in enumerate(zip(axes, ("CPU seconds", "MiB"), strict=True), start=1):
        for step, rows in found.items():
            axis.plot([row[0] for row in rows], [max(row[column], 0.01) for row in rows], "o-", label=step)
        axis.set(xscale="log", yscale="log", xlabel="nodes, trials or rows", ylabel=unit)
    axes[0].legend()
    figure.savefig(REPORTS / "tool.svg")


def others(old: Path, rounds: int) -> Lines:
    """Yield what loading and profiling take against others' code."""
    yield "\n## Against others\n\n`hi.load` of the spliced network against `create_model` and `load_state_dict`"
    yield "of the plain one (bar: at most 1.3 times; the spliced one also has the block's weights):\n"
    yield "| network | ratio | plain, ms |\n|---|---:|---:|"
    for name in ("resnet18", "resnet50", "mobilenetv2_100"):
        ratio, plain = loading(name, rounds)
        yield f"| {name} | {ratio:.2f} | {plain:.0f} |"
    ratio, theirs = profiling("resnet50", rounds)
    yield f"\nA profile of resnet50 takes {ratio:.2f} times as long as fvcore's count alone, {theirs:.0f} ms"
    yield "(bar: at most 2 times; the profile includes that count as its cross-check)."


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def loading(name: str, rounds: int) -> tuple[float, float]:
    """Return the median ratio of `hi.load` to create_model and load_state_dict, and the milliseconds of the latter."""
    ratios, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "spliced"
        base = timm.create_model(name)
        hi.save(hi.apply(base, "stage3.yaml"), saved)
        weights = Path(folder) / "base.safetensors"
        save_file(base.state_dict(), weights)
        for _ in range(rounds):
            theirs.append(seconds(lambda: timm.create_model(name).load_state_dict(load_file(weights))))
            ratios.append(seconds(lambda: hi.load(saved)) / theirs[-1])
    return median(ratios), 1e3 * median(theirs)


def profiling(name: str, rounds: int) -> tuple[float, float]:
    """Return the median ratio of `hi.profile` to fvcore's count alone, on real tensors, and the latter's ms."""
    model, image = timm.create_model(name).eval(), torch.randn(1, 3, 224, 224)
    ratios, theirs = [], []
    for _ in range(rounds + 1):
        count = FlopCountAnalysis(model, image).unsupported_ops_warnings(False)
        theirs.append(seconds(count.total))
        ratios.append(seconds(lambda: hi.profile(model)) / theirs[-1])
    return median(ratios[1:]), 1e3 * median(theirs[1:])  # the first of each also imports


SECTIONS: dict[str, Callable[[Path, int], Lines]] = {
    "commands": commands,
    "steps": steps,
    "growth": growth,
    "others": others,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", default=OLD, metavar="COMMIT", help="the older version")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("-o", "--output", type=Path, default=REPORTS / "tool.md", metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    here = environment()
    lines = [
        f"# The tool itself\n\n`python benchmarks/tool.py` on {here.cpu} ({here.cores} cores); {here.software()}.",
        f"CPU time at one thread, in fresh processes, this version and {options.against} in turns, {options.rounds} "
        "rounds; medians.\nA block put in and removed again: see ResNet-50 in [speed.md](speed.md).",
    ]
    with older(options.against) as old:
        for name in options.only.split(","):
            for line in SECTIONS[name](old, options.rounds):
                print(line, flush=True)
                lines.append(line)
            # After each section, so that a run that is stopped loses little.
            options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
