"""What a planned study can resolve: the differences that its seeds find, with the noise of its trials or a pilot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.study_comparisons import Comparison, comparisons
from hmhsa_insert.reports.study_pilot import Pilot, Spread, pilot_of
from hmhsa_insert.reports.study_verdicts import differences_to_resolve
from hmhsa_insert.studies.outcomes import StudyOutcomes
from hmhsa_insert.studies.power import MOST_SEEDS, least_difference, sd_bounds, seeds_to_resolve
from hmhsa_insert.tables import Cell, Table, TableCell, left, right

_RESOLVES = (
    "Resolves: the smallest true difference in {}{} that the planned seeds find in four of five studies, by Student's "
    "test at 95 % (noncentral t); the columns after it: how many seeds in all find one of that size"
)
_UNPAIRED = (
    "unpaired: √2 times the spread of scores between seeds; paired trainings usually differ by less, so that fewer "
    "seeds may do"
)
UNKNOWN = (
    "which difference these seeds can resolve shows once two seeds of a comparison are done, or from an earlier study "
    "or runs: `pilot=DIR`"
)


def power_tables(study: StudyOutcomes, pilot: Pilot | None = None) -> list[Table]:
    """Return for each group what its planned seeds can resolve; nothing where no spread is known.

    A comparison's spread is its own, as soon as two of its pairs are done; else that of the same comparison in the
    pilot; else that of all comparisons of the pilot, or of the study, together.

    Args:
        study: its trials, of which some may be done.
        pilot: of other trainings.
    """
    found = comparisons(study)
    own = pilot_of(found, "")
    by_group: dict[str, list[tuple[Comparison, Spread]]] = {}
    for each in found:
        spread = _spread(each, pilot, own)
        if spread is not None and each.common:
            by_group.setdefault(each.group, []).append((each, spread))
    tables = [
        _table(f"{group}: " if len(by_group) > 1 else "", rows, study.quantity, pilot)
        for group, rows in by_group.items()
    ]
    said = _RESOLVES.format(study.quantity.header, " points" * study.quantity.is_percent)
    notes = (said, *_notes(spread for rows in by_group.values() for _, spread in rows))
    return [*tables[:-1], *(Table(t.title, t.headers, t.rows, notes) for t in tables[-1:])]


def _spread(each: Comparison, pilot: Pilot | None, own: Pilot) -> Spread | None:
    if each.said is not None and each.said.sd:
        return Spread(each.said.sd, each.said.n - 1, f"{each.said.n} pairs")
    known = [pilot.own.get((each.variant.label, each.kind)), pilot.pooled] if pilot is not None else []
    return next((spread for spread in (*known, own.pooled) if spread is not None), None)


def _table(
    prefix: str, rows: Sequence[tuple[Comparison, Spread]], score: Quantity, pilot: Pilot | None
) -> Table:
    asked = [_asked(each, score, pilot) for each, _ in rows]
    heads = [text.partition(" ")[0] for _, text in max(asked, key=len)]
    headers = (
        *(left("Variant"), left("Against"), right("Seeds"), right("sd of Δ"), left("From")),
        *(right("Resolves"), *map(right, heads)),
    )
    cells = (_row(each, spread, sizes, score) for (each, spread), sizes in zip(rows, asked, strict=True))
    return Table.of(f"{prefix}what the planned seeds can resolve", headers, cells)


def _asked(each: Comparison, score: Quantity, pilot: Pilot | None) -> list[tuple[float, str]]:
    scores = each.other.scores
    level = sum(scores) / len(scores) if scores else None if pilot is None else pilot.level
    return differences_to_resolve(score, level, each.other.label)


def _row(
    each: Comparison, spread: Spread, asked: Sequence[tuple[float, str]], score: Quantity
) -> tuple[Cell, ...]:
    least = least_difference(each.common, spread.sd) if each.common > 1 else None
    needed = [seeds_to_resolve(size, spread.sd) for size, _ in asked]
    return (
        *(each.variant.label, each.other.label, each.common),
        TableCell(score.mean_text(spread.sd), spread.sd),
        spread.source,
        TableCell("" if least is None else f"±{score.mean_text(least)}", least),
        *(TableCell(f"over {MOST_SEEDS:,}" if n is None else f"{n:,}", n) for n in needed),
    )


def _notes(spreads: Iterable[Spread]) -> list[str]:
    """Return how well the spreads are known."""
    known = list(spreads)
    said = [_UNPAIRED] if any("unpaired" in each.source for each in known) else []
    for degrees in sorted({each.degrees for each in known}):
        low, high = sd_bounds(degrees + 1)
        said.append(
            f"From {degrees + 1} pairs or as many degrees of freedom and one: the true sd is between {low:.2f} and "
            f"{high:.2f} times the one shown (95 %), and so is what is resolved; seeds go by its square"
        )
    return said
