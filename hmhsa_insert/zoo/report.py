"""The table of a coverage run, as CSV and Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from hmhsa_insert.inert import csv_text, markdown, markdown_code
from hmhsa_insert.zoo.check import ZooRow


def summary(rows: Sequence[ZooRow]) -> list[tuple[str, str]]:
    """Return the main results as (question, answer)."""
    status = Counter(row.status for row in rows)
    ran = [row for row in rows if row.eval_change is not None]
    exact = sum(row.eval_change == 0 and row.train_change == 0 for row in ran)
    sites, in_tree = sum(row.sites for row in ran), sum(row.in_tree for row in ran)
    seconds = [row.locate_s for row in rows if row.stages]
    timm = [row for row in rows if row.network.startswith("timm/")]
    agree = sum(not row.differs for row in timm if row.stages)
    answers = [
        ("networks", f"{len(rows)}: " + ", ".join(f"{n} {name}" for name, n in status.most_common())),
        ("located", f"{sum(bool(row.stages) for row in rows)} of {len(rows)}"),
        ("identity exact in eval and in train mode", f"{exact} of {len(ran)} that ran"),
        ("base weights byte-identical", f"{sum(bool(row.weights_kept) for row in ran)} of {len(ran)}"),
    ]
    if sites:
        answers.append(
            ("edited in the module tree", f"{in_tree} of {sites} sites ({100 * in_tree / sites:.1f} %)")
        )
    if seconds:
        middle, most = statistics.median(seconds), max(seconds)
        answers.append(("CPU seconds to locate (two traces)", f"median {middle:.2f}, most {most:.2f}"))
    if timm:
        answers.append(("agree with timm's feature_info on stride and channels", f"{agree} of {len(timm)}"))
    return answers


def to_csv(rows: Sequence[ZooRow]) -> str:
    """Return one line per network."""
    ordered = sorted(rows, key=lambda row: row.network)
    return csv_text([field.name for field in fields(ZooRow)], (asdict(row).values() for row in ordered))


def to_markdown(rows: Sequence[ZooRow], environment: Mapping[str, str], causes: Mapping[str, str]) -> str:
    """Return the report: the summary, what was refused or failed, the disagreements with their cause, all rows."""
    rows = sorted(rows, key=lambda row: row.network)
    lines = ["# Coverage of the zoo", ""]
    lines += [
        "Every network: located, a block inserted in identity form at the end of every stage, verified with"
    ]
    lines += [
        "randomized BatchNorm on real numbers, with dropout and drop path where its constructor has them.",
        "",
    ]
    lines += [f"- {question}: {answer}" for question, answer in summary(rows)]
    lines += ["", "Run with " + ", ".join(f"{key} {value}" for key, value in environment.items()) + ".", ""]
    trouble = [row for row in rows if row.status != "ok"]
    lines += ["## Refused, failed or not run", ""]
    lines += [f"- {markdown_code(row.network)} {row.status}: {markdown(row.reason)}" for row in trouble] or [
        "None."
    ]
    lines += ["", "## Where timm's feature_info reads otherwise", "", "| network | ours != timm's | cause |"]
    lines += ["|---|---|---|"]
    lines += [
        f"| {markdown(r.network)} | {r.differs} | {causes.get(r.network, '')} |" for r in rows if r.differs
    ]
    lines += [
        "",
        "## All networks",
        "",
        "| network | size | params (M) | stages | sites (in tree) | max Δ | locate s |",
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        change = "" if row.eval_change is None else f"{max(row.eval_change, row.train_change or 0):g}"
        stages = row.stages.replace(";", "; ")
        lines.append(
            f"| {markdown(row.network)} | {row.input_size} | {row.params_m} | {stages} | "
            f"{row.sites} ({row.in_tree}) | {change} | {row.locate_s:.2f} |"
        )
    return "\n".join(lines) + "\n"
