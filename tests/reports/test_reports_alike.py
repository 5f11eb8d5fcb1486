"""Scores side by side of trainings that were not alike are said to be."""

from copy import deepcopy
from pathlib import Path

from hmhsa_insert.reports.findings import findings
from hmhsa_insert.reports.sources import load_records

RUNS = Path(__file__).parents[1] / "fixtures" / "version_one" / "runs"


def test_settings_and_data_that_differ_are_named():
    (plain,) = load_records([RUNS / "plain"])
    other = deepcopy(plain) | {"name": "longer"}
    settings = other["run"]["config"]["settings"]
    assert findings([plain, other]) == []
    settings["checkpoint_steps"] = settings["checkpoint_steps"] + 1
    assert findings([plain, other]) == []
    epochs = settings["epochs"]
    settings["epochs"] = epochs + 1
    other["run"]["config"]["data"]["train"] = 7
    train = plain["run"]["config"]["data"]["train"]
    assert findings([plain, other]) == [
        f"not trained alike: {plain['name']} and longer have data train {train} and 7, "
        f"epochs {epochs} and {epochs + 1}"
    ]


def test_networks_are_not_compared_with_each_other():
    (plain,) = load_records([RUNS / "plain"])
    other = deepcopy(plain) | {"name": "other", "group": "other"}
    other["run"]["config"]["settings"]["epochs"] = 99
    assert findings([plain, other]) == []
