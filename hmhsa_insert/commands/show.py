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
    """Show the contents of an artifact or a detector: base network, versions, recipe, sites, weights.

    For a drawing the network of an artifact is built; otherwise nothing is.
    """
    from rich.syntax import Syntax

    from hmhsa_insert.commands.console import bold, out, print_json
    from hmhsa_insert.commands.printed import print_tables, write_drawing
    from hmhsa_insert.detection.artifact import is_detector, read_detector
    from hmhsa_insert.files.hub import fetched
    from hmhsa_insert.files.numbers import big
    from hmhsa_insert.recipe import load_recipe
    from hmhsa_insert.surgery.artifact.artifact import open_model, read_record, weights_summary

    folder = Path(fetched(given))
    stored = read_detector(folder) if is_detector(folder) else None
    record, plans = (stored.base, stored.plans) if stored else read_record(folder)
    count, size = weights_summary(folder)
    if draw is not None and stored:
        raise HmhsaInsertError(Problem(Argument("draw"), "this is a detector, of which there is no drawing"))
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
        out.print(_detector(stored.record), soft_wrap=True)
    out.print(visible(f"base network  {record.get('class')}, {source}{f' ({options})' if options else ''}"))
    made_with = ", ".join(f"{name} {text}" for name, text in record["versions"].items())
    out.print(visible(f"made with     {made_with}"))
    out.print(f"weights       {count} tensors, {big(size)}B")
    for ledger in plans:
        out.print(f"edited with   backend {ledger.backend}, seed {ledger.seed}\n")
        print_tables(ledger.plan)
        out.print(Syntax(load_recipe(ledger.plan.recipe).dump(), "yaml", background_color="default"))


def _detector(record: DetectorRecord) -> str:
    """Return the kind of a detector and the classes it finds, in two lines."""
    from hmhsa_insert.detection.detector import DETECTORS

    kind = DETECTORS.get(record.kind)
    names = [visible(name) for name in record.categories.values()] or [
        f"{record.num_classes - 1} classes without names"
    ]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    size = f"images at {record.options.get('min_size')} to {record.options.get('max_size')} pixels"
    lines = f"detector      {kind.title if kind else visible(record.kind)}, {size}"
    return f"{lines}\nfinds         {', '.join(names[:_MOST_NAMES])}{more}"
