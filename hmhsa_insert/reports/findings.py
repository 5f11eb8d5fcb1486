"""What in a set of records needs a reader's attention: trainings that were not alike, and counts that are in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hmhsa_insert.reports.differences import Differences, subject_of
from hmhsa_insert.reports.frame import size_label
from hmhsa_insert.reports.sources import Record


def findings(records: Iterable[Record]) -> list[str]:
    """Return a sentence for every training that is not like the first one of its network, and every count in doubt.

    A count is in doubt if fvcore disputes it or an operation is unknown. Conventions that profiles were counted by
    come first, each once.
    """
    records = list(records)
    found = list(dict.fromkeys(said for record in records for said in record.get("conventions") or ()))
    found += _not_alike(records)
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


# They change where or how fast a training computes, not what.
_HOW_FAST = ("checkpoint_steps", "checkpoint_minutes", "trackers", "loader.workers")
_MOST_KEYS = 4


def _not_alike(records: Sequence[Record]) -> Iterator[str]:
    """Yield in what trainings differ whose scores are compared: data and settings, beside the recipe."""
    first: dict[str, Record] = {}
    for record in records:
        if not record.get("run"):
            continue
        other = first.setdefault(str(record.get("group") or record["name"]), record)
        changed = Differences(subject_of(other), subject_of(record)).changed()
        pairs = {f"data {key}": pair for key, pair in changed.get("data", {}).items()}
        pairs |= {key: pair for key, pair in changed.get("settings", {}).items() if key not in _HOW_FAST}
        if pairs:
            said = [f"{key} {one} and {two}" for key, (one, two) in list(pairs.items())[:_MOST_KEYS]]
            said += [f"and {len(pairs) - _MOST_KEYS} more"] if len(pairs) > _MOST_KEYS else []
            yield f"not trained alike: {other['name']} and {record['name']} have {', '.join(said)}"
