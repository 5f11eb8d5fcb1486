"""The frame behind a study's report: a row per group and variant, and what each reached, costs and was given.

A group is what pairs: one network, one set of training settings, one data set. A difference is to the baseline of the
same group and seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hmhsa_insert.quantity import Quantity
from hmhsa_insert.reports.study_comparisons import BASELINE, TrialRecord, comparisons, grouped, known
from hmhsa_insert.studies.outcomes import StudyOutcomes

_STATES = ("done", "failed", "pending")
_GIVEN = ("images", "updates", "epochs")


def summarise(study: StudyOutcomes) -> pd.DataFrame:
    """Return a row per group and variant, groups as they first come, the baseline first and then the study's order.

    Columns: ``group``, ``variant``, ``baseline``; ``planned``, ``done``, ``failed`` and ``pending`` trials;
    ``X_mean`` and ``X_sd`` of the study's score X over the seeds that are done; of the ``pairs`` with the baseline
    ``diff_mean``, ``diff_sd``, two 95 % intervals, the ``p`` of the sign-flip test and the least there can be; of the
    seeds ``compared`` image by image the mean ``lost`` and ``won``, and McNemar's p from the lowest to the highest
    seed; costs and their change; images, updates and epochs of training, from the least to the most; ``val_images``.
    """
    order = {variant: place for place, variant in enumerate(study.variants)}
    rows: list[dict[str, Any]] = []
    groups = grouped(study.trials)
    compared = {
        (each.group, each.variant.label): each for each in comparisons(study, groups) if each.kind == BASELINE
    }
    for group, members in groups.items():
        found = [_row(study, group, variant, each) for variant, each in members.items()]
        found.sort(key=lambda row: (not row["baseline"], order.get(row["variant"], len(order))))
        base = found[0] if found[0]["baseline"] else {}
        for row in found:
            if not row["baseline"]:
                row |= compared[group, row["variant"]].as_columns()
                _add_deltas(study.costs, row, base)
            rows.append(row)
    kinds = _kinds(study)
    return pd.DataFrame(rows, columns=list(kinds), dtype=object).astype(kinds)


def _kinds(study: StudyOutcomes) -> dict[str, str]:
    """Return the columns of the frame and their types.

    Scores and their differences are in the score's unit, shares relative (0.05 is 5 %).
    """
    name, costs = study.quantity.field, study.costs
    return {
        **dict.fromkeys(("group", "variant"), "string"),
        "baseline": "boolean",
        **dict.fromkeys(("planned", *_STATES), "Int64"),
        **dict.fromkeys((f"{name}_mean", f"{name}_sd"), "Float64"),
        "pairs": "Int64",
        **dict.fromkeys(
            ("diff_mean", "diff_sd", "t_low", "t_high", "bca_low", "bca_high", "p", "least_p"), "Float64"
        ),
        "compared": "Int64",
        **dict.fromkeys(("lost", "won", "mcnemar_low", "mcnemar_high"), "Float64"),
        **{each.study_field: each.kind.dtype for each in costs},
        **{f"delta_{each.study_field}": "Float64" for each in costs if is_compared(each)},
        **{f"{given}_{end}": "Int64" for given in _GIVEN for end in ("least", "most")},
        "val_images": "Int64",
    }


def is_compared(cost: Quantity) -> bool:
    """Return True if studies show the difference of a cost to the baseline's."""
    return cost.study == "table" and cost.delta == "relative"


def device_hours(study: StudyOutcomes) -> pd.DataFrame:
    """Return the hours that the finished trials of each group and variant took on each kind of device, all processes.

    Unlike everything in :func:`summarise` they change from one run of a study to the next.
    """
    done = study.trials[(study.trials["status"] == "done") & study.trials["seconds"].notna()]
    hours = done.assign(hours=done["seconds"].astype(float) / 3600, device=done["device"].fillna(""))
    keys = ["group", "variant", "device"]
    return hours.groupby(keys, sort=False, as_index=False).agg(
        trials=("id", "nunique"), hours=("hours", "sum")
    )


def _row(study: StudyOutcomes, group: str, variant: str, trials: list[TrialRecord]) -> dict[str, Any]:
    """Return what the trials of one variant are by themselves."""
    done = [trial for trial in trials if trial["status"] == "done"]
    name, costs = study.quantity.field, [each.study_field for each in study.costs]
    scores = np.array(known(done, name), dtype=float)
    row: dict[str, Any] = {
        "group": group,
        "variant": variant,
        "baseline": any(trial["baseline"] for trial in trials),
        "planned": len(trials),
        **{state: sum(trial["status"] == state for trial in trials) for state in _STATES},
        f"{name}_mean": float(scores.mean()) if len(scores) else None,
        f"{name}_sd": float(scores.std(ddof=1)) if len(scores) > 1 else None,
        **{each: _of_seeds(known(done, each)) for each in (*costs, "val_images")},
    }
    for given in _GIVEN:
        values = known(done, given)
        row[f"{given}_least"], row[f"{given}_most"] = (min(values), max(values)) if values else (None, None)
    return row


def _of_seeds(values: Sequence[Any]) -> Any:
    """Return what all seeds have; where they differ, as pruned networks do, their mean."""
    if len(set(values)) <= 1:
        return next(iter(values), None)
    mean = float(np.mean([float(each) for each in values]))
    return round(mean) if all(isinstance(each, int | np.integer) for each in values) else mean


def _add_deltas(costs: Iterable[Quantity], row: dict[str, Any], base: Mapping[str, Any]) -> None:
    for name in (each.study_field for each in costs if is_compared(each)):
        if base.get(name) and row[name] is not None:
            row[f"delta_{name}"] = row[name] / base[name] - 1
