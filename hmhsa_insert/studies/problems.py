"""The exceptions of studies."""

from __future__ import annotations

from hmhsa_insert.errors import HmhsaInsertError


class StudyError(HmhsaInsertError):
    """A study cannot be read, planned or run: everything that keeps it from that."""

    title = "the study cannot be used"
