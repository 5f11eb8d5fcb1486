"""``hmhsa-insert show DIR``: the contents of an artifact, without building it unless it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmhsa_insert.commands.options import AllowCodeOption, DrawOption, JsonOption
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem
from hmhsa_insert.inert import visible

if TYPE_CHECKING:
    from hmhsa_insert.detection.detector import DetectorRecord
    from hmhsa_insert.segmentation.segmenter import SegmenterRecord
    from hmhsa_insert.surgery.artifact.around import Stored

_MOST_NAMES = 10


def show(
    given: Annotated[
        str,
        typer.Argument(metavar="DIR", help="A folder that `apply` wrote, or hf-hub:USER/NAME on the Hub."),
    ],
    draw: DrawOption = None,
    allow_code: AllowCodeOption = False,
    json: JsonOption = False,
) -> None:
    """Show the contents of an artifact, a detector or a segmenter: base network, versions, recipe, sites, weights.

    For a drawing the network of an artifact is built; otherwise nothing is.
    """
    from rich.syntax import Syntax

    from hmhsa_insert.commands.console import bold, out, print_json
    from hmhsa_insert.commands.printed import print_tables, write_drawing
    from hmhsa_insert.files.hub import fetched
    from hmhsa_insert.files.numbers import big
    from hmhsa_insert.recipe import load_recipe
    from hmhsa_insert.surgery.artifact.artifact import open_model, read_record, weights_summary

    folder = Path(fetched(given))
    stored = _stored_whole(folder)
    record, plans = (stored.base, stored.plans) if stored else read_record(folder)
    count, size = weights_summary(folder)
    if draw is not None and stored:
        raise HmhsaInsertError(
            Problem(Argument("draw"), "there is no drawing of what is built around a backbone")
        )
    if draw is not None:
        write_drawing(draw, open_model(given, allow_code=allow_code))
    if json:
        plans_data = [
            ledger.plan.to_dict() | {"backend": ledger.backend, "seed": ledger.seed} for ledger in plans
        ]
        print_json({"base": record, "weights": {"tensors": count, "bytes": size}, "plans": plans_data})
        return
    source = record.get("source") or "unknown"
    options = ", ".join(f"{key}={value}" for key, value in record["kwargs"].items())
    out.print(bold(given), soft_wrap=True)
    if stored:
        out.print(_around(stored.record), soft_wrap=True)
    out.print(visible(f"base network  {record.get('class')}, {source}{f' ({options})' if options else ''}"))
    made_with = ", ".join(f"{name} {text}" for name, text in record["versions"].items())
    out.print(visible(f"made with     {made_with}"))
    out.print(f"weights       {count} tensors, {big(size)}B")
    for ledger in plans:
        out.print(f"edited with   backend {ledger.backend}, seed {ledger.seed}\n")
        print_tables(ledger.plan)
        out.print(Syntax(load_recipe(ledger.plan.recipe).dump(), "yaml", background_color="default"))


def _stored_whole(folder: Path) -> Stored[DetectorRecord] | Stored[SegmenterRecord] | None:
    """Return what the folder of a detector or a segmenter says; None for other folders."""
    from hmhsa_insert.detection.artifact import is_detector, read_detector
    from hmhsa_insert.segmentation.artifact import is_segmenter, read_segmenter

    if is_detector(folder):
        return read_detector(folder)
    return read_segmenter(folder) if is_segmenter(folder) else None


def _around(record: DetectorRecord | SegmenterRecord) -> str:
    """Return what is built around the backbone and the classes it finds, in two lines."""
    from hmhsa_insert.detection.detector import DETECTORS, DetectorRecord
    from hmhsa_insert.segmentation.decoders import DECODERS

    if isinstance(record, DetectorRecord):
        kind = DETECTORS[record.kind].title if record.kind in DETECTORS else visible(record.kind)
        size = f"images at {record.options.get('min_size')} to {record.options.get('max_size')} pixels"
        names, count = tuple(record.categories.values()), record.num_classes - 1
        first = f"detector      {kind}, {size}"
    else:
        kind = DECODERS[record.decoder].title if record.decoder in DECODERS else visible(record.decoder)
        names, count = record.classes, record.num_classes
        first = f"segmenter     {kind}"
    shown = [visible(name) for name in names] or [f"{count} classes without names"]
    more = f" and {len(shown) - _MOST_NAMES} more" if len(shown) > _MOST_NAMES else ""
    return f"{first}\nfinds         {', '.join(shown[:_MOST_NAMES])}{more}"
