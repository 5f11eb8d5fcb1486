"""``hi.report``: the report of records, runs or a study, as text, in a file, and as a page in notebooks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import Argument, Problem
from hmhsa_insert.files.whole import write_text
from hmhsa_insert.inert import html
from hmhsa_insert.reports.differences import Differences, subject_of
from hmhsa_insert.reports.formats import Report, checked_format, format_of, written
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.published import literature_records, published_records
from hmhsa_insert.reports.render import RecordsReport
from hmhsa_insert.reports.sources import load_records
from hmhsa_insert.reports.study_report import StudyReport
from hmhsa_insert.studies.outcomes import is_study, read_outcomes


@dataclass(frozen=True)
class WrittenReport:
    """A report in one format: ``str`` and ``print`` give its text, a notebook shows its page.

    Attributes:
        content: the tables, plots and figures it is written from.
        format: one of ``md``, ``latex``, ``csv``, ``json``, ``html``.
    """

    content: Report
    format: str

    @cached_property
    def text(self) -> str:
        """The report in its format."""
        return written(self.content, self.format)

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        # In a frame of its own: neither its style nor its script reaches the notebook.
        page = html(written(self.content, "html"), lines=True)
        return f'<iframe sandbox="allow-scripts" srcdoc="{page}" width="100%" height="640"></iframe>'


class Profile(Protocol):
    """What ``hi.profile`` returns."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""


class Run(Protocol):
    """What ``hi.train`` returns."""

    @property
    def folder(self) -> Path:
        """Where it is."""


Source = str | Path | Mapping[str, Any] | Profile | Run


@reads_arguments
def report(
    sources: Source | Sequence[Source] = (),
    *,
    format: str | None = None,
    output: str | Path | None = None,
    columns: Sequence[str] | None = None,
    published: bool = False,
    parts: bool = False,
    title: str = "",
) -> WrittenReport:
    """Return the report of profiles, training runs or one study.

    Args:
        sources: one or several of: JSON files of ``profile`` or their content, folders with such files, folders of
            training runs, what ``hi.profile`` and ``hi.train`` return; or the folder of one study.
        format: ``md``, ``latex``, ``csv``, ``json`` or ``html``; by default what the ending of `output` asks for,
            else ``md``.
        output: a file to write as well.
        columns: keys of the columns of the table, or ``["all"]``; by default those of the paper's tables.
        published: add what others published, marked with its source: the paper's networks, and blocks of the
            literature under one training each.
        parts: also show in which parts of the networks the cost is; a page always does.
        title: what stands above the table.

    Returns:
        The report: ``print`` shows its text, ``str`` returns it, and a notebook shows its page.

    Raises:
        ReportError: a source cannot be read, there is none, or a format or column does not exist.
        HmhsaInsertError: `output` cannot be written.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> cost = hi.profile(timm.create_model("test_resnet"), (3, 64, 64))
        >>> print(hi.report(cost, columns=["method", "params", "macs"]))
        |Method|#Params|#MACs|
        ...
    """
    chosen = checked_format(format) if format is not None else format_of(str(output)) if output else "md"
    several = sources if isinstance(sources, list | tuple) else [sources]
    made = WrittenReport(
        opened(list(map(_readable, several)), columns=columns, published=published, parts=parts, title=title),
        chosen,
    )
    if output is not None:
        write_text(Path(output), made.text, ReportError)
    return made


def _readable(source: object) -> str | Path | Mapping[str, Any]:
    """Return a source as data, or as the path of data."""
    if hasattr(source, "as_dict"):
        source = json.loads(json.dumps(source.as_dict()))
    found: object = getattr(source, "folder", source)
    if not isinstance(found, str | Path | Mapping):
        tip = "a path, the content of a profile's JSON, or what hi.profile and hi.train return"
        raise ReportError(Problem(Argument("sources"), f"expected {tip}; found {type(found).__name__}"))
    return found


def opened(
    sources: Sequence[str | Path | Mapping[str, Any]],
    *,
    columns: Sequence[str] | None = None,
    published: bool = False,
    parts: bool = False,
    title: str = "",
) -> Report:
    """Return what a report of `sources` is written from; the arguments and errors are those of :func:`report`."""
    paths = [Path(each) for each in sources if not isinstance(each, Mapping)]
    if any(map(is_study, paths)):
        _refuse_with_study(sources, {"columns": columns, "parts": parts})
        study = read_outcomes(paths[0])
        return StudyReport(study, title or study.name, published)
    if not sources and not published:
        tip = "`hmhsa-insert profile MODEL -o FILE.json` writes one; `published=True` shows the authors' figures"
        raise ReportError(Problem(Argument("sources"), "there is nothing to report", tip))
    theirs = [*published_records(), *literature_records()] if published else []
    records = [*load_records(sources), *theirs]
    return RecordsReport(tuple(records), columns, title, parts, sections=False)


def compared(sources: Sequence[str | Path | Mapping[str, Any]]) -> Differences:
    """Return what differs between the two records that `sources` hold.

    Raises:
        ReportError: a source cannot be read, or they do not hold two records.
    """
    records = load_records(sources)
    if len(records) != 2:
        tip = "give two runs, or two profiles of one network each"
        raise ReportError(
            Problem(Argument("diff"), f"compares two records, and {len(records)} were given", tip)
        )
    one, other = map(subject_of, records)
    if one.name == other.name and len(sources) == 2:
        one, other = (replace(each, name=str(name)) for each, name in zip((one, other), sources, strict=True))
    return Differences(one, other)


def _refuse_with_study(sources: Sequence[Any], options: Mapping[str, object]) -> None:
    problems = []
    if len(sources) > 1:
        tip = "give its folder by itself"
        problems.append(Problem(Argument("sources"), "a study's report is of one study alone", tip))
    problems += [
        Problem(Argument(name), "a study's report has tables of its own", "leave it out")
        for name, given in options.items()
        if given
    ]
    if problems:
        raise ReportError(problems)
