"""The exception of reports."""

from __future__ import annotations

from hmhsa_insert.errors import HmhsaInsertError


class ReportError(HmhsaInsertError):
    """A report cannot be made: a source cannot be read, or a column does not exist."""

    title = "the report cannot be made"
