"""``hmhsa-insert evaluate`` for detectors: average precision of boxes and masks, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def evaluate_detectors(
    models: Sequence[str],
    data: str | None,
    weights: str,
    settings: Sequence[str],
    allow_code: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Score detectors and print the table; write the last one's detections to `output` if it is given.

    Raises:
        HmhsaInsertError: a detector cannot be built, the data not be used, or the file not be written.
    """
    from rich.text import Text

    from hmhsa_insert.commands.console import out, print_json, wrote
    from hmhsa_insert.detection.evaluation import write_detections
    from hmhsa_insert.detection.score import detection_candidate, score_detector

    rows: list[dict[str, Any]] = []
    for model in models:
        with out.status(Text(f"scoring {model}")):
            what = detection_candidate(
                model, data, overrides=settings, weights=weights, allow_code=allow_code
            )
            cost = what.count()
            found = score_detector(what)
        rows.append(
            {
                "name": what.name,
                "detector": what.detector,
                "num_params": cost.num_params,
                "macs": cost.macs,
                "size": cost.input_size[1:],
                "images": len(found.split),
                "box": found.box,
                "mask": found.mask,
                "images_per_s": found.images_per_s,
                "damaged": [what.data.val.name(index) for index in found.damaged],
                "notes": list(what.data.notes),
            }
        )
    if as_json:
        print_json(rows)
    else:
        out.print(_table(rows, what.data.source))
        for row in rows:
            out.print(_cost(row), soft_wrap=True)
        for note in dict.fromkeys(note for row in rows for note in row["notes"]):
            out.print(note, style="dim", soft_wrap=True)
    if output is not None:
        write_detections(found.detections, output)
        wrote(output, f"{len(found.detections):,} detections of {what.name}, in COCO's result format")


def _table(rows: list[dict[str, Any]], source: str) -> Table:
    from rich import box
    from rich.table import Table

    title = f"{source}: {rows[0]['images']:,} images of the validation split, COCO's average precision"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("of", no_wrap=True)
    for name in NAMES:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["name"], "boxes", *_shares(row["box"]))
        if row["mask"] is not None:
            table.add_row("", "masks", *_shares(row["mask"]))
        if row["damaged"]:
            table.add_row(f"  {len(row['damaged'])} damaged images left out: {row['damaged'][0]} …")
    return table


def _cost(row: dict[str, Any]) -> str:
    from hmhsa_insert.commands.tables import big

    cost = (
        f"{big(row['num_params'])} parameters, {big(row['macs'])} MACs at {row['size'][0]}×{row['size'][1]}"
    )
    return f"{row['name']} ({row['detector']}): {cost}, {row['images_per_s']:.1f} images/s"


def _shares(scores: dict[str, float | None]) -> list[str]:
    values = (scores[name] for name in NAMES)
    return ["–" if value is None else f"{value:.3f}" for value in values]
