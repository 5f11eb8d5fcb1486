"""``hmhsa-insert evaluate DIR…``: score trained networks, one row each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hmhsa_insert.commands.options import AllowCodeOption, JsonOption, PluginOption, load_plugins
from hmhsa_insert.commands.printed import check_writable_file
from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.tasks.table import refuse_options

if TYPE_CHECKING:
    from hmhsa_insert.training.interfaces import Evaluated
    from hmhsa_insert.training.score import ModelToScore
    from hmhsa_insert.training.shown import Shown


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(metavar="DIR…", help="Run folders, artifacts, or names of networks; a row for each."),
    ],
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="As of `train`; default: the run's own.")
    ] = None,
    weights: Annotated[
        Literal["best", "last", "ema"], typer.Option(help="Which of a run's weights.")
    ] = "best",
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="The library's weights, for a named network.")
    ] = False,
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
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where downloaded data is kept.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as input_size=256; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write detections in COCO's result format, for one DIR."
        ),
    ] = None,
    plugin: PluginOption = None,
    allow_code: AllowCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score networks on a validation split: top-1, top-5, per class, confusion, images per second.

    A folder without splits is scored whole. Classes are matched by name with those that a run was trained on.
    Detectors get COCO's average precision of boxes and masks: AP, AP50, AP75, and of small, medium, large objects.

    Examples: `hmhsa-insert evaluate runs/plain runs/stage3 --data digits`,
    `hmhsa-insert evaluate runs/retinanet --data /data/coco -o found.json`
    """
    from rich.text import Text

    from hmhsa_insert.commands.console import out, print_json, watching, wrote
    from hmhsa_insert.training.data.matching import read_renaming
    from hmhsa_insert.training.names import shown
    from hmhsa_insert.training.score import candidate, score

    load_plugins(plugin)
    for path in (output, confusion):
        check_writable_file(path)
    task = _one_task(models, {"--output": output is not None, "--confusion": confusion is not None})
    given = {"--map": renamed, "--confusion": confusion, "--data-dir": data_dir, "--output": output}
    refuse_options(task, {name: bool(value) for name, value in given.items()} | {"--pretrained": pretrained})
    rows: list[dict[str, Any]] = []
    for model in models:
        with out.status(Text(f"scoring {model}")) as status:
            what = candidate(
                model,
                data,
                overrides=settings or (),
                data_dir=data_dir,
                weights=weights,
                pretrained=pretrained,
                allow_code=allow_code,
                renamed=read_renaming(renamed or ()),
                watch=watching(status),
            )
            status.update(Text(f"scoring {model}"))
            found = score(what)
        rows.append(_row(what, found))
    if as_json:
        print_json(rows)
    else:
        for note in dict.fromkeys(note for row in rows for note in row["notes"]):
            out.print(note, style="dim", soft_wrap=True)
        for table in what.run.shown(rows, shown(what.run.data.source)):
            _print(table)
    if confusion is not None:
        wrote(confusion, f"{what.run.write_found(found, '--confusion', confusion)} of {what.name}")
    if output is not None:
        wrote(output, f"{what.run.write_found(found, '--output', output)} of {what.name}")


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
        Problem(option, "takes what one network found", "give one DIR")
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


def _print(table: Shown) -> None:
    from rich import box
    from rich.table import Table

    from hmhsa_insert.commands.console import out

    out.print(table.title, style="italic", soft_wrap=True)  # a title of the table would wrap at its width
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, header in enumerate(table.headers):
        if place == 0:
            shown.add_column(header, overflow="fold")
        else:
            shown.add_column(header, justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*row)
    out.print(shown)
    for line in table.lines:
        out.print(line, soft_wrap=True)
