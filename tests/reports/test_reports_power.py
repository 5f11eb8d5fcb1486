"""What a planned study can resolve: from its own trials, a pilot study, or runs of several seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from study_folders import done, listed, write_study

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.study_pilot import read_pilot
from hmhsa_insert.reports.study_power import power_tables
from hmhsa_insert.studies.outcomes import read_outcomes
from hmhsa_insert.studies.power import least_difference, seeds_to_resolve
from hmhsa_insert.tables import Table

TOP1 = QUANTITIES["top1"]
BASE = [90.0, 91.0, 92.0, 93.0]


def study(folder: Path, seeds: int, **differences: list[float]) -> Path:
    """Write a study whose variants differ from plain by `differences`; seeds without one are pending."""
    trials = [listed(variant, seed) for seed in range(seeds) for variant in ("plain", *differences)]
    rows = []
    for trial in trials:
        known = [0.0] * len(BASE) if trial["baseline"] else differences[trial["variant"]]
        if trial["seed"] < len(known):
            rows.append(done(trial["id"], BASE[trial["seed"]] + known[trial["seed"]]))
    return write_study(folder, trials, rows)


def cells(tables: list[Table]) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for table in tables for row in table.rows]


def test_a_study_s_own_pairs_say_what_its_planned_seeds_resolve(tmp_path: Path) -> None:
    # Differences 1, 2 and 3: sd 1; the other variant has no pair, and takes the spread of the first.
    tables = power_tables(read_outcomes(study(tmp_path / "s", 8, hmhsa=[1.0, 2.0, 3.0], se=[])))
    least = f"±{least_difference(8, 1.0):.2f}"
    assert cells(tables) == [
        ["hmhsa", "plain", "8", "1.00", "3 pairs", least, "10", "34"],
        ["se", "plain", "8", "1.00", "3 pairs", least, "10", "34"],
    ]
    assert [header.text for header in tables[0].headers][-2:] == ["±1", "±0.5"]
    assert "between 0.52 and 6.28 times" in tables[0].notes[1]


def test_spreads_are_pooled_by_their_degrees_of_freedom(tmp_path: Path) -> None:
    own = {"hmhsa": [1.0, 2.0, 3.0], "se": [0.0, 4.0], "irb": []}
    rows = cells(power_tables(read_outcomes(study(tmp_path / "s", 4, **own))))
    pooled = math.sqrt((2 * 1.0 + 1 * 8.0) / 3)
    assert rows[2][3:5] == [f"{pooled:.2f}", "3 degrees of freedom"]


def test_a_pilot_lends_its_spread_until_there_are_pairs(tmp_path: Path) -> None:
    pilot = read_pilot([study(tmp_path / "pilot", 4, hmhsa=[0.0, 0.4, 0.8, 1.2], se=[0.0, 2.0])], TOP1)
    assert pilot.level == pytest.approx((sum(BASE) + sum(BASE[:2])) / 6)
    planned = read_outcomes(study(tmp_path / "s", 6, hmhsa=[], se=[0.0, 1.0], irb=[]))
    rows = cells(power_tables(planned, pilot))
    sd = math.sqrt(0.8 / 3)
    assert rows[0][3:6] == [f"{sd:.2f}", "pilot, 4 pairs", f"±{least_difference(6, sd):.2f}"]
    assert rows[1][4] == "2 pairs"
    assert rows[2][4] == "pilot, 4 degrees of freedom"
    assert rows[0][-1] == str(seeds_to_resolve(0.5, sd))


def test_nothing_is_said_without_a_spread(tmp_path: Path) -> None:
    assert power_tables(read_outcomes(study(tmp_path / "s", 6, hmhsa=[1.0]))) == []
    rows = cells(power_tables(read_outcomes(study(tmp_path / "t", 1, hmhsa=[])), _pilot(tmp_path)))
    assert rows[0][5] == ""  # one seed resolves nothing
    assert rows[0][6] == "10"


def _pilot(folder: Path):
    return read_pilot([study(folder / "pilot", 3, hmhsa=[1.0, 2.0, 3.0])], TOP1)


def test_a_pilot_of_one_variant_shows_the_spread_of_scores(tmp_path: Path) -> None:
    pilot = read_pilot([study(tmp_path / "pilot", 4)], TOP1)
    assert pilot.pooled is not None
    assert pilot.pooled.sd == pytest.approx(math.sqrt(2 * 5 / 3))
    assert "unpaired" in pilot.pooled.source
    (table,) = power_tables(read_outcomes(study(tmp_path / "s", 6, hmhsa=[])), pilot)
    assert any(note.startswith("unpaired: √2") for note in table.notes)


def run(folder: Path, seed: int, top1: float, epochs: int = 2) -> Path:
    folder.mkdir()
    config = {"model": "net", "recipe": None, "seed": seed, "data": {"source": "digits", "val": 360}}
    (folder / "config.yaml").write_text(
        json.dumps(config | {"settings": {"input_size": 16, "epochs": epochs}})
    )
    (folder / "result.json").write_text(json.dumps({"task": "classify", "scores": {"top1": top1}}))
    return folder


def test_runs_that_differ_by_their_seed_alone_are_a_pilot(tmp_path: Path) -> None:
    runs = [run(tmp_path / f"r{seed}", seed, top1) for seed, top1 in enumerate([90.0, 92.0])]
    other = run(tmp_path / "other", 0, 10.0, epochs=3)
    pilot = read_pilot([*runs, other], TOP1)
    assert pilot.pooled is not None
    assert (pilot.pooled.sd, pilot.pooled.degrees) == (pytest.approx(2.0), 1)
    assert pilot.level == 91.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda here: [here / "nothing"], "holds no study and no run"),
        (lambda here: [run(here / "r", 0, 90.0)], "no two trainings in it differ by their seed alone"),
        (lambda here: [run(here / "r", 0, 90.0), study(here / "s", 2)], "are not taken together"),
        (lambda here: [study(here / "s", 1, hmhsa=[1.0])], "shows no spread"),
    ],
)
def test_what_is_no_pilot_is_refused(make, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=said):
        read_pilot(make(tmp_path), TOP1)


def test_a_pilot_by_another_score_is_refused(tmp_path: Path) -> None:
    folder = study(tmp_path / "s", 2, hmhsa=[1.0, 2.0])
    with pytest.raises(ReportError, match="compares by top1, not by box_ap"):
        read_pilot([folder], QUANTITIES["box_ap"])
