"""What a study's numbers say, in words: a sentence for every comparison, and how many seeds would say more.

A sentence speaks of one interval, Student's t at 95 %, which covers best with few seeds. Where several intervals are
looked at, one of them leaves zero out by chance alone sooner or later; so *evidence* is what Holm's correction for all
intervals of the report leaves at 5 %, and an interval that leaves zero out and does not survive that is *weak*
evidence.
Whether a gain is up or down is the score's ``better``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.study_comparisons import Comparison
from hmhsa_insert.studies.power import MOST_SEEDS, sd_bounds, seeds_to_resolve
from hmhsa_insert.studies.statistics import CONFIDENCE, holm

# Differences to resolve: in percentage points; of scores that are no percentage, shares of what it is compared with.
_POINTS = (1.0, 0.5)
_SHARES = (0.01, 0.005)


@dataclass(frozen=True)
class Resolution:
    """How many seeds a difference takes.

    Attributes:
        text: the difference, such as ``±1 point``.
        more: seeds beyond those there are; none where these do, None where `MOST_SEEDS` do not.
    """

    text: str
    more: int | None


@dataclass(frozen=True)
class Verdict:
    """What one comparison says.

    Attributes:
        comparison: whose it is.
        word: in a word or two, for a table.
        sentence: in full.
        resolutions: what further seeds would resolve; empty without a spread to go by.
    """

    comparison: Comparison
    word: str
    sentence: str
    resolutions: tuple[Resolution, ...] = ()


def verdicts(found: Sequence[Comparison], score: Quantity) -> list[Verdict]:
    """Return the verdict of each comparison of a report, in their order.

    Args:
        found: all of them: the more there are, the less one interval says.
        score: by which the study compares.
    """
    ps = [each.said.t_p for each in found if each.said and each.said.t_p is not None]
    adjusted = iter(holm(ps))
    return [
        _verdict(each, score, next(adjusted), len(ps))
        if each.said and each.said.t_p is not None
        else _without_interval(each, score)
        for each in found
    ]


def notes(found: Iterable[Verdict]) -> Iterator[str]:
    """Yield what a reader of the sentences must know."""
    several = sum(bool(each.comparison.said and each.comparison.said.t) for each in found)
    if several:
        yield (
            "Intervals are Student's t at 95 %, paired by seed. To resolve a difference is to find it in "
            "four of five studies, if further seeds scatter as these do"
        )
    if several > 1:
        by_chance = 1 - CONFIDENCE**several
        yield (
            f"{several} intervals are looked at here: without any effect at least one of so many would leave 0 out "
            f"with a chance of {by_chance:.2f}, were they independent. Evidence is what Holm's correction for all of "
            "them leaves at 5 %; weak evidence is an interval without 0 that it does not leave"
        )


def sd_notes(found: Iterable[Verdict]) -> Iterator[str]:
    """Yield how well the spread is known that numbers of seeds are from."""
    for pairs in sorted(
        {each.comparison.said.n for each in found if each.comparison.said and each.resolutions}
    ):
        low, high = sd_bounds(pairs)
        yield (
            f"With {pairs} pairs the true standard deviation is between {low:.2f} and {high:.2f} times the one seen "
            "(95 %), and the seeds between its squares"
        )


def _without_interval(each: Comparison, score: Quantity) -> Verdict:
    said, (name, mine, theirs) = each.said, (_name(each), each.variant, each.other)
    if said is None and not theirs.planned:
        return Verdict(each, "no baseline", f"{name}: there is nothing to compare with.")
    if said is None and not each.common:
        return Verdict(
            each, "no common seed", f"{name}: no seed is planned for both, so nothing is compared."
        )
    if said is None:
        states = " and ".join(f"{side.done} of {side.planned} of {side.label}" for side in (mine, theirs))
        return Verdict(each, "nothing yet", f"{name}: no seed has a score in both yet ({states} are done).")
    mean = _amount(said.mean, score)
    if said.n == 1:
        text = (
            f"{name}: {mean} with one seed, which says nothing of other seeds: an interval takes two or more."
        )
        return Verdict(each, "one seed", text)
    text = f"{name}: all {said.n} differences are {mean}: without a spread there is no interval."
    return Verdict(each, "no spread", text)


def _verdict(each: Comparison, score: Quantity, adjusted: float, several: int) -> Verdict:
    said = each.said
    assert said is not None
    assert said.t is not None
    low, high = (score.mean_delta_text(end) for end in said.t)
    found = _resolutions(each, score)
    missing = each.common - said.n
    rest = f" So far {said.n} of {each.common} seeds have a score in both." if missing else ""
    if said.t[0] <= 0 <= said.t[1]:
        text = f"{_name(each)}: no evidence at this budget: the interval {low} … {high} holds 0{_seeds(said.n, found)}."
        return Verdict(each, "no evidence", text + rest, found)
    what, stands = _direction(said.mean, score), adjusted <= 1 - CONFIDENCE
    kind = "evidence" if stands else "weak evidence"
    mean = f"{_amount(said.mean, score)} over {said.n} seeds"
    text = f"{_name(each)}: {kind} for a {what}: {mean}, and the interval {low} … {high} leaves 0 out"
    if several > 1:
        verb = "survives" if stands else "does not survive"
        text += f"; it {verb} Holm's correction for {several} intervals (p {p_text(adjusted)})"
    return Verdict(each, what if stands else f"weak: {what}", f"{text}.{rest}", found)


def _name(each: Comparison) -> str:
    return f"{each.variant.label} against {each.other.label}"


def _direction(mean: float, score: Quantity) -> str:
    if not score.better:
        return "difference"
    return "gain" if (mean > 0) == (score.better == "more") else "loss"


def _amount(value: float, score: Quantity) -> str:
    return score.mean_delta_text(value) + " points" * score.is_percent


def differences_to_resolve(score: Quantity, level: float | None, of: str) -> list[tuple[float, str]]:
    """Return the differences that are asked for, the larger first, with what they are called.

    Args:
        score: in points, if it is a percentage; else shares of `level`.
        level: the mean score of what is compared with; None: not known.
        of: its label.
    """
    if score.is_percent:
        return [(share * score.unit, f"±{share:g} point") for share in _POINTS]
    sizes = [abs(level or 0.0) * share for share in _SHARES]
    pairs = zip(sizes, _SHARES, strict=True)
    return [(size, f"±{size:.3g} ({share:.1%} of {of})") for size, share in pairs if size > 0]


def _resolutions(each: Comparison, score: Quantity) -> tuple[Resolution, ...]:
    """Return what further seeds would resolve, the larger difference first."""
    said = each.said
    if said is None or not said.sd:
        return ()
    level = sum(each.other.scores) / len(each.other.scores)
    sizes = differences_to_resolve(score, level, each.other.label)
    needed = [(text, seeds_to_resolve(size, said.sd)) for size, text in sizes]
    return tuple(
        Resolution(text, None if seeds is None else max(0, seeds - said.n)) for text, seeds in needed
    )


def _seeds(n: int, found: Sequence[Resolution]) -> str:
    """Return how many seeds would resolve a difference: the largest that these do not resolve yet."""
    if not found:
        return ""
    done = [each for each in found if each.more == 0]
    open_ = [each for each in found if each.more != 0]
    parts = [f"{n} seeds resolve {done[-1].text} already"] if done else []
    if open_:
        several = "s" * (open_[0].more != 1)
        parts.append(f"{more_text(open_[0])} more seed{several} would resolve {open_[0].text}")
    return "; " + ", and ".join(parts)


def more_text(each: Resolution) -> str:
    """Return a number of seeds in words."""
    return f"over {MOST_SEEDS:,}" if each.more is None else f"{each.more:,}"


def p_text(p: float) -> str:
    """Return a p value as tables print it."""
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"
