"""Count again the networks that others published: ``python benchmarks/published.py`` writes reports/literature.csv.

Top-1 is theirs and stays as it is; parameters and multiply–accumulates are what our counters say of timm's network of
that name at that size, on shapes alone.
"""

from __future__ import annotations

import csv
from pathlib import Path

from rich.progress import track

from hmhsa_insert.costs.count import count
from hmhsa_insert.surgery.artifact.artifact import open_model

FILE = Path(__file__).parents[1] / "hmhsa_insert" / "reports" / "literature.csv"
COUNTED = ("num_params", "macs", "macs_modules_only")


def counted(row: dict[str, str]) -> dict[str, str]:
    """Return a row with what our counters say of its network."""
    side = int(row["size"])
    counts = count(open_model(f"timm/{row['model']}", meta=True).model, (3, side, side)).per_sample
    return row | {name: str(getattr(counts, name)) for name in COUNTED}


def main() -> None:
    rows = list(csv.DictReader(FILE.read_text(encoding="utf-8").splitlines()))
    with FILE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(counted(row) for row in track(rows, "counting"))


if __name__ == "__main__":
    main()
