"""What a run of `speed.py` writes: the CSV, the Markdown with the bars on top, and the pictures."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt

Row = dict[str, str]
REPORTS = Path(__file__).parents[1] / "reports"
FIELDS = (
    "section",
    "candidate",
    "setting",
    "mode",
    "batch",
    "size",
    "rounds",
    "speed",
    "speed_p10",
    "speed_p90",
    "ms",
)
FIELDS += ("saved_maps", "saved_mib", "matmul_share")
_STAGES = ("S1", "S2", "S3", "S4")


@dataclass(frozen=True)
class Bar:
    """One thing the project promises of its speed: `figure` reads it from the rows; at least (or at most) `bound`."""

    what: str
    bound: float
    figure: Callable[[Find], float]
    at_most: bool = False

    def met(self, value: float) -> bool:
        """Return True if `value`, as it is printed, keeps the promise."""
        return round(value, 2) <= self.bound if self.at_most else round(value, 2) >= self.bound


class Find:
    """Looks figures up in the rows of a run; raises KeyError where the section was not run.

    Args:
        rows: of the CSV.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = {(row["section"], row["candidate"], row["setting"], row["mode"]): row for row in rows}

    def speed(self, section: str, candidate: str, mode: str, setting: str = "float32") -> float:
        """Return how many times as fast as the first of its section a candidate is."""
        return float(self.rows[section, candidate, setting, mode]["speed"])

    def saved(self, section: str, candidate: str, base: str, field: str) -> float:
        """Return how many times less than `base` a candidate keeps for backward."""
        kept = [self.rows[section, name, "float32", "training"][field] for name in (base, candidate)]
        return float(kept[0]) / float(kept[1])

    def per_token(self, section: str, mode: str) -> float:
        """Return the worst time for a token of a section, against that of its first map."""
        worst = 0.0
        for (part, name, _, own), row in self.rows.items():
            if (part, own) == (section, mode):
                first = next(c for s, c, _, m in self.rows if (s, m) == (section, mode))
                worst = max(worst, (int(first) / int(name)) ** 2 / float(row["speed"]))
        if not worst:
            raise KeyError(section)
        return worst

    def growth(self, section: str, field: str) -> float:
        """Return the largest growth of time (`speed`) or memory from one map to the next, four times as large."""
        values = [float(row[field]) for (part, *_), row in self.rows.items() if part == section]
        pairs = list(pairwise(values))
        if not pairs:
            raise KeyError(section)
        return max(a / b if field == "speed" else b / a for a, b in pairs)


def bars() -> list[Bar]:
    """Return all promises, in the order of the report."""
    net, plain = "HAT-Net-Small", "plain definition"
    made: list[Bar] = []
    for stage in _STAGES:
        inference, training = (1.5, 1.4) if stage == "S1" else (1.25, 1.2)
        for mode, bound in (("inference", inference), ("training", training)):
            figure = _speed(stage, "hmhsa_pooled", mode)
            made.append(Bar(f"{stage}, hmhsa_pooled against the plain definition, {mode}", bound, figure))
    for stage in _STAGES[:3]:
        for block in ("hmhsa_pooled", "hmhsa"):
            name = f"{block} lean"
            made.append(Bar(f"{stage}, {name}, training", 1.0, _speed(stage, name, "training")))
            made.append(
                Bar(f"{stage}, {name}, times less saved", 3.3, _saved(stage, name, plain, "saved_maps"))
            )
    made += [
        Bar(f"{net}, inference", 1.25, _speed(net, "ours", "inference")),
        Bar(f"{net}, inference compiled", 1.5, _speed(f"{net} compiled", "ours compiled", "inference")),
        Bar(f"{net}, training", 1.2, _speed(net, "ours", "training")),
        Bar(f"{net} lean, training", 1.05, _speed(net, "ours lean", "training")),
        Bar(f"{net} lean, times less saved", 2.0, _saved(net, "ours lean", plain, "saved_mib")),
    ]
    for section in ("S1 ragged", "S3 ragged"):
        for mode, bound in (("inference", 1.15), ("training", 1.3)):
            made.append(Bar(f"{section}, worst cost of a token, {mode}", bound, _token(section, mode), True))
    for field, bound, word in (("speed", 5.0, "time"), ("saved_mib", 4.2, "memory")):
        made.append(Bar(f"hmhsa, growth of {word} per 4 × tokens", bound, _growth("hmhsa", field), True))
    for name, bound in (("bottleneck", 0.97), ("stage3", 0.78)):
        for mode in ("inference", "training"):
            made.append(
                Bar(f"ResNet-50 + {name}, {mode}", bound, _speed("ResNet-50", f"resnet50 + {name}", mode))
            )
    return made


def _speed(section: str, candidate: str, mode: str) -> Callable[[Find], float]:
    return lambda find: find.speed(section, candidate, mode)


def _saved(section: str, candidate: str, base: str, field: str) -> Callable[[Find], float]:
    return lambda find: find.saved(section, candidate, base, field)


def _token(section: str, mode: str) -> Callable[[Find], float]:
    return lambda find: find.per_token(section, mode)


def _growth(block: str, field: str) -> Callable[[Find], float]:
    return lambda find: find.growth(f"growth of {block}", field)


def join_runs(runs: list[list[Row]]) -> list[Row]:
    """Join the rows of several processes that measured the same: medians, and the widest spread."""
    joined = []
    for rows in zip(*runs, strict=True):
        row = dict(rows[0])
        for field in ("speed", "ms", "matmul_share"):
            if row.get(field):
                row[field] = f"{median(float(one[field]) for one in rows):.3f}"
        row["speed_p10"] = min((one["speed_p10"] for one in rows), key=float)
        row["speed_p90"] = max((one["speed_p90"] for one in rows), key=float)
        row["rounds"] = str(sum(int(one["rounds"]) for one in rows))
        joined.append(row)
    return joined


def read(target: Path) -> list[Row]:
    """Return the rows of an earlier run, or none."""
    if not target.exists():
        return []
    with target.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(rows: list[Row], target: Path, heading: list[str]) -> None:
    """Write `target` (CSV), the Markdown and the pictures beside it."""
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    lines = ["# Speed", "", *heading, "", *_bars_table(rows)]
    for section in dict.fromkeys(row["section"] for row in rows):
        lines += ["", f"## {section}", "", "| candidate | size | mode | speed | ms | saved | matmul |"]
        lines += ["|---|---|---|---:|---:|---:|---:|"]
        lines += [_line(row) for row in rows if row["section"] == section]
    pictures = _draw(rows, target)
    lines += ["", *(f"![{name}]({name})" for name in pictures)]
    target.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _bars_table(rows: list[Row]) -> list[str]:
    find, lines = Find(rows), []
    for bar in bars():
        try:
            value = bar.figure(find)
        except KeyError:
            continue
        sign = "≤" if bar.at_most else "≥"
        lines.append(
            f"| {bar.what} | {sign} {bar.bound:g} | {value:.2f} | {'yes' if bar.met(value) else '**no**'} |"
        )
    return (
        ["## What is promised", "", "| what | bar | measured | met |", "|---|---:|---:|---|", *lines]
        if lines
        else []
    )


def _line(row: Row) -> str:
    def text(key: str, form: str) -> str:
        return form.format(float(row[key])) if row.get(key) else ""

    speed = f"{float(row['speed']):.2f} ({float(row['speed_p10']):.2f}–{float(row['speed_p90']):.2f})"
    saved = text("saved_maps", "{:.1f} C") or text("saved_mib", "{:.1f} MiB")
    name = row["candidate"] if row["setting"] == "float32" else f"{row['candidate']}, {row['setting']}"
    cells = (name, row["size"], row["mode"], speed, text("ms", "{:.1f}"), saved)
    return f"| {' | '.join(cells)} | {text('matmul_share', '{:.0%}')} |"


def _draw(rows: list[Row], target: Path) -> list[str]:
    """Draw growth and the stages as SVG; return the files' names."""
    made = []
    growing = [row for row in rows if row["section"].startswith("growth of ")]
    if growing:
        figure, axes = plt.subplots(1, 2, figsize=(10, 4))
        for section in dict.fromkeys(row["section"] for row in growing):
            own = [row for row in growing if row["section"] == section]
            tokens = [int(row["candidate"]) ** 2 for row in own]
            label = section.removeprefix("growth of ")
            axes[0].loglog(tokens, [1 / float(row["speed"]) for row in own], "o-", label=label)
            axes[1].loglog(tokens, [float(row["saved_mib"]) for row in own], "o-", label=label)
        axes[0].set(xlabel="tokens", ylabel="inference time, 28×28 = 1", title="Time as the map grows")
        axes[1].set(xlabel="tokens", ylabel="MiB an image", title="Saved for backward")
        axes[0].legend()
        made.append(_save(figure, target.with_name(f"{target.stem}_growth.svg")))
    staged = [row for row in rows if row["section"] in _STAGES and row["setting"] == "float32"]
    if staged:
        figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharey=True)
        names = list(dict.fromkeys(row["candidate"] for row in staged))
        for axis, mode in zip(axes, ("inference", "training"), strict=True):
            for stage in _STAGES:
                own = {
                    r["candidate"]: float(r["speed"])
                    for r in staged
                    if (r["section"], r["mode"]) == (stage, mode)
                }
                axis.plot(
                    [own.get(name, float("nan")) for name in names], range(len(names)), "o", label=stage
                )
            axis.axvline(1, color="gray", linewidth=0.8)
            axis.set(xscale="log", title=mode, xlabel="speed, plain definition = 1")
        axes[0].set_yticks(range(len(names)), names)
        axes[1].legend()
        made.append(_save(figure, target.with_name(f"{target.stem}_stages.svg")))
    return made


def _save(figure: plt.Figure, path: Path) -> str:
    # A fixed salt and no date: the same figures give the same file.
    with plt.rc_context({"svg.hashsalt": "speed"}):
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return path.name
