"""From a study's folder to the text of its report in one of the formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from hmhsa_insert.reports.formats import written
from hmhsa_insert.reports.frame import as_records
from hmhsa_insert.reports.published import published_table
from hmhsa_insert.reports.study_comparisons import BASELINE, comparisons
from hmhsa_insert.reports.study_context import study_context
from hmhsa_insert.reports.study_rows import device_hours, summarise
from hmhsa_insert.reports.study_tables import study_tables
from hmhsa_insert.reports.study_verdict_tables import VERDICT
from hmhsa_insert.reports.study_verdicts import verdicts
from hmhsa_insert.studies.outcomes import StudyOutcomes
from hmhsa_insert.tables import Table

if TYPE_CHECKING:
    from hmhsa_insert.reports.listing import Listing
    from hmhsa_insert.reports.plots import Plot

# Changes from one run of a study to the next, so it is in the table of device hours alone.
_TIMES = ["seconds"]


def render_study(study: StudyOutcomes, how: str, title: str = "") -> str:
    """Return the report of a study as text.

    Markdown, LaTeX and HTML hold the tables and what made the study, HTML also the plots; CSV is a row per group and
    variant, unrounded; JSON holds that, every comparison, every trial and the device hours. Only device hours and the
    listing of software and machine depend on how the study was run: with the same results everything else, and all of
    the CSV, is the same byte for byte.

    Args:
        study: what became of its trials.
        how: one of :data:`hmhsa_insert.reports.formats.FORMATS`.
        title: above the tables; by default the study's name.

    Raises:
        ReportError: there is no such format.
    """
    return written(StudyReport(study, title or study.name), how)


@dataclass(frozen=True)
class StudyReport:
    """What formats make a report of a study from."""

    study: StudyOutcomes
    title: str
    published: bool = False

    def tables(self) -> list[Table]:
        """Return the tables of the study, and on request what others published."""
        return [*study_tables(self.study, self.title), *([published_table()] if self.published else [])]

    def page(self) -> list[Table | Plot]:
        """Return the tables, and the plots below the verdict."""
        # Imported here: matplotlib takes longer than everything else, and tables do without it.
        from hmhsa_insert.reports.study_plots import forest, score_against_macs

        tables = self.tables()
        after = 1 + max((i for i, table in enumerate(tables) if table.title.endswith(VERDICT)), default=0)
        score, found = self.study.quantity, comparisons(self.study)
        plots = (
            forest((e for e in found if e.kind == BASELINE), score, "Difference to the baseline"),
            forest((e for e in found if e.kind != BASELINE), score, "Difference of a block to its controls"),
            score_against_macs(self.frame(), score),
        )
        return [*tables[:after], *(plot for plot in plots if plot), *tables[after:]]

    def context(self) -> list[Listing]:
        """Return what made the study; of it, software and machine depend on where it was run."""
        return study_context(self.study)

    def frame(self) -> pd.DataFrame:
        """Return a row per group and variant."""
        return summarise(self.study)

    def data(self) -> dict[str, Any]:
        """Return the study, its rows, every trial and the device hours."""
        trials = self.study.trials.drop(columns=_TIMES)
        return {
            "kind": "study_report",
            "name": self.study.name,
            "intent": self.study.intent,
            "baseline": self.study.baseline,
            "notes": list(self.study.notes),
            "rows": as_records(self.frame()),
            "trials": as_records(pd.DataFrame(trials)),
            "comparisons": self._comparisons(),
            "refused": [each.model_dump() for each in self.study.refused],
            "device_hours": as_records(device_hours(self.study)),
        }

    def _comparisons(self) -> list[dict[str, Any]]:
        """Return every comparison with its figures and its verdict."""
        said = verdicts(comparisons(self.study), self.study.quantity)
        return [
            {
                "group": each.comparison.group,
                "variant": each.comparison.variant.label,
                "against": each.comparison.other.label,
                "kind": each.comparison.kind,
                **each.comparison.as_columns(),
                "verdict": each.word,
                "sentence": each.sentence,
                "further_seeds": {one.text: one.more for one in each.resolutions},
            }
            for each in said
        ]
