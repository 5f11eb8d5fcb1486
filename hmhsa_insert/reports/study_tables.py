"""A study's report as tables: narrow ones for each group, so that a terminal shows them whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.frame import as_records
from hmhsa_insert.reports.study_comparisons import comparisons
from hmhsa_insert.reports.study_rows import device_hours, is_compared, summarise
from hmhsa_insert.reports.study_verdict_tables import folded_tables, verdict_tables
from hmhsa_insert.reports.study_verdicts import Verdict, verdicts
from hmhsa_insert.studies.outcomes import StudyOutcomes
from hmhsa_insert.tables import Header, Table, TableCell, TableRow, left, right

_BASELINE = "baseline"
_FAIR = ("Images: seen in training, augmented ones counted each time; updates: steps of the optimizer",)
_HOURS = (
    "Device hours: of finished trials, all processes added; they differ from one run of a study to the next"
)


def study_tables(study: StudyOutcomes, title: str = "", hours: bool = True) -> list[Table]:
    """Return the tables of a study: what it says, for each group scores, costs and training, what is missing; the rest.

    Args:
        study: what became of its trials.
        title: above the first; by default the study's name.
        hours: also the device hours, which alone of all change from one run of a study to the next.
    """
    frame, score = summarise(study), study.quantity
    said = verdicts(comparisons(study), score)
    groups = [(str(name), as_records(rows)) for name, rows in frame.groupby("group", sort=False)]
    many = len({*(name for name, _ in groups), *(each.group for each in study.refused)}) > 1
    prefixes = {name: f"{name}: " if many else "" for name, _ in groups}
    compared: dict[str, list[Verdict]] = {}
    for each in said:
        compared.setdefault(prefixes[each.comparison.group], []).append(each)
    tables = [_overview(study, frame, title or study.name), *verdict_tables(compared, score)]
    for name, rows in groups:
        tables += _of_group(study, prefixes[name], rows)
    folded = [table for prefix, own in compared.items() for table in folded_tables(prefix, own, score)]
    if "kept" in study.trials:
        tables.append(_kept(study, many))
    missing = _missing(study, many)
    tables += [*([missing] if missing.rows else []), *folded]
    if hours:
        table = _hours(device_hours(study), many)
        tables += [table] if table.rows else []
    return tables


def _overview(study: StudyOutcomes, frame: pd.DataFrame, title: str) -> Table:
    """Return how many trials there are, with the study's intent and notes."""
    names = ("planned", "done", "failed", "pending")
    cells = [TableCell(study.baseline, study.baseline), *(_count(int(frame[name].sum())) for name in names)]
    headers = (left("Baseline"), *(right(name.title()) for name in names))
    notes = [" ".join(study.intent.split())] if study.intent.strip() else []
    return Table(title, headers, (TableRow(tuple(cells), ""),), (*notes, *study.notes, *_unfair(frame)))


def _of_group(study: StudyOutcomes, prefix: str, rows: list[dict[str, Any]]) -> Iterable[Table]:
    score = study.quantity
    yield _table(
        f"{prefix}{score.name}",
        ("Seeds", f"{score.header} ± sd", f"Δ {score.header}", "95 % t interval"),
        {row["variant"]: _reached(row, score) for row in rows},
        _of_score(score),
    )
    yield _costs(f"{prefix}cost", [each for each in study.costs if each.study == "table"], rows)
    yield _table(
        f"{prefix}training",
        ("Images", "Updates", "Epochs"),
        {row["variant"]: [_span(row, name) for name in ("images", "updates", "epochs")] for row in rows},
        list(_FAIR),
    )


def _table(
    title: str, headers: Iterable[str], rows: Mapping[str, list[TableCell]], notes: list[str]
) -> Table:
    heads = (left("Variant"), *map(right, headers))
    body = tuple(TableRow((TableCell(variant, variant), *cells), variant) for variant, cells in rows.items())
    return Table(title, heads, body, tuple(notes))


def _costs(title: str, costs: list[Quantity], rows: list[dict[str, Any]]) -> Table:
    headers = []
    for each in costs:
        headers.append(right(each.header, *filter(None, [each.note])))
        headers += [right("Δ", "Δ: against the baseline")] if is_compared(each) else []
    body = ((TableCell(row["variant"], row["variant"]), *_cost(row, costs)) for row in rows)
    return Table(
        title,
        (left("Variant"), *headers),
        tuple(TableRow(cells, str(cells[0].value)) for cells in body),
    )


def _of_score(score: Quantity) -> list[str]:
    """Return what a score and its difference mean."""
    points = ", in percentage points" if score.is_percent else ""
    return [
        f"{f'{score.study_note},' if score.study_note else f'{score.header}:'} mean and standard deviation over seeds",
        f"Δ {score.header}: mean over seeds of the variant less the baseline of the same seed{points}",
    ]


def _reached(row: Mapping[str, Any], score: Quantity) -> list[TableCell]:
    mean, sd = row[f"{score.field}_mean"], row[f"{score.field}_sd"]
    text = " ± ".join(score.mean_text(value) for value in (mean, sd) if value is not None)
    seeds = TableCell(
        f"{row['done']} of {row['planned']}" if row["done"] < row["planned"] else str(row["done"]),
        row["done"],
    )
    if row["baseline"]:
        return [seeds, TableCell(text, mean), TableCell(_BASELINE, None), TableCell("", None)]
    low, high = (row[f"t_{end}"] for end in ("low", "high"))
    ends = "" if low is None else f"{score.mean_delta_text(low)} … {score.mean_delta_text(high)}"
    return [seeds, TableCell(text, mean), _delta(row["diff_mean"], score), TableCell(ends, low)]


def _cost(row: Mapping[str, Any], costs: Iterable[Quantity]) -> list[TableCell]:
    cells = []
    for each in costs:
        value = row[each.study_field]
        text = "" if value is None else each.small_text(value)
        cells.append(TableCell(text, None if value is None else float(value)))
        if is_compared(each):
            delta = row[f"delta_{each.study_field}"]
            cells.append(TableCell("" if delta is None else each.delta_text(delta), delta))
    return cells


def _span(row: Mapping[str, Any], name: str) -> TableCell:
    low, high = row[f"{name}_least"], row[f"{name}_most"]
    text = "" if low is None else f"{low:,}" if low == high else f"{low:,} … {high:,}"
    return TableCell(text, None if low is None else int(low))


def _kept(study: StudyOutcomes, with_group: bool) -> Table:
    """Return at which maps the blocks of pruned networks are left, and of how many seeds."""
    pruned = study.trials.dropna(subset=["kept"])
    rows = [
        (str(variant), *([str(group)] if with_group else []), str(kept), ", ".join(map(str, own["seed"])))
        for (group, variant, kept), own in pruned.groupby(["group", "variant", "kept"], sort=False)
    ]
    headers = [left(name) for name in ("Variant", *(("Group",) if with_group else ()), "Left after", "Seeds")]
    note = "Chosen for each seed by itself: costs of the variant are means over seeds"
    return Table.of("blocks that are left", headers, rows, (note,))


def _missing(study: StudyOutcomes, with_group: bool) -> Table:
    """Return every trial that did not end well and every recipe refused, so that nothing is dropped in silence."""
    rows = []
    for each in study.refused:
        group = [TableCell(each.group, each.group)] if with_group else []
        said = (TableCell(text, text) for text in ("refused by the network", each.reason))
        rows.append(
            TableRow(
                (TableCell(each.variant, each.variant), *group, TableCell("", None), *said), each.variant
            )
        )
    for trial in study.trials[study.trials["status"] != "done"].to_dict(orient="records"):
        group = [TableCell(trial["group"], trial["group"])] if with_group else []
        message = trial["message"] or ("not run to its end yet" if trial["status"] == "pending" else "")
        cells = (
            TableCell(trial["variant"], trial["variant"]),
            *group,
            TableCell(str(trial["seed"]), int(trial["seed"])),
            TableCell(trial["status"], trial["status"]),
            TableCell(message, message),
        )
        rows.append(TableRow(cells, trial["variant"]))
    names = ("Variant", *(("Group",) if with_group else ()), "Seed", "State", "Message")
    headers = tuple(Header(name, name == "Seed") for name in names)
    return Table("refused recipes, failed and pending trials", headers, tuple(rows))


def _hours(hours: pd.DataFrame, with_group: bool) -> Table:
    rows = []
    for entry in hours.to_dict(orient="records"):
        shown = ("variant", *(("group",) if with_group else ()), "device")
        texts = [TableCell(str(entry[name]), str(entry[name])) for name in shown]
        figures = (_count(entry["trials"]), TableCell(f"{entry['hours']:.4f}", float(entry["hours"])))
        rows.append(TableRow((*texts, *figures), entry["group"]))
    total = float(hours["hours"].sum())
    if rows:
        blank = [TableCell("", None)] * (2 if with_group else 1)
        last = (
            TableCell("total", "total"),
            *blank,
            _count(int(hours["trials"].sum())),
            TableCell(f"{total:.4f}", total),
        )
        rows.append(TableRow(last, "total"))
    names = ("Variant", *(("Group",) if with_group else ()), "Device", "Trials", "Device hours")
    headers = tuple(Header(name, name in ("Trials", "Device hours")) for name in names)
    return Table("device hours", headers, tuple(rows), (_HOURS,), folded=True)


def _unfair(frame: pd.DataFrame) -> list[str]:
    """Return a sentence for every variant that did not train as long as the baseline of its group."""
    found = []
    for _, rows in frame.groupby("group", sort=False):
        records = as_records(rows)
        base = next((row for row in records if row["baseline"]), None)
        if base is None:
            found.append(f"{records[0]['group']}: no baseline, so there are no differences")
            continue
        for row in records:
            for name in ("images", "updates"):
                spans = [(each[f"{name}_least"], each[f"{name}_most"]) for each in (row, base)]
                if None not in spans[0] + spans[1] and spans[0] != spans[1]:
                    found.append(
                        f"Not trained alike: {row['variant']} ({row['group']}) has other {name} than the baseline"
                    )
    return found


def _count(value: int) -> TableCell:
    return TableCell(str(value), int(value))


def _delta(value: float | None, score: Quantity) -> TableCell:
    return TableCell("" if value is None else score.mean_delta_text(value), value)
