"""What made a study: its networks, data, settings, every recipe, the study file, machines, and the commands.

It is read from the trials' run folders, which those of earlier versions have too. Where a study's folder holds no more
than what became of its trials, there is that much less to say.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.run_shapes import Here, NamedRun
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.recipe.yaml_text import read_yaml
from hmhsa_insert.reports.context import (
    commands_listing,
    listing,
    machine_listing,
    network_and_data,
    settings_listings,
)
from hmhsa_insert.reports.listing import Listing
from hmhsa_insert.studies.outcomes import TRIALS, StudyOutcomes
from hmhsa_insert.studies.problems import StudyError

# Each is a file of YAML to read; the study file has those of all others.
_MOST_RECIPES = 100


def study_context(study: StudyOutcomes) -> list[Listing]:
    """Return what made a study.

    Raises:
        StudyError: a file of a trial is damaged.
    """
    if study.folder is None:
        return []
    trials: Any = study.trials[study.trials["status"] == "done"].astype(object).to_dict(orient="records")
    folders = {trial["id"]: study.folder / TRIALS / trial["id"] for trial in trials}
    heres = {id: _environment(path) for id, path in folders.items()}
    machines = [heres[t["id"]] or {"device": t["device"], "processes": t["processes"]} for t in trials]
    return [
        *_of_trials(study, trials, folders, heres),
        *([listing("study file", study.asked)] if study.asked else []),
        machine_listing(machines),
        commands_listing(list(_commands(study))),
    ]


def _of_trials(
    study: StudyOutcomes,
    trials: list[Mapping[str, Any]],
    folders: Mapping[str, Path],
    heres: Mapping[str, Mapping[str, Any]],
) -> Iterator[Listing]:
    """Yield networks and data of each group, settings of each label, and recipes of each variant, once each."""
    config = cache(lambda id: _config(folders[id]))
    groups, labels, variants = (_first_of_each(trials, key) for key in ("group", "settings", "variant"))
    for group, id in groups.items():
        if found := config(id):
            of_all = {**found, "recipe": None, "seed": None}  # of which a group has many
            yield network_and_data(of_all, heres[id], f"{group}: network, weights and data")
    for label, id in labels.items():
        yield from settings_listings(config(id), heres[id], f"settings '{label}'")
    for variant in [each for each in study.variants if each in variants][:_MOST_RECIPES]:
        if recipe := config(variants[variant]).get("recipe"):
            yield listing(f"recipe of {variant}", recipe)


def _first_of_each(trials: list[Mapping[str, Any]], key: str) -> dict[str, str]:
    """Return the id of the first trial of each value of `key`, in their order."""
    found: dict[str, str] = {}
    for trial in trials:
        found.setdefault(trial[key], trial["id"])
    return found


def _commands(study: StudyOutcomes) -> Iterator[str]:
    """Yield what runs the study again, into a folder of its name, and tabulates it."""
    name = f"{study.name}.yaml"
    if study.asked:
        yield f"# {name}: the study file"
    else:
        yield f"# {name}: the study's file, which the version that ran it did not keep"
    models = study.asked.get("models")
    entries = models.values() if isinstance(models, Mapping) else ()
    named = any(isinstance(each, Mapping) and ":" in str(each.get("model")) for each in entries)
    yield shlex.join(["hmhsa-insert", "ablate", name, *(["--allow-code"] if named else []), "-o", study.name])
    yield shlex.join(["hmhsa-insert", "report", study.name, "-o", f"{study.name}.html"])


def _config(folder: Path) -> Mapping[str, Any]:
    """Return what determined a trial; empty if its folder does not hold that."""
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    found: Any = read_yaml(path, StudyError)
    checked(NamedRun, found, path, StudyError)
    return dict(found)


def _environment(folder: Path) -> Mapping[str, Any]:
    path = folder / "environment.json"
    if not path.is_file():
        return {}
    found = read_json_mapping(path, StudyError)
    checked(Here, found, path, StudyError)
    return found
