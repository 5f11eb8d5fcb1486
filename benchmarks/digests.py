"""How long it takes to know 100,000 pictures by what is in them: reading them once, the first pass, a warm start.

    python benchmarks/digests.py --images 100000 -o reports/digests.md

Files are JPEGs of one photograph at several qualities, each with a number of its own behind it, in 100 classes. The
three things are timed in turn, so that all find the system's file cache alike; the median of the rounds counts. A
warm start is `scan` and `file_digests` in a new process, imports not counted.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CLASSES = 100
PASS = """
import sys, time
from pathlib import Path
from hmhsa_insert.training.data.digests import file_digests
from hmhsa_insert.training.data.tree import scan
start = time.perf_counter()
tree = scan(Path(sys.argv[1]))
found = file_digests(tree.root, [file for files in tree.pictures.values() for file in files])
print(time.perf_counter() - start, len(set(found)))
"""


def make(root: Path, images: int) -> int:
    """Write the pictures; return how many bytes."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    photo = Image.fromarray(load_sample_image("china.jpg")).resize((160, 107))
    made = []
    for quality in range(50, 96, 5):
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=quality)
        made.append(buffer.getvalue())
    for number in range(images):
        folder = root / f"class{number % CLASSES:03}"
        if number < CLASSES:
            folder.mkdir(parents=True)
        content = made[number % len(made)] + number.to_bytes(8, "little")
        (folder / f"{number:06}.jpg").write_bytes(content)
    return sum(len(made[n % len(made)]) + 8 for n in range(images))


def read_once(root: Path) -> float:
    """Return the seconds of reading every file from the first byte to the last, one after the other."""
    start = time.perf_counter()
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                file.read()
    return time.perf_counter() - start


def passed(root: Path, cache: Path) -> float:
    """Return the seconds of a pass in a process of its own."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", PASS, str(root)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, default=Path("reports/digests.md"))
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="digests-"))
    try:
        size = make(folder / "set", asked.images)
        time.sleep(3)  # files of the last two seconds are not kept
        kept = folder / "cache"

        def first() -> float:
            shutil.rmtree(kept, ignore_errors=True)
            return passed(folder / "set", kept)

        steps: dict[str, Callable[[], float]] = {
            "reading every file once": lambda: read_once(folder / "set"),
            "first pass: listed, read, digested, kept": first,
            "warm start: listed, digests from what is kept": lambda: passed(folder / "set", kept),
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(asked.rounds):
            for name, step in steps.items():
                seconds[name].append(step())
        asked.output.write_text(_page(asked.images, size, asked.rounds, seconds), encoding="utf-8")
    finally:
        shutil.rmtree(folder)
    print(f"wrote {asked.output}")


def _page(images: int, size: int, rounds: int, seconds: dict[str, list[float]]) -> str:
    cores = len(os.sched_getaffinity(0))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    once = next(iter(median.values()))
    lines = [
        "# Knowing data by what is in its files",
        "",
        f"{images:,} JPEGs, {size / 1e9:.2f} GB, in {CLASSES} folders; {cores} cores; the files in the system's file "
        f"cache. Median, least and most of {rounds} rounds in turn (`python benchmarks/digests.py`).",
        "",
        "| | s | least | most | against reading once |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, values in seconds.items():
        lines.append(
            f"| {name} | {median[name]:.2f} | {min(values):.2f} | {max(values):.2f} | {median[name] / once:.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
