"""``hmhsa-insert evaluate DIR…``: score trained networks, one row each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hmhsa_insert.commands.options import (
    AllowCodeOption,
    DataDirOption,
    DataOption,
    JsonOption,
    PretrainedOption,
    SizeOption,
    WeightsOption,
    read_size,
)
from hmhsa_insert.commands.printed import print_table
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.tasks.table import refuse_options

if TYPE_CHECKING:
    from hmhsa_insert.training.interfaces import Evaluated
    from hmhsa_insert.training.score import ModelToScore


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="DIR…", help="Run folders, artifacts, or names of networks; a row for each."),
    ],
    data: DataOption = None,
    checkpoint: Annotated[Literal["best", "last", "ema"] | None, shared("--checkpoint")] = None,
    weights: WeightsOption = None,
    pretrained: PretrainedOption = False,
    input_size: SizeOption = None,
    confusion: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the confusion matrix here (PNG), for one DIR.")
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="A class of the data and what the run calls it, where the names differ; repeatable.",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as input_size=256; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        shared("--output", writes="detections in COCO's result format", metavar="FILE", more="Of one DIR."),
    ] = None,
    allow_code: AllowCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Score networks on a validation split: top-1, top-5, per class, confusion, images per second.

    A folder without splits is scored whole. Classes are matched by name with those that a run was trained on.
    Detectors get COCO's average precision of boxes and masks: AP, AP50, AP75, and of small, medium, large objects;
    segmenters mean IoU, Dice and pixel accuracy, and IoU of each class.

    Examples:
    - `hmhsa-insert evaluate runs/plain runs/stage3 --data digits`
    - `hmhsa-insert evaluate runs/retinanet --data /data/coco -o found.json`
    """
    from rich.text import Text

    from hmhsa_insert.commands.console import note, print_json, progress, watching, wrote
    from hmhsa_insert.training.data.matching import read_renaming
    from hmhsa_insert.training.names import shown
    from hmhsa_insert.training.score import candidate, score

    task = _one_task(models, {"output": output is not None, "confusion": confusion is not None})
    given: dict[str, object] = {
        "renamed": renamed,
        "confusion": confusion,
        "data_dir": data_dir,
        "output": output,
    }
    given |= {"pretrained": pretrained, "weights": weights}
    refuse_options(task, {name: bool(value) for name, value in given.items()})
    side = read_size(input_size)
    rows: list[dict[str, Any]] = []
    for model in models:
        with progress.status(Text(f"scoring {model}")) as status:
            what = candidate(
                model,
                data,
                overrides=overrides or (),
                data_dir=data_dir,
                weights=weights,
                checkpoint=checkpoint,
                pretrained=pretrained,
                input_size=side,
                allow_code=allow_code,
                renamed=read_renaming(renamed or ()),
                watch=watching(status),
            )
            status.update(Text(f"scoring {model}"))
            found = score(what)
        rows.append(_row(what, found))
    if json:
        print_json(rows)
    else:
        for text in dict.fromkeys(text for row in rows for text in row["notes"]):
            note(text)
        for table in what.run.tables(rows, shown(what.run.data.source)):
            print_table(table)
    if confusion is not None:
        wrote(confusion, f"{what.run.write_found(found, 'confusion', confusion)} of {what.name}")
    if output is not None:
        wrote(output, f"{what.run.write_found(found, 'output', output)} of {what.name}")


def _row(what: ModelToScore, found: Evaluated) -> dict[str, Any]:
    """Return what is shown of one network."""
    cost = what.run.count(what.model)
    return {
        "name": what.name,
        "num_params": cost.num_params,
        "macs": cost.macs,
        "images": found.images,
        **what.run.details(found),
        "images_per_s": found.images_per_s,
        "damaged": [what.run.data.val.name(i) for i in found.damaged],
        **({} if what.unseen is None else {"unseen": what.unseen}),
        "notes": list(what.run.data.notes),
    }


def _one_task(models: list[str], of_one: dict[str, bool]) -> str:
    """Return the task of all the networks.

    Args:
        models: what the user named.
        of_one: options that write what one network found -> whether they were given.

    Raises:
        HmhsaInsertError: they have several tasks; one file is to hold what several found.
    """
    from hmhsa_insert.training.score import task_of

    tasks = {model: task_of(model) for model in models}
    problems = [
        Problem(Argument(option), "takes what one network found", "give one DIR")
        for option, given in of_one.items()
        if given and len(models) > 1
    ]
    first, *others = dict.fromkeys(tasks.values())
    if others:
        one, other = (next(m for m, task in tasks.items() if task == name) for name in (first, others[0]))
        message = f"the task of {one} is {first}, that of {other} is {others[0]}"
        problems.append(Problem("DIR…", message, "score them in two commands"))
    if problems:
        raise HmhsaInsertError(problems)
    return first
