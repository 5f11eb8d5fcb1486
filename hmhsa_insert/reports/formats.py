"""The formats of a report: the endings of their files, and who writes them. A new one is a row of `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hmhsa_insert.errors import Argument, Problem, listed, near
from hmhsa_insert.reports.problems import ReportError

# Writers are imported where they are called: the names of formats are needed long before, and pandas takes its time.
if TYPE_CHECKING:
    import pandas as pd

    from hmhsa_insert.reports.drawings import NetworkDrawing
    from hmhsa_insert.reports.listing import Listing
    from hmhsa_insert.reports.plots import Plot
    from hmhsa_insert.tables import Table


class Report(Protocol):
    """What a format can be made from; all of it is made when it is asked for."""

    @property
    def title(self) -> str:
        """What stands above it."""

    def tables(self) -> Sequence[Table | Listing]:
        """Return narrow tables and text, in the order in which they are read."""

    def page(self) -> Sequence[Table | Listing | Plot | NetworkDrawing]:
        """Return the parts of a page: tables that are whole, text, plots and drawings of networks."""

    def context(self) -> Sequence[Listing]:
        """Return what made the figures, for a reader who has nothing else."""

    def frame(self) -> pd.DataFrame:
        """Return all figures as one frame."""

    def data(self) -> Mapping[str, Any]:
        """Return all figures as plain data."""


@dataclass(frozen=True)
class Format:
    """One format: the endings that ask for it, and what writes a report in it."""

    endings: tuple[str, ...]
    write: Callable[[Report], str]


def _markdown(report: Report) -> str:
    from hmhsa_insert.reports.listing import Listing
    from hmhsa_insert.reports.markdown import to_markdown

    parts = [*report.tables(), *report.context()]
    return "\n".join(each.to_markdown() if isinstance(each, Listing) else to_markdown(each) for each in parts)


def _latex(report: Report) -> str:
    from hmhsa_insert.reports.latex import to_latex
    from hmhsa_insert.reports.listing import Listing

    parts = [each.to_latex() if isinstance(each, Listing) else to_latex(each) for each in report.tables()]
    return "\n".join([*parts, *(each.to_latex_comment() for each in report.context())])


def _csv(report: Report) -> str:
    from hmhsa_insert.reports.data import to_csv

    return to_csv(report.frame())


def _json(report: Report) -> str:
    from hmhsa_insert.reports.data import to_json

    context = {each.title: each.text for each in report.context()}
    return to_json({**report.data(), "context": context})


def _html(report: Report) -> str:
    from hmhsa_insert.reports.html import to_html

    return to_html(report.title or "Report", [*report.page(), *report.context()])


FORMATS: dict[str, Format] = {
    "md": Format(("md", "markdown"), _markdown),
    "latex": Format(("tex",), _latex),
    "csv": Format(("csv",), _csv),
    "json": Format(("json",), _json),
    "html": Format(("html", "htm"), _html),
}


def written(report: Report, how: str) -> str:
    """Return a report as the text of a format.

    Raises:
        ReportError: there is no such format.
    """
    return FORMATS[checked_format(how)].write(report)


def checked_format(how: str, *others: str) -> str:
    """Return `how` if it is a format, or one of `others` that a command knows beside them.

    Raises:
        ReportError: it is not; the formats that there are.
    """
    names = [*others, *FORMATS]
    if how not in names:
        raise ReportError(
            Problem(Argument("how"), f"there is no format '{how}'", f"there are {listed(names)}")
        )
    return how


def format_of(file_name: str) -> str:
    """Return the format that the ending of `file_name` asks for.

    Raises:
        ReportError: there is none.
    """
    endings = {ending: name for name, each in FORMATS.items() for ending in each.endings}
    ending = file_name.rpartition(".")[2].lower()
    if ending not in endings:
        tip = near(ending, endings) or f"endings: {', '.join(endings)}"
        raise ReportError(Problem(file_name, "its ending names no format", tip))
    return endings[ending]
