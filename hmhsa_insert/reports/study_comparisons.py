"""What a study compares, seed by seed: each variant with its group's baseline, each block with its controls.

A control stands at the same sites in the block's place. The difference to the baseline says what the edit does; that to
``placebo`` (as many parameters, no mixing of tokens) and to ``matched`` (a convolution of equal MACs) what of it is the
block's own doing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from hmhsa_insert.studies.outcomes import StudyOutcomes, is_correct
from hmhsa_insert.studies.statistics import McNemar, Paired, mcnemar, paired

BASELINE = "baseline"

TrialRecord = Mapping[str, Any]
# The trials of each group by variant.
Groups = Mapping[str, Mapping[str, list[TrialRecord]]]


@dataclass(frozen=True)
class Side:
    """One of the two variants of a comparison.

    Attributes:
        label: of the variant.
        planned, done: how many of its trials.
        scores: of the seeds that both have, in their order.
    """

    label: str
    planned: int
    done: int
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A variant against another of its group, paired by seed.

    Attributes:
        group: of both.
        kind: ``baseline``, or which control the other one is.
        variant: the one that is asked about.
        other: what it is compared with; its planned trials are none where the group has no such variant.
        common: how many seeds are planned for both.
        said: of the differences; None without a pair.
        images: of each seed that is compared image by image.
    """

    group: str
    kind: str
    variant: Side
    other: Side
    common: int
    said: Paired | None = None
    images: tuple[McNemar, ...] = ()

    @property
    def differences(self) -> tuple[float, ...]:
        """The variant's score less the other's, seed by seed."""
        return tuple(a - b for a, b in zip(self.variant.scores, self.other.scores, strict=True))

    def as_columns(self) -> dict[str, Any]:
        """Return its figures as columns of a frame."""
        said, tests = self.said, self.images
        row: dict[str, Any] = {"pairs": said.n if said else 0, "compared": len(tests)}
        if said:
            row |= {"diff_mean": said.mean, "diff_sd": said.sd, "p": said.p, "least_p": said.least_p}
            row["t_low"], row["t_high"] = said.t or (None, None)
            row["bca_low"], row["bca_high"] = said.bca or (None, None)
        if tests:
            row["lost"] = sum(test.lost for test in tests) / len(tests)
            row["won"] = sum(test.won for test in tests) / len(tests)
            row["mcnemar_low"], row["mcnemar_high"] = (f(test.p for test in tests) for f in (min, max))
        return row


def grouped(frame: pd.DataFrame) -> dict[str, dict[str, list[TrialRecord]]]:
    """Return the trials of each group by variant, as plain data: a frame for each of thousands would be slow."""
    groups: dict[str, dict[str, list[TrialRecord]]] = {}
    trials: Any = frame.astype(object).to_dict(orient="records")
    for trial in trials:
        groups.setdefault(trial["group"], {}).setdefault(trial["variant"], []).append(trial)
    return groups


def known(trials: list[TrialRecord], name: str) -> list[Any]:
    """Return the values that trials have under `name`."""
    return [trial[name] for trial in trials if not pd.isna(trial[name])]


def comparisons(study: StudyOutcomes, groups: Groups | None = None) -> list[Comparison]:
    """Return every comparison of a study: group by group, all with the baseline first, then those with controls.

    Args:
        study: what became of its trials.
        groups: of its trials, where they are at hand.
    """
    found = list(_paired_up(study, grouped(study.trials) if groups is None else groups))
    said = iter(paired([each.differences for each in found if each.variant.scores]))
    return [replace(each, said=next(said)) if each.variant.scores else each for each in found]


def _paired_up(study: StudyOutcomes, groups: Groups) -> Iterator[Comparison]:
    order = {variant: place for place, variant in enumerate(study.variants)}
    for group, members in groups.items():
        labels = sorted(members, key=lambda label: order.get(label, len(order)))
        base = next((each for each in labels if any(trial["baseline"] for trial in members[each])), "")
        for label in labels:
            if label != base:
                yield _compared(study, group, BASELINE, members, label, base or study.baseline)
        for label in labels:
            of = study.controls.get(label)
            if of is not None and of.of in members:
                yield _compared(study, group, of.control, members, of.of, label)


def _compared(
    study: StudyOutcomes,
    group: str,
    kind: str,
    members: Mapping[str, list[TrialRecord]],
    label: str,
    other: str,
) -> Comparison:
    """Pair two variants' trials of the same seeds. A detector that found nothing has no score, and no pair."""
    trials = [members.get(each, []) for each in (label, other)]
    done = [{int(t["seed"]): t for t in each if t["status"] == "done"} for each in trials]
    name = study.quantity.field
    both = sorted(done[0].keys() & done[1].keys())
    seeds = [seed for seed in both if all(known([each[seed]], name) for each in done)]
    sides = [
        Side(each, len(own), len(ended), tuple(float(ended[seed][name]) for seed in seeds))
        for each, own, ended in zip((label, other), trials, done, strict=True)
    ]
    planned = [{int(trial["seed"]) for trial in each} for each in trials]
    tests = [test for seed in seeds if (test := _image_by_image(done[0][seed], done[1][seed]))]
    return Comparison(group, kind, sides[0], sides[1], len(planned[0] & planned[1]), None, tuple(tests))


def _image_by_image(trial: TrialRecord, base: TrialRecord) -> McNemar | None:
    images = trial["val_images"]
    if not trial["correct"] or not base["correct"] or images != base["val_images"]:
        return None
    return mcnemar(is_correct(base["correct"], images), is_correct(trial["correct"], images))
