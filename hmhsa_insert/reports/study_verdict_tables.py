"""The tables of a study's comparisons: the verdict first, and folded below it the other tests and the next seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.study_comparisons import Comparison
from hmhsa_insert.reports.study_verdicts import Verdict, more_text, notes, p_text, sd_notes
from hmhsa_insert.studies.statistics import Interval, coverage
from hmhsa_insert.tables import Cell, Table, TableCell, left, right

VERDICT = "verdict"
_NAMES = (left("Variant"), left("Against"))
_SIGN_FLIPS = (
    "p: two-sided sign-flip test of these differences, exact up to 16 seeds; least p: the smallest that so many seeds "
    "can give"
)
_IMAGES = (
    "Image by image: for each seed by itself, the two trained networks on the same validation images. Lost: images "
    "that only the other one classifies right; won: that only the variant does; means over seeds",
    "McNemar p: exact, from the seed where it is lowest to that where it is highest. It asks whether two trained "
    "networks differ, not whether other seeds would: read it apart from p",
)


def verdict_tables(groups: Mapping[str, Sequence[Verdict]], score: Quantity) -> Iterator[Table]:
    """Yield the comparisons of each group with a sentence for each below them; what goes for all is below the last.

    Args:
        groups: the verdicts of each group, by the prefix of its titles.
        score: by which the study compares.
    """
    points = ", in percentage points" if score.is_percent else ""
    delta = f"Δ {score.header}: mean over seeds of the variant less the other of the same seed{points}"
    *_, last = ("", *groups)
    for prefix, found in groups.items():
        of_all = [each for one in groups.values() for each in one]
        more = (delta, *notes(of_all)) if prefix == last else ()
        yield _verdict_table(f"{prefix}{VERDICT}", found, more, score)


def _verdict_table(title: str, found: Sequence[Verdict], more: Iterable[str], score: Quantity) -> Table:
    headers = (
        *_NAMES,
        right("Pairs"),
        right(f"Δ {score.header}"),
        right("95 % t interval"),
        left("Verdict"),
    )
    rows = [
        (
            *_pair(each.comparison),
            _delta(each.comparison.said.mean if each.comparison.said else None, score),
            _interval(each.comparison.said.t if each.comparison.said else None, score),
            each.word,
        )
        for each in found
    ]
    return Table.of(title, headers, rows, (*(each.sentence for each in found), *more))


def folded_tables(prefix: str, found: Sequence[Verdict], score: Quantity) -> Iterator[Table]:
    """Yield what else there is to say of a group's comparisons; what has no row is left out.

    Args:
        prefix: of the titles.
        found: of the group.
        score: by which the study compares.
    """
    compared = [each.comparison for each in found]
    if said := [each for each in compared if each.said]:
        headers = (
            *_NAMES,
            right("Pairs"),
            right(f"Δ {score.header}"),
            right("95 % BCa interval"),
            right("p", _SIGN_FLIPS),
            right("Least p"),
        )
        rows = (_tests(each, score) for each in said)
        yield Table.of(f"{prefix}other tests, paired by seed", headers, rows, _covered(said), folded=True)
    if seen := [each for each in compared if each.images]:
        names = ("Seeds", "Lost", "Won", "McNemar p")
        heads = (*_NAMES, *map(right, names))
        yield Table.of(f"{prefix}image by image", heads, map(_images, seen), _IMAGES, folded=True)
    yield from _seeds_tables(prefix, found, score)


def _seeds_tables(prefix: str, found: Sequence[Verdict], score: Quantity) -> Iterator[Table]:
    """Yield a group's table of how many further seeds would resolve which difference; none without a spread."""
    found = [each for each in found if each.resolutions]
    if not found:
        return
    shown = [each.text for each in found[0].resolutions]
    heads = (
        shown if score.is_percent else [f"{text.partition('(')[2].partition(' of ')[0]}" for text in shown]
    )
    headers = (
        *_NAMES,
        right("Pairs"),
        right(f"sd of Δ {score.header}"),
        *map(right, heads),
    )
    rows = (
        (
            *_pair(each.comparison),
            _plain(each.comparison.said.sd if each.comparison.said else None, score),
            *(TableCell(more_text(one), one.more) for one in each.resolutions),
        )
        for each in found
    )
    unit = "" if score.is_percent else "; shares are of the other's score"
    note = (
        "Seeds beyond these pairs with which Student's test at 95 % finds a true difference of that size in four of "
        f"five studies (noncentral t, with the standard deviation seen){unit}"
    )
    yield Table.of(f"{prefix}further seeds", headers, rows, (note, *sd_notes(found)), folded=True)


def _pair(each: Comparison) -> tuple[Cell, Cell, Cell]:
    return each.variant.label, each.other.label, each.said.n if each.said else 0


def _tests(each: Comparison, score: Quantity) -> tuple[Cell, ...]:
    assert each.said is not None
    ps = (TableCell(p_text(p), p) for p in (each.said.p, each.said.least_p))
    return (*_pair(each), _delta(each.said.mean, score), _interval(each.said.bca, score), *ps)


def _images(each: Comparison) -> tuple[Cell, ...]:
    row = each.as_columns()
    low, high = row["mcnemar_low"], row["mcnemar_high"]
    text = p_text(low) if low == high else f"{p_text(low)} … {p_text(high)}"
    means = (TableCell(f"{row[name]:.1f}", row[name]) for name in ("lost", "won"))
    first, second, _ = _pair(each)
    return first, second, row["compared"], *means, TableCell(text, low)


def _covered(found: Iterable[Comparison]) -> Iterator[str]:
    """Yield what the two intervals cover with as many pairs as there are, as simulated."""
    for pairs in sorted({each.said.n for each in found if each.said}):
        known = coverage(pairs)
        if known is None:
            continue
        place = f"{pairs} pairs" if known.n == pairs else f"{pairs} pairs (measured with {known.n})"
        said = f"t {known.t:.1%} (at worst {known.t_worst:.1%})"
        if known.bca is not None:
            said += f", BCa {known.bca:.1%} (at worst {known.bca_worst:.1%})"
        yield f"What the 95 % intervals cover with {place}, simulated without effect: {said}"


def _delta(value: float | None, score: Quantity) -> TableCell:
    return TableCell("" if value is None else score.mean_delta_text(value), value)


def _plain(value: float | None, score: Quantity) -> TableCell:
    return TableCell("" if value is None else score.mean_text(value), value)


def _interval(ends: Interval | None, score: Quantity) -> TableCell:
    if ends is None:
        return TableCell("", None)
    return TableCell(" … ".join(score.mean_delta_text(end) for end in ends), ends[0])
