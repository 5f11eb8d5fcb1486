"""Put one fault after another into a copy of the package, run its tests, and write down which of them noticed.

    python tests/mutants/run.py [WORD] [--jobs 2] [--passed] [--report reports/mutants.md]

A fault that no test notices is a gap in the tests, and the exit status is 1. Tests that fail without a fault, or cannot
be run, are no answer and are named as such.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from faults import Fault, faults

ROOT = Path(__file__).parents[2]
_COPIED = ("hmhsa_insert", "tests", "recipes", "reports", "benchmarks", "docs", "examples", ".github")
_SINGLE = (
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "cli.py",
    "constraints.txt",
    "constraints-oldest.txt",
    ".pre-commit-config.yaml",
)
# What `make test` runs, and what it leaves to `make test-long`.
_SAMPLE, _REST = "not long and not libs", "long and not libs"
_SECONDS = 900  # of the tests of one fault: an endless loop is noticed too


def copy_to(folder: Path) -> Path:
    """Copy what the tests need; return the folder."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", ".hypothesis")
    for name in _COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in _SINGLE:
        shutil.copy(ROOT / name, folder / name)
    return folder


def run_tests(folder: Path, tests: tuple[str, ...], marks: str = _SAMPLE) -> tuple[int, str]:
    """Run `tests` on the copy in `folder`; return pytest's exit status and the first test that failed."""
    # Bytecode is told from its source by whole seconds and size, which a fault may leave as they are.
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-rfE", "--tb=no", "-p", "no:cacheprovider", "-m", marks]
    try:
        done = subprocess.run(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=folder, env=env, capture_output=True, text=True, timeout=_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 1, f"no end after {_SECONDS} s"
    failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", done.stdout, re.MULTILINE)
    return done.returncode, failed[1] if failed else done.stdout[-300:] + done.stderr[-300:]


def outcome(folder: Path, fault: Fault) -> tuple[str, str]:
    """Return ``noticed``, ``unnoticed`` or ``no answer`` for one fault, and the test that says so."""
    package = folder / "hmhsa_insert"
    before = fault.put_into(package)
    try:
        status, said = run_tests(folder, fault.tests)
        if status in (0, 5):  # noticed by nothing that runs, or nothing runs
            status, said = run_tests(folder, fault.tests, _REST)
    finally:
        (package / fault.file).write_text(before, encoding="utf-8")
    return {0: "unnoticed", 1: "noticed", 5: "unnoticed"}.get(status, "no answer"), said if status else ""


def table(rows: list[tuple[Fault, str, str]]) -> str:
    """Return the report."""
    count = {
        kind: sum(found == kind for _, found, _ in rows) for kind in ("noticed", "unnoticed", "no answer")
    }
    lines = [
        "# Faults put in by hand, and the tests that notice them",
        "",
        f"{len(rows)} faults, one at a time: {count['noticed']} noticed, {count['unnoticed']} unnoticed, "
        f"{count['no answer']} without an answer. Python {platform.python_version()}.",
        "Made by `make test-mutants`; the faults are rows of `tests/mutants/*.toml`.",
        "",
        "| Module | Fault | | First test that failed |",
        "| --- | --- | --- | --- |",
    ]
    for fault, found, said in rows:
        cells = (f"`{fault.file}`", fault.what, found, f"`{said}`" if said else "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("word", nargs="?", default="", help="only faults whose file or text has this word")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time")
    parser.add_argument(
        "--passed", action="store_true", help="`make test` has just passed: begin with the faults"
    )
    parser.add_argument("--report", type=Path, help="a Markdown file for the table")
    given = parser.parse_args()
    chosen = [fault for fault in faults() if given.word in f"{fault.file} {fault.what}"]
    rows: list[tuple[Fault, str, str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        free: SimpleQueue[Path] = SimpleQueue()
        for job in range(given.jobs):
            free.put(copy_to(Path(scratch) / str(job)))

        def one(fault: Fault) -> tuple[Fault, str, str]:
            folder = free.get()
            try:
                return fault, *outcome(folder, fault)
            finally:
                free.put(folder)

        def without_fault(tests: tuple[str, ...]) -> tuple[int, str]:
            folder = free.get()
            try:
                return run_tests(folder, tests)
            finally:
                free.put(folder)

        # As they are run with a fault: what fails by itself would notice every one.
        alone = list(dict.fromkeys(fault.tests for fault in chosen))
        if given.passed:
            alone = []
        print(f"{len(alone)} choices of tests without a fault …", flush=True)
        with ThreadPoolExecutor(given.jobs) as pool:
            failing = {said for status, said in pool.map(without_fault, alone) if status not in (0, 5)}
            if failing:
                print("they fail by themselves: " + "; ".join(sorted(failing)))
                return 2
            for number, row in enumerate(pool.map(one, chosen), start=1):
                rows.append(row)
                fault, found, said = row
                print(f"{number}/{len(chosen)} {found}: {fault.file}: {fault.what}  {said}", flush=True)
    if given.report:
        given.report.write_text(table(rows), encoding="utf-8")
        print(f"wrote {given.report}")
    return int(any(found != "noticed" for _, found, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
