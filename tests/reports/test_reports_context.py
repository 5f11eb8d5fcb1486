"""What made a run is told from its folder: of a run of today all of it, of an older one what it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.recipe.yaml_text import read_yaml
from hmhsa_insert.reports.context import machine_listing, run_context, settings_listings
from hmhsa_insert.reports.problems import ReportError

OLD = Path(__file__).parents[1] / "fixtures" / "version_one" / "runs" / "attention"


def told(folder: Path) -> dict[str, str]:
    config = read_yaml(folder / "config.yaml", ReportError)
    here: Any = read_json(folder / "environment.json", ReportError)
    return {each.title: each.text for each in run_context(config, here)}


def test_an_older_run_says_what_it_has():
    found = told(OLD)
    assert list(found) == [
        "network, weights and data",
        "settings in full",
        "recipe attention",
        "software and machine",
        "commands to do it again",
    ]
    made = yaml.safe_load(found["network, weights and data"])
    assert made["network"] == "old_nets:nano"
    assert made["weights"] == "random, by the seed"
    assert (made["training images"], made["validation images"], made["data digest"]) == (
        1437,
        360,
        "9976dbcced059c8a",
    )
    assert yaml.safe_load(found["recipe attention"])["edits"][0]["block"]["type"] == "hmhsa"
    here = yaml.safe_load(found["software and machine"])
    assert (here["device"], here["versions"]["hmhsa-insert"]) == ("cpu", "0.1.0")
    assert found["commands to do it again"].splitlines() == [
        "# settings.yaml: the settings in full",
        "# recipe.yaml: the recipe",
        "hmhsa-insert train old_nets:nano --recipe recipe.yaml --data digits --config settings.yaml --seed 1",
    ]


def test_a_run_of_today_says_what_differs_from_shipped_settings_and_its_weights():
    config = {"model": "ResNet 0123", "data": {"source": "digits"}, "seed": 0, "settings": {"epochs": 1}}
    here = {
        "weights": "89ab",
        "settings": {"shipped": "digits", "differ": {"epochs": 1, "optimizer": {"lr": 0.1}}},
    }
    found = {each.title: each.text for each in run_context({**config, "pretrained": True}, here)}
    differ = yaml.safe_load(found["settings that differ from the shipped 'digits'"])
    assert differ == {"epochs": 1, "optimizer": {"lr": 0.1}}
    made = yaml.safe_load(found["network, weights and data"])
    assert made["weights"] == "the library's pretrained ones, sha256 89ab of its tensors"
    # What is no name for a command is not given as one.
    last = found["commands to do it again"].splitlines()[-1]
    assert last == "hmhsa-insert train MODEL --data digits --config settings.yaml --seed 0 --pretrained"


def test_nothing_recorded_is_not_invented():
    assert settings_listings({}, {}) == []
    assert machine_listing([{}]).text == "not recorded"


def test_equal_machines_are_one():
    one, two = {"cpu": "a", "versions": {"torch": "2"}}, {"cpu": "b", "versions": {"torch": "2"}}
    assert machine_listing([one, two, one]).text.split("---\n") == [
        "cpu: a\nversions:\n  torch: '2'\n",
        "cpu: b\nversions:\n  torch: '2'\n",
    ]
