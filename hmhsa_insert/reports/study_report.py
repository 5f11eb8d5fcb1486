"""From a study's folder to the text of its report in one of the formats."""

from __future__ import annotations

import pandas as pd

from hmhsa_insert.inert import json_text
from hmhsa_insert.reports.data import to_csv
from hmhsa_insert.reports.frame import as_records
from hmhsa_insert.reports.latex import to_latex
from hmhsa_insert.reports.markdown import to_markdown
from hmhsa_insert.reports.render import Format
from hmhsa_insert.reports.study_rows import device_hours, summarise
from hmhsa_insert.reports.study_tables import study_tables
from hmhsa_insert.studies.outcomes import StudyOutcomes

# Changes from one run of a study to the next, so it is in the table of device hours alone.
_TIMES = ["seconds"]


def render_study(study: StudyOutcomes, how: Format, title: str = "") -> str:
    """Return the report of a study as text.

    Markdown, LaTeX and HTML hold the tables, HTML also the plots; CSV is a row per group and variant, unrounded; JSON
    holds that, every trial and the device hours. Only device hours depend on how the study was run: with the same
    results everything else, and all of the CSV, is the same byte for byte.

    Args:
        study: what became of its trials.
        how: the format.
        title: above the tables; by default the study's name.
    """
    if how == "csv":
        return to_csv(summarise(study))
    if how == "json":
        return _json(study)
    tables = study_tables(study, title)
    if how == "html":
        # Imported here: matplotlib takes longer than everything else, and tables do without it.
        from hmhsa_insert.reports.html import to_html
        from hmhsa_insert.reports.study_plots import accuracy_against_macs, forest

        frame = summarise(study)
        plots = [plot for plot in (forest(frame), accuracy_against_macs(frame)) if plot]
        return to_html(title or study.name, [tables[0], *plots, *tables[1:]])
    return "\n".join(map(to_markdown if how == "md" else to_latex, tables))


def _json(study: StudyOutcomes) -> str:
    trials = study.trials.drop(columns=_TIMES)
    content = {
        "kind": "study_report",
        "name": study.name,
        "intent": study.intent,
        "baseline": study.baseline,
        "notes": list(study.notes),
        "rows": as_records(summarise(study)),
        "trials": as_records(pd.DataFrame(trials)),
        "device_hours": as_records(device_hours(study)),
    }
    return json_text(content, indent=1, allow_nan=False) + "\n"
