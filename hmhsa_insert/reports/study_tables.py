"""A study's report as tables: narrow ones for each group, so that a terminal shows them whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.frame import as_records
from hmhsa_insert.reports.study_rows import device_hours, is_compared, summarise
from hmhsa_insert.studies.outcomes import StudyOutcomes
from hmhsa_insert.studies.statistics import coverage
from hmhsa_insert.tables import Header, Table, TableCell, TableRow

_BASELINE = "baseline"
_SIGN_FLIPS = (
    "p: two-sided sign-flip test of these differences, exact up to 16 seeds; least p: the smallest that so many seeds "
    "can give"
)
_IMAGES = (
    "Image by image: for each seed by itself, the two trained networks on the same validation images. Lost: images "
    "that only the baseline classifies right; won: that only the variant does; means over seeds",
    "McNemar p: exact, from the seed where it is lowest to that where it is highest. It asks whether two trained "
    "networks differ, not whether other seeds would: read it apart from p",
)
_FAIR = ("Images: seen in training, augmented ones counted each time; updates: steps of the optimizer",)
_HOURS = (
    "Device hours: of finished trials, all processes added; they differ from one run of a study to the next"
)


def study_tables(study: StudyOutcomes, title: str = "", hours: bool = True) -> list[Table]:
    """Return the tables of a study: for each group scores, seed noise, images, costs and training; what is missing.

    Args:
        study: what became of its trials.
        title: above the first; by default the study's name.
        hours: also the device hours, which alone of all change from one run of a study to the next.
    """
    frame = summarise(study)
    groups = [(str(name), as_records(rows)) for name, rows in frame.groupby("group", sort=False)]
    tables = [_overview(study, frame, title or study.name)]
    for name, rows in groups:
        tables += _of_group(study, name if len(groups) > 1 else "", rows)
    missing = _missing(study, len(groups) > 1)
    tables += [missing] if missing.rows else []
    if hours:
        table = _hours(device_hours(study), len(groups) > 1)
        tables += [table] if table.rows else []
    return tables


def _overview(study: StudyOutcomes, frame: pd.DataFrame, title: str) -> Table:
    """Return how many trials there are, with the study's intent and notes."""
    names = ("planned", "done", "failed", "pending")
    cells = [TableCell(study.baseline, study.baseline), *(_count(int(frame[name].sum())) for name in names)]
    headers = (Header("Baseline", False), *(Header(name.title(), True) for name in names))
    notes = [" ".join(study.intent.split())] if study.intent.strip() else []
    return Table(title, headers, (TableRow(tuple(cells), ""),), (*notes, *study.notes, *_unfair(frame)))


def _of_group(study: StudyOutcomes, group: str, rows: list[dict[str, Any]]) -> Iterable[Table]:
    prefix, score = f"{group}: " if group else "", study.quantity
    yield _table(
        f"{prefix}{score.name}",
        ("Seeds", f"{score.header} ± sd", f"Δ {score.header}", "95 % t interval"),
        {row["variant"]: _reached(row, score) for row in rows},
        _of_score(score),
    )
    others = [row for row in rows if not row["baseline"]]
    if any(row["pairs"] for row in others):
        yield _table(
            f"{prefix}difference to the baseline, paired by seed",
            ("Pairs", f"Δ {score.header}", "95 % BCa interval", "p", "Least p"),
            {row["variant"]: _difference(row, score) for row in others},
            [_SIGN_FLIPS, *_covered(others)],
        )
    if any(row["compared"] for row in others):
        yield _table(
            f"{prefix}image by image",
            ("Seeds", "Lost", "Won", "McNemar p"),
            {row["variant"]: _images(row) for row in others},
            list(_IMAGES),
        )
    costs = [
        each
        for each in study.costs
        if each.study == "table" and any(row[each.study_field] is not None for row in rows)
    ]
    yield _table(
        f"{prefix}cost",
        [head for each in costs for head in (each.header, *(["Δ"] if is_compared(each) else []))],
        {row["variant"]: _cost(row, costs) for row in rows},
        [*(each.note for each in costs if each.note), "Δ: against the baseline"],
    )
    yield _table(
        f"{prefix}training",
        ("Images", "Updates", "Epochs"),
        {row["variant"]: [_span(row, name) for name in ("images", "updates", "epochs")] for row in rows},
        list(_FAIR),
    )


def _table(
    title: str, headers: Iterable[str], rows: Mapping[str, list[TableCell]], notes: list[str]
) -> Table:
    heads = (Header("Variant", False), *(Header(text, True) for text in headers))
    body = tuple(TableRow((TableCell(variant, variant), *cells), variant) for variant, cells in rows.items())
    return Table(title, heads, body, tuple(notes))


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
    return [seeds, TableCell(text, mean), _delta(row["diff_mean"], score), _interval(row, "t", score)]


def _difference(row: Mapping[str, Any], score: Quantity) -> list[TableCell]:
    return [
        _count(row["pairs"]),
        _delta(row["diff_mean"], score),
        _interval(row, "bca", score),
        _p(row["p"]),
        _p(row["least_p"]),
    ]


def _images(row: Mapping[str, Any]) -> list[TableCell]:
    low, high = row["mcnemar_low"], row["mcnemar_high"]
    text = "" if low is None else _p(low).text if low == high else f"{_p(low).text} … {_p(high).text}"
    means = [
        TableCell("" if row[name] is None else f"{row[name]:.1f}", row[name]) for name in ("lost", "won")
    ]
    return [_count(row["compared"]), *means, TableCell(text, low)]


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


def _missing(study: StudyOutcomes, with_group: bool) -> Table:
    """Return every trial that did not end well, so that none is dropped in silence."""
    rows = []
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
    return Table("failed and pending trials", headers, tuple(rows), ())


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
    return Table("device hours", headers, tuple(rows), (_HOURS,))


def _covered(rows: list[dict[str, Any]]) -> list[str]:
    """Return what the two intervals cover with as many pairs as there are, as simulated."""
    notes = []
    for pairs in sorted({row["pairs"] for row in rows if row["pairs"]}):
        known = coverage(pairs)
        if known is None:
            continue
        place = f"{pairs} pairs" if known.n == pairs else f"{pairs} pairs (measured with {known.n})"
        said = f"t {known.t:.1%} (at worst {known.t_worst:.1%})"
        if known.bca is not None:
            said += f", BCa {known.bca:.1%} (at worst {known.bca_worst:.1%})"
        notes.append(f"What the 95 % intervals cover with {place}, simulated without effect: {said}")
    return notes


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


def _interval(row: Mapping[str, Any], kind: str, score: Quantity) -> TableCell:
    low, high = _delta(row[f"{kind}_low"], score), _delta(row[f"{kind}_high"], score)
    return TableCell(f"{low.text} … {high.text}" if low.text else "", low.value)


def _p(value: float | None) -> TableCell:
    if value is None:
        return TableCell("", None)
    return TableCell(f"{value:.1e}" if value < 0.001 else f"{value:.3f}", value)
