"""What made the records of a report: of each run everything, of profiles their recipes, software and command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from hmhsa_insert.reports.context import commands_listing, listing, machine_listing, run_context
from hmhsa_insert.reports.frame import size_label
from hmhsa_insert.reports.listing import Listing
from hmhsa_insert.reports.sources import Record


def records_context(records: Iterable[Record]) -> list[Listing]:
    """Return what made each training run among `records`, then what made the profiles, all of them together."""
    records = list(records)
    runs = [record for record in records if record.get("run")]
    found = list(chain.from_iterable(map(_of_run, runs)))
    profiles = [record for record in records if record["kind"] == "profile"]
    return [*found, *_of_profiles(profiles)] if profiles else found


def _of_run(record: Record) -> list[Listing]:
    run = record["run"]
    made = run_context(run["config"], run["environment"])
    return [
        replace(each, title=f"{record['name']}, seed {run['config'].get('seed')}: {each.title}")
        for each in made
    ]


def _of_profiles(records: Sequence[Record]) -> list[Listing]:
    recipes = {
        str(recipe.get("name")): recipe for record in records for recipe in record.get("recipes") or ()
    }
    here = [record["environment"] for record in records if record.get("environment")]
    made = [listing(f"recipe {name}", recipe) for name, recipe in recipes.items()]
    made += [machine_listing(here)] if here else []
    commands = _commands(records)
    made += [commands_listing(commands)] if commands else []
    return [replace(each, title=f"profiles: {each.title}") for each in made]


def _commands(records: Sequence[Record]) -> list[str]:
    """Return the commands that measure all of these again: one for each network."""
    recipes: dict[str, list[str]] = {}
    for record in records:
        if network := record.get("network"):
            own = recipes.setdefault(network, [])
            own += [f"{recipe.get('name')}.yaml" for recipe in record.get("recipes") or ()]
    sizes = dict.fromkeys(size_label(*record["input_size"][1:]).replace("×", "x") for record in records)
    asked = list(chain.from_iterable(("--input-size", size) for size in sizes))
    asked += ["--memory"] if any(record.get("memory") for record in records) else []
    asked += ["--latency"] if any(record.get("inference") for record in records) else []
    return [
        shlex.join(
            ["hmhsa-insert", "profile", network]
            + [word for name in dict.fromkeys(own) for word in ("--recipe", name)]
            + asked
        )
        for network, own in recipes.items()
    ]
