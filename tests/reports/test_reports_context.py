"""What made a run is told from its folder: of a run of today all of it, of an older one what it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_folders import done, listed, write_study

from hmhsa_insert.files.json_text import read_json
from hmhsa_insert.inert import visible
from hmhsa_insert.recipe.yaml_text import read_yaml
from hmhsa_insert.reports.context import machine_listing, run_context, settings_listings
from hmhsa_insert.reports.formats import written
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.study_context import study_context
from hmhsa_insert.reports.study_report import StudyReport
from hmhsa_insert.studies.outcomes import read_outcomes
from hmhsa_insert.studies.problems import StudyError

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


def test_an_older_study_says_what_its_folder_has():
    study = read_outcomes(OLD.parents[1] / "study")
    found = {each.title: each.text for each in study_context(study)}
    assert list(found) == [
        "nano, one, digits: network, weights and data",
        "settings 'one' in full",
        "recipe of attention",
        "software and machine",
        "commands to do it again",
    ]
    made = yaml.safe_load(found["nano, one, digits: network, weights and data"])
    assert (made["network"], made["training images"], made["validation images"]) == (
        "old_nets:nano",
        1437,
        360,
    )
    assert "recipe" not in made
    assert "seed" not in made
    assert found["commands to do it again"].splitlines()[1:] == [
        "hmhsa-insert ablate small.yaml -o small",
        "hmhsa-insert report small -o small.html",
    ]


def test_a_study_of_today_has_its_file_and_what_differs_from_shipped_settings(tmp_path: Path):
    trials = [listed(variant, seed) for variant in ("plain", "hmhsa") for seed in (0, 1)]
    asked = {"version": 1, "models": {"net": {"model": "mine:net"}}, "variants": {"plain": {}}}
    folder = write_study(tmp_path / "s", trials, [done(t["id"], 90.0) for t in trials], asked=asked)
    assert [each.title for each in study_context(read_outcomes(folder))] == [
        "study file",
        "software and machine",
        "commands to do it again",
    ]
    for trial in trials:
        recipe = None if trial["variant"] == "plain" else {"name": "r", "edits": [{"op": "insert"}]}
        config = {"model": "mine:net", "recipe": recipe, "seed": trial["seed"], "settings": {"epochs": 2}}
        config["data"] = {"source": "digits", "train": 30, "val": 4, "fingerprint": "f"}
        path = folder / "trials" / trial["id"]
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        here = {"cpu": f"cpu {trial['seed']}", "device": "cpu", "processes": 1, "versions": {"torch": "2"}}
        here |= {"settings": {"shipped": "digits", "differ": {"epochs": 2}}, "weights": None}
        (path / "environment.json").write_text(json.dumps(here))
    found = {each.title: each.text for each in study_context(read_outcomes(folder))}
    assert yaml.safe_load(found["study file"]) == asked
    assert yaml.safe_load(found["settings 'default' that differ from the shipped 'digits'"]) == {"epochs": 2}
    assert yaml.safe_load(found["recipe of hmhsa"])["edits"] == [{"op": "insert"}]
    assert "recipe of plain" not in found
    assert [each["cpu"] for each in yaml.safe_load_all(found["software and machine"])] == ["cpu 0", "cpu 1"]
    assert "hmhsa-insert ablate which.yaml --allow-code -o which" in found["commands to do it again"]


@pytest.mark.parametrize(("name", "text"), [("config.yaml", "model: 3\n"), ("environment.json", "{}")])
def test_a_damaged_file_of_a_trial_is_named(tmp_path: Path, name: str, text: str):
    folder = write_study(tmp_path / "s", [listed("plain", 0)], [done(listed("plain", 0)["id"], 90.0)])
    path = next((folder / "trials").iterdir()) / name
    path.write_text(text)
    with pytest.raises(StudyError, match=name):
        study_context(read_outcomes(folder))


def test_latex_has_what_made_it_as_comments(tmp_path: Path):
    trials = [listed("plain", 0), listed("hmhsa", 0)]
    asked = {"version": 1, "models": {"net": {"model": "mine:net"}}, "title": "a\rb\\input{x}\u2028c"}
    study = read_outcomes(
        write_study(tmp_path / "s", trials, [done(t["id"], 90.0) for t in trials], asked=asked)
    )
    text = written(StudyReport(study, "s"), "latex")
    for each in study_context(study):
        lines = [f"{each.title}:", *each.text.rstrip().split("\n")]
        assert "".join(f"% {visible(line)}".rstrip() + "\n" for line in lines) in text
    assert "% study file:\n% version: 1\n% models:\n%   net:\n%     model: mine:net\n" in text
    assert all(line.startswith("%") for line in text.splitlines() if "input{x}" in line)
