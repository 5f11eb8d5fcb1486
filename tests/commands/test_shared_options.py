"""Every command has every shared option, with one meaning, or a reason why it has not."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import typer.main
from command_line import error_of, run

from hmhsa_insert.commands import app
from hmhsa_insert.commands.naming import in_options, naming_options, place
from hmhsa_insert.commands.shared import SHARED
from hmhsa_insert.errors import Argument, mention

LISTS = ("recipes", "settings", "blocks", "models")
RECIPES = ("recipe check", "recipe schema")
SHAPES, CONVERT = ("data make-shapes",), ("data convert",)
SETS = (*SHAPES, *CONVERT)
FROM_FILES = ("show", "push", "report")
COUNTS = ("stages", "plan", "profile")
READ_NOTHING = (*FROM_FILES, *LISTS, *RECIPES, *SHAPES)
NO_NETWORK = (*READ_NOTHING, *CONVERT)

# option -> why a command has not got it -> these commands.
WITHOUT: dict[str, dict[str, tuple[str, ...]]] = {
    "--base": {
        "the two may have other base networks": ("diff",),
        "it builds no network": tuple(name for name in NO_NETWORK if name != "report"),
        "its networks are a library's, or named by the user": ("ultralytics", "zoo"),
        "the study names networks; --allow-code runs the factories of its files": ("ablate",),
    },
    "--plugin": {"nothing that it reads has a block or a task": ("show", "recipes", *SETS)},
    "--weights": {
        "it compares what the two hold": ("diff",),
        "it builds no network": NO_NETWORK,
        "shapes are enough": COUNTS,
        "an artifact or a run has its own": ("detect", "segment", "attend"),
        "ultralytics has its own": ("ultralytics",),
        "the study says it: weights": ("ablate",),
        "any weights do": ("zoo",),
    },
    "--checkpoint": {
        "it does not score runs": (
            "diff",
            "apply",
            "train",
            *COUNTS,
            "suggest",
            "ultralytics",
            "ablate",
            "zoo",
            *NO_NETWORK,
        ),
        "the artifact in a run holds its best weights": ("detect", "segment", "attend", "export"),
    },
    "--pretrained": {
        "it compares what the two hold": ("diff",),
        "it builds no network": NO_NETWORK,
        "shapes are enough": COUNTS,
        "an artifact or a run has its own weights": ("detect", "segment", "attend"),
        "ultralytics has its own": ("ultralytics",),
        "the study says it": ("ablate",),
        "any weights do": ("zoo",),
    },
    "--input-size": {
        "each of the two says its own": ("diff",),
        "it builds no network": NO_NETWORK,
        "a detector scales images itself": ("detect", "segment"),
        "the run or the artifact says it": ("attend",),
        "ultralytics has its own: imgsz=": ("ultralytics",),
        "the study's settings say it": ("ablate",),
        "the list of networks says it": ("zoo",),
    },
    "--seed": {
        "nothing is drawn": (
            "stages",
            "plan",
            "detect",
            "segment",
            "attend",
            "diff",
            "evaluate",
            *FROM_FILES,
            *LISTS,
            *RECIPES,
            *CONVERT,
        ),
        "weights that count are given, and nothing else is drawn": ("export", "zoo"),
        "only the order of timings is drawn, and no seed makes time repeat": ("profile",),
        "ultralytics has its own: seed=": ("ultralytics",),
        "the study says it": ("ablate",),
    },
    "--data": {
        "it reads no data set": (
            "apply",
            "detect",
            "segment",
            "attend",
            "diff",
            "export",
            *COUNTS,
            "zoo",
            *READ_NOTHING,
        ),
        "the source is its argument": CONVERT,
        "ultralytics has its own: data=": ("ultralytics",),
        "the study says it": ("ablate",),
    },
    "--output": {
        "it writes nothing but what it prints": ("stages", "plan", "show", "diff", *LISTS, *RECIPES),
        "ultralytics chooses the folder": ("ultralytics",),
        "it writes to the Hub": ("push",),
        "it is called --report: two files are written": ("zoo",),
        "the folder is its argument": SHAPES,
    },
    "--overwrite": {
        "it writes nothing but what it prints": ("diff", *LISTS, *RECIPES),
        "a run or a study is gone on with, never replaced": ("train", "ablate"),
        "it writes to the Hub": ("push",),
        "ultralytics chooses a new folder": ("ultralytics",),
    },
    "--json": {
        "it prints no table": ("push", "attend", "ultralytics", "recipe check", *SETS),
        "it prints nothing but JSON": ("recipe schema",),
    },
    "--quiet": {"it says nothing along the way": ("show", "recipes", *RECIPES)},
    "--allow-code": {
        "it builds no network": tuple(name for name in NO_NETWORK if name not in ("show", "report")),
        "the model is named by the user": ("ultralytics",),
    },
    "--unsafe-pickle": {
        "it builds no network": NO_NETWORK,
        "no folder is a pickle": ("detect", "segment", "attend"),
        "many networks are built in other processes": ("ablate", "zoo"),
    },
}
# Options of several commands that are not in the table, because what they mean depends on the command.
OWN = {
    *("--recipe", "--config", "--input", "--fixed-batch", "--data-dir", "--set", "--format", "--device"),
    *(
        "--size",
        "--task",
        "--workers",
        "--decoder",
        "--detector",
        "--draw",
        "--drawings",
        "--block",
        "--help",
        "--to",
    ),
}


def commands() -> dict[str, Any]:
    """Return every command by what is typed."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        children = getattr(command, "commands", None)
        found |= (
            {name: command} if children is None else {f"{name} {c}": each for c, each in children.items()}
        )
    return found


COMMANDS = commands()


def options_of(command: str) -> dict[str, Any]:
    """Return a command's options by all their spellings."""
    found = (each for each in COMMANDS[command].params if each.param_type_name == "option")
    return {text: each for each in found for text in each.opts}


@pytest.mark.parametrize("option", SHARED)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_an_option_or_a_reason(command: str, option: str) -> None:
    reasons = [reason for reason, named in WITHOUT[option].items() if command in named]
    options = options_of(command)
    assert (option in options) != bool(reasons), (command, option, reasons)
    assert len(reasons) <= 1
    if option in options:
        row, found = SHARED[option], options[option]
        assert set(found.opts) == set(row.flags)
        begin, _, end = row.help.partition("{}")
        assert found.help.startswith(begin)
        assert end in found.help
        allowed = ("FILE", "DIR") if option == "--output" else (row.metavar or None,)
        assert found.metavar in allowed


def test_the_table_knows_every_command_and_every_option() -> None:
    assert WITHOUT.keys() == SHARED.keys()
    named = {command for reasons in WITHOUT.values() for each in reasons.values() for command in each}
    assert named <= COMMANDS.keys()
    owners = defaultdict(list)
    for command in COMMANDS:
        for text in options_of(command):
            owners[text].append(command)
    several = {text for text, of in owners.items() if len(of) > 1 and text.startswith("--")}
    assert several - SHARED.keys() <= OWN


# What was typed before, the new spelling, and the error that shows that it was understood.
OLD = {
    "train test_resnet --init-from none.pth -o run": ("--init-from is now --weights", "none.pth"),
    "evaluate none --weights last": ("--weights last is now --checkpoint last", "--checkpoint: it chooses"),
    "evaluate none --weights=ema": ("--weights ema is now --checkpoint ema", "--checkpoint: it chooses"),
    "profile test_resnet --size 12q": ("--size is now --input-size", "--input-size: '12q' is not a size"),
}


@pytest.mark.parametrize("line", OLD)
def test_an_old_spelling_works_and_says_the_new_one(line: str) -> None:
    said, understood = OLD[line]
    first, *rest = error_of(line).splitlines()
    assert first == said
    assert understood in "\n".join(rest)


def test_a_file_of_weights_is_no_old_spelling() -> None:
    said = error_of("evaluate test_resnet --data digits --weights best.pth")
    assert "is now" not in said
    assert "best.pth: there is no such file" in said


@pytest.mark.parametrize(
    ("code", "train", "ablate"),
    [
        ("`weights=FILE`", "--weights FILE", "weights=FILE"),
        ("`pretrained=True`", "--pretrained", "pretrained=True"),
        ("`overrides=['ema=null']`", "--set ema=null", "the setting ema=null"),
        ("`overrides=['a=1', 'b=c d']`", "--set a=1 --set 'b=c d'", "the setting a=1 'b=c d'"),
        ("`base=NETWORK`", "--base MODULE:FACTORY", "base=NETWORK"),
        ("`import MODULE`", "--plugin MODULE", "--plugin MODULE"),
        ("`hmhsa-insert blocks`", "`hmhsa-insert blocks`", "`hmhsa-insert blocks`"),
    ],
)
def test_a_tip_names_the_options_of_the_command(code: str, train: str, ablate: str) -> None:
    for command, said in (("train", train), ("ablate", ablate)):
        with naming_options(COMMANDS[command].params):
            assert in_options(f"give {code}, or not") == f"give {said}, or not"


def test_places_and_values() -> None:
    with naming_options(COMMANDS["evaluate"].params):
        assert place(Argument("renamed a=b")) == "--map a=b"
        assert place("renamed") == "renamed"  # a module of this name is no argument
        assert in_options(mention("renamed", {"old": "new"})) == "--map old=new"
    with naming_options(COMMANDS["export"].params):
        assert in_options("`dynamic=()`") == "--dynamic none"
        assert in_options("`dynamic=('batch', 'size')`") == "--dynamic batch,size"
        assert in_options("`Inputs.of(size, batch=N)`") == "--fixed-batch N"


def test_quiet_leaves_results_and_errors() -> None:
    loud, quiet = run("models"), run("models --quiet")
    assert quiet.stdout
    assert loud.stdout.startswith(quiet.stdout)
    assert len(quiet.stdout.splitlines()) < len(loud.stdout.splitlines())
    assert "did you mean" in error_of("models resnt18 --quiet")
