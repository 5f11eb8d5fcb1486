"""What in a set of records needs a reader's attention: counts that are incomplete, or that another tool disputes."""

from __future__ import annotations

from collections.abc import Iterable

from hmhsa_insert.reports.frame import size_label
from hmhsa_insert.reports.sources import Record


def findings(records: Iterable[Record]) -> list[str]:
    """Return a sentence for every profile whose count fvcore disputes, and for every one with unknown operations.

    Conventions that profiles were counted by come first, each once.
    """
    records = list(records)
    found = list(dict.fromkeys(said for record in records for said in record.get("conventions") or ()))
    for record in records:
        if record["kind"] != "profile":
            continue
        where = f"{record['name']} at {size_label(*record['input_size'][1:])}"
        dispute = (record.get("crosscheck") or {}).get("finding")
        if dispute:
            found.append(f"{where}: {dispute}")
        unknown = record.get("unknown_ops")
        if unknown:
            found.append(
                f"{where}: operations without a formula, their cost in none of the numbers: {', '.join(unknown)}"
            )
    return found
