"""``hmhsa-insert evaluate DIR…``: score trained networks, one row each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hmhsa_insert.commands.options import AllowCodeOption, JsonOption
from hmhsa_insert.commands.printed import check_writable_file
from hmhsa_insert.errors import HmhsaInsertError, Problem

if TYPE_CHECKING:
    from rich.table import Table

    from hmhsa_insert.training.evaluation import Evaluation
    from hmhsa_insert.training.score import Candidate


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
    allow_code: AllowCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score networks on a validation split: top-1, top-5, per class, confusion, images per second.

    A folder without splits is scored whole. Classes are matched by name with those that a run was trained on.
    Detectors get COCO's average precision of boxes and masks: AP, AP50, AP75, and of small, medium, large objects.

    Examples: `hmhsa-insert evaluate runs/plain runs/stage3 --data digits`,
    `hmhsa-insert evaluate runs/retinanet --data /data/coco -o found.json`
    """
    for path in (output, confusion):
        check_writable_file(path)
    if _detectors(models, output, renamed):
        from hmhsa_insert.commands.evaluate_detectors import evaluate_detectors

        evaluate_detectors(models, data, weights, settings or (), allow_code, output, as_json)
        return
    from rich.text import Text

    from hmhsa_insert.commands.console import out, print_json, watching, wrote
    from hmhsa_insert.training.curves import draw_confusion
    from hmhsa_insert.training.data.matching import read_renaming
    from hmhsa_insert.training.names import shown
    from hmhsa_insert.training.score import candidate, score

    rows: list[dict[str, Any]] = []
    found: Evaluation | None = None
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
        out.print(_scores(rows, shown(what.data.source)))
        if len(rows) == 1:
            out.print("Per class, worst first")
            out.print(_classes(rows[0]["per_class"]))
    if confusion is not None and found is not None:
        draw_confusion(found.confusion, found.classes, confusion)
        wrote(confusion, f"confusion of {rows[-1]['name']}")


def _row(what: Candidate, found: Evaluation) -> dict[str, Any]:
    """Return what is shown of one network."""
    from hmhsa_insert.costs.count import count

    side = what.settings.input_size
    cost = count(what.model, (what.channels, side, side))
    return {
        "name": what.name,
        "num_params": cost.num_params,
        "macs": cost.macs,
        "images": len(found.targets),
        "top1": found.top1,
        "top5": found.top5,
        "loss": found.loss,
        "images_per_s": found.images_per_s,
        # None where there is no image of a class: JSON knows no NaN.
        "per_class": {
            name: None if share != share else share
            for name, share in zip(found.classes, found.per_class.tolist(), strict=True)
        },
        "damaged": [what.data.val.name(i) for i in found.damaged],
        "unseen": what.unseen,
        "notes": list(what.data.notes),
    }


def _detectors(models: list[str], output: Path | None, renamed: list[str] | None) -> bool:
    """Return True if detectors are to be scored.

    Raises:
        HmhsaInsertError: some are and some are not; detections of several, or of none, in one file;
            categories that are to be renamed.
    """
    from hmhsa_insert.detection.score import is_detection

    kinds = {model: is_detection(model) for model in models}
    found = [model for model, detects in kinds.items() if detects]
    problems = []
    if found and len(found) < len(models):
        other = next(model for model in models if model not in found)
        message = f"{found[0]} is a detector and {other} is none"
        problems.append(Problem("DIR…", message, "score them in two commands"))
    if output is not None and len(found) != 1:
        problems.append(Problem("--output", "takes the detections of one detector", "give one DIR"))
    if found and renamed:
        problems.append(Problem("--map", "categories of detectors are matched by their ids and names alone"))
    if problems:
        raise HmhsaInsertError(problems)
    return bool(found)


def _scores(rows: list[dict[str, Any]], source: str) -> Table:
    from rich import box
    from rich.table import Table

    from hmhsa_insert.commands.tables import big

    unseen = ", none of them trained on" if all(row["unseen"] for row in rows) else ""
    title = f"{source}: {rows[0]['images']:,} images{unseen}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("params", "MACs", "top-1 %", "top-5 %", "loss", "images/s"):
        table.add_column(name, justify="right")
    for row in rows:
        scores = (
            f"{row['top1']:.2f}",
            f"{row['top5']:.2f}",
            f"{row['loss']:.4f}",
            f"{row['images_per_s']:.0f}",
        )
        table.add_row(row["name"], big(row["num_params"]), big(row["macs"]), *scores)
        if row["damaged"]:
            table.add_row(f"  {len(row['damaged'])} damaged images left out: {row['damaged'][0]} …")
    return table


def _classes(per_class: dict[str, float | None]) -> Table:
    """Return the classes from the worst on, as many as fit a screen."""
    from rich import box
    from rich.table import Table

    most = 20
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", overflow="fold")
    table.add_column("top-1 %", justify="right")
    known = {name: share for name, share in per_class.items() if share is not None}
    for name, share in sorted(known.items(), key=lambda item: item[1])[:most]:
        table.add_row(name, f"{share:.1f}")
    if len(known) > most:
        table.add_row(f"and {len(known) - most} better ones", "")
    return table
