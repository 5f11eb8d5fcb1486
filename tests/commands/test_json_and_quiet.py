"""``--json`` holds what the table of a command shows, and ``--quiet`` leaves nothing but its results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command_line import output, run
from test_shared_options import COMMANDS, options_of

Texts = Callable[[Any], list[str]]


class Case(NamedTuple):
    """A command line, and what of its JSON stands in its table, as the table writes it."""

    line: str
    shown: Texts
    before: str = ""


SMALL = "usernet:small --input-size 64"
CASES = {
    "models": Case("models test_res*", lambda found: found),
    "blocks": Case("blocks", lambda found: [each["name"] for each in found]),
    "recipes": Case("recipes", lambda found: [each["name"] for each in found]),
    "settings": Case("settings", lambda found: [each["key"] for each in found]),
    "stages": Case(
        f"stages {SMALL}",
        lambda found: [
            f"stage {s['index']}  stride {s['stride']}  {s['channels']}×{s['height']}×{s['width']}"
            for s in found["stages"]
        ],
    ),
    "plan": Case(
        f"plan {SMALL} -r good.yaml",
        lambda found: [f"{s['num_params']:,}" for s in found["sites"]] + [found["recipe"]["name"]],
    ),
    "profile": Case(
        f"profile {SMALL}",
        lambda found: [f"{found['records'][0][key] / 1000:.1f}K" for key in ("num_params", "macs")],
    ),
    "report": Case(
        "report p.json",
        lambda found: (
            [row["method"] for row in found["rows"]]
            + [f"{found['rows'][0]['macs_modules_only'] / 1000:.1f}K"]
        ),
        f"profile {SMALL} -o p.json",
    ),
    "suggest": Case(
        f"suggest {SMALL} --block hmhsa --max-macs +900%",
        lambda found: [each["recipe"]["name"] for each in found],
    ),
    "apply": Case(
        f"apply {SMALL} -r good.yaml -o art --overwrite",
        lambda found: [f"{s['num_params']:,}" for s in found["plan"]["sites"]],
    ),
    "show": Case(
        "show art",
        lambda found: [f"{found['weights']['tensors']} tensors", found["base"]["source"]],
        f"apply {SMALL} -r good.yaml -o art",
    ),
    "diff": Case(
        "diff art art --allow-code", lambda found: found["same"][:1], f"apply {SMALL} -r good.yaml -o art"
    ),
    "zoo": Case(
        "zoo --filter resnet1* --list",
        lambda found: [f"{each['model']}  {each['input_size'][0]}x{each['input_size'][1]}" for each in found],
    ),
}
# What these print of a run or a file is looked at where they are tested.
LONG = {"train", "ablate", "detect", "segment", "evaluate", "export"}


def test_every_command_with_json_is_here() -> None:
    assert {name for name in COMMANDS if "--json" in options_of(name)} == CASES.keys() | LONG


@pytest.fixture
def told(here: Path, request: pytest.FixtureRequest) -> tuple[Case, str]:
    """Return a case, and what its command prints."""
    case = CASES[request.param]
    if case.before:
        output(case.before)
    return case, output(case.line)


@pytest.mark.parametrize("told", CASES, indirect=True)
def test_json_holds_what_the_table_shows(told: tuple[Case, str]) -> None:
    case, table = told
    texts = case.shown(json.loads(run(f"{case.line} --json").stdout))
    assert texts
    words = " ".join(table.split())
    assert [text for text in texts if " ".join(text.split()) not in words] == []


@pytest.mark.parametrize("told", [name for name in CASES if "--quiet" in options_of(name)], indirect=True)
def test_quiet_leaves_the_results(told: tuple[Case, str]) -> None:
    case, table = told
    quiet = run(f"{case.line} --quiet")
    assert (quiet.exit_code, quiet.stderr) == (0, "")
    assert quiet.stdout.strip()
    assert not [hint for hint in ("hmhsa-insert ", "-o FILE", "-o DIR") if hint in quiet.stdout]
    lines = set(table.splitlines())
    assert [line for line in quiet.stdout.splitlines() if line not in lines] == []
