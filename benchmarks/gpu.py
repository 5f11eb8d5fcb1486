"""Everything that is to be known of a GPU: ``python benchmarks/gpu.py --minutes 9`` or ``make gpu``.

First whether all is right there, then how fast it is, the most valuable first. Every section is written as it ends, to
a folder named after the card in ``reports/gpu/``; another run adds to it, and leaves what is there already, so that
several short loans of a card make one report. ``--device cpu --quick`` runs all of it on small sizes, so that it cannot
rot. ``--needs`` prints what a machine that has torch alone is to install, one wheel a line, for
``pip download --no-deps -r``.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path

import torch
from gpu_checks import CHECKS, Skipped, Where
from gpu_measure import Budget, Job, Limits, Row, block_jobs, map_jobs, measured, network_jobs
from gpu_training import detection, training
from packaging.requirements import Requirement

from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.steps import Setting
from hmhsa_insert.errors import first_line

REPORTS = Path(__file__).parents[1] / "reports" / "gpu"
_KEY = ("section", "candidate", "setting", "mode", "batch", "size")
FIELDS = (*_KEY, "images_per_s", "ms", "speed", "speed_p10", "speed_p90")
FIELDS += ("peak_mib", "matmul_share", "bandwidth_share", "note")
Section = Callable[[Budget, list[Row]], Iterator[Row]]


def checks(budget: Budget, known: list[Row]) -> Iterator[Row]:
    """Yield what each check finds; they are all made again in every run."""
    for name, check in CHECKS.items():
        start = time.perf_counter()
        try:
            found, note = "ok", check(budget.where)
        except Skipped as reason:
            found, note = "skipped", str(reason)
        except Exception as error:  # what is wrong on a device nobody has seen may be anything
            found, note = "FAILED", f"{type(error).__name__}: {first_line(error)}"
        yield {
            "section": "checks",
            "candidate": name,
            "setting": found,
            "ms": f"{1e3 * (time.perf_counter() - start):.0f}",
            "note": note,
        }


def compared(jobs: Callable[[Where], Iterator[Job]]) -> Section:
    """Return a section that makes the comparisons that are not known yet, until there is no time left."""

    def section(budget: Budget, known: list[Row]) -> Iterator[Row]:
        limits = Limits(budget.where)
        for job in jobs(budget.where):
            done = any(all(row.get(key) == value for key, value in job.named.items()) for row in known)
            if budget.is_over:
                return
            if not done:
                yield from measured(job, budget, limits)

    return section


SECTIONS: dict[str, Section] = {
    "checks": checks,
    "blocks": compared(block_jobs),
    "networks": compared(network_jobs),
    "training": lambda budget, known: training(budget),
    "maps": compared(map_jobs),
    "detection": lambda budget, known: detection(budget),
}


def needed() -> list[str]:
    """Return the wheels of this environment that our dependencies need, torch and what comes with it left out."""
    found: dict[str, str] = {}
    front = [Requirement(text) for text in metadata.requires("hmhsa-insert") or []] + [
        Requirement("pycocotools")
    ]
    while front:
        wanted = front.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in (*found, "torch") or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        try:
            found[name] = f"{name}=={metadata.version(name).partition('+')[0]}"
        except metadata.PackageNotFoundError:
            continue
        front += [Requirement(text) for text in metadata.requires(name) or []]
    return sorted(found.values())


def read(folder: Path) -> list[Row]:
    """Return the rows of earlier runs on this card."""
    path = folder / "figures.csv"
    return list(csv.DictReader(path.open(encoding="utf-8", newline=""))) if path.is_file() else []


def merged(known: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """Return all rows, new ones in place of those of the same comparison; checks are those of the last run."""
    new = list(new)
    again = any(row["section"] == "checks" for row in new)
    kept = [row for row in known if not (again and row["section"] == "checks")]
    by_key = {tuple(row.get(key, "") for key in _KEY): row for row in (*kept, *new)}
    return list(by_key.values())


def write(folder: Path, rows: list[Row], where: Where) -> None:
    """Write the figures, and the tables that people read."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "figures.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (folder / "README.md").write_text("\n".join(_page(rows, where)) + "\n", encoding="utf-8")


def _page(rows: list[Row], where: Where) -> Iterator[str]:
    here = environment(Setting(where.device))
    memory = torch.cuda.get_device_properties(where.device).total_memory / 2**30 if where.on_gpu else 0
    card = f"{torch.cuda.get_device_name(where.device)}, {memory:.0f} GiB" if where.on_gpu else here.cpu
    yield f"# {card}\n\n`python benchmarks/gpu.py`; {here.software()}, CUDA {torch.version.cuda or 'none'}.\n"
    if where.quick:
        yield "A quick run: it shows that everything runs, and its figures mean nothing.\n"
    yield (
        "speed: times as fast as the first of its table, taken in turns, median of rounds (p10 to p90); peak: most "
        "allocated\nin a step by this candidate alone; matmul: share of the rate of a large product; bandwidth: share "
        "of the time that\nreading and writing the map once takes.\n"
    )
    found = [row for row in rows if row["section"] == "checks"]
    if found:
        yield "| check | | what was found |\n|---|---|---|"
        yield from (f"| {row['candidate']} | {row['setting']} | {_cell(row['note'])} |" for row in found)
    others = [row for row in rows if row["section"] != "checks"]
    tables = dict.fromkeys(
        tuple(row.get(key, "") for key in ("section", "mode", "setting", "size", "batch")) for row in others
    )
    for section, mode, setting, size, batch in tables:
        yield f"\n## {section}, {mode}, {setting}: {size}, batch {batch}\n"
        yield "| | images/s | ms | speed | p10 to p90 | peak MiB | matmul | bandwidth |"
        yield "|---|---:|---:|---:|---|---:|---:|---:|"
        same = (section, mode, setting, size, batch)
        for row in others:
            if tuple(row.get(key, "") for key in ("section", "mode", "setting", "size", "batch")) == same:
                yield _line(row)


def _line(row: Row) -> str:
    if not row.get("speed") and row.get("note"):
        return f"| {row['candidate']} | {_cell(row['note'])} | | | | | | |"
    spread = f"{row['speed_p10']} to {row['speed_p90']}" if row.get("speed_p10") else ""
    keys = ("candidate", "images_per_s", "ms", "speed")
    cells = [*(row.get(key, "") for key in keys), spread]
    return "| " + " | ".join([*cells, *(row.get(key, "") for key in FIELDS[-4:-1])]) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="after which no further comparison begins")
    parser.add_argument(
        "--only", default=",".join(SECTIONS), metavar="SECTION,…", help=f"of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--again", action="store_true", help="measure what is known already, too")
    parser.add_argument(
        "--needs", action="store_true", help="print the wheels that a machine with torch alone needs"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=REPORTS, metavar="DIR", help="where cards have folders"
    )
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        parser.error(f"there is no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    if options.needs:
        print("\n".join(needed()))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: run this where there is one; --device cpu --quick shows that it runs")
        return
    where = Where(options.device, options.quick)
    ends = time.monotonic() + 60 * options.minutes
    card = torch.cuda.get_device_name() if where.on_gpu else "cpu"
    folder = options.output / re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    sys.exit(run(names, Budget(where, ends, rounds=2 if where.quick else 11), folder, options.again))


def run(names: list[str], budget: Budget, folder: Path, again: bool) -> int:
    """Run sections and write each as it ends; return 1 if a check failed."""
    torch.manual_seed(0)
    rows = read(folder)
    for name in names:
        new: list[Row] = []
        try:
            for row in SECTIONS[name](budget, [] if again else rows):
                new.append(row)
                print(
                    " ".join(
                        row.get(key, "")
                        for key in ("section", "size", "setting", "mode", "candidate", "speed", "note")
                    ),
                    flush=True,
                )
        finally:  # what a section has when it is stopped is kept
            rows = merged(rows, new)
            write(folder, rows, budget.where)
        print(f"wrote {name} to {folder}" + ("; there is no time left" if budget.is_over else ""), flush=True)
    return int(any(row["section"] == "checks" and row["setting"] == "FAILED" for row in rows))


if __name__ == "__main__":
    main()
