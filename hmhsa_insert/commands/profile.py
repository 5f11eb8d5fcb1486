"""``hmhsa-insert profile MODEL …``: what networks cost, side by side, plain and with recipes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    JsonOption,
)
from hmhsa_insert.commands.printed import (
    FormatOption,
    deliver,
    format_asked_for,
    print_parts,
)
from hmhsa_insert.commands.profile_wholes import refuse_measuring, whole_asked, whole_records
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import Argument, HmhsaInsertError, ModelError, Problem
from hmhsa_insert.inert import visible

if TYPE_CHECKING:
    from hmhsa_insert.costs.latency import OnProgress
    from hmhsa_insert.costs.steps import Setting
    from hmhsa_insert.surgery.base.inputs import Inputs
    from hmhsa_insert.surgery.base.load import LoadedModel

ModelsArgument = Annotated[
    list[str], typer.Argument(metavar="MODEL|DIR…", help="Networks, or folders that `apply` wrote.")
]
RecipesOption = Annotated[
    list[str] | None,
    typer.Option("--recipe", "-r", metavar="RECIPE", help="Also each network with this recipe; repeatable."),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="retinanet, fasterrcnn or maskrcnn: count whole detectors on these networks, at 800x1333.",
    ),
]
DecoderOption = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        metavar="NAME",
        help="semantic_fpn, fpn, unet, …: count whole segmenters on these networks, at 512x2048.",
    ),
]
SizesOption = Annotated[
    list[str] | None,
    shared("--input-size", more="Repeatable: then also how cost grows. Several networks: the first one's."),
]
OutputOption = Annotated[Path | None, shared("--output", writes="what would be printed", metavar="FILE")]


def profile(
    models: ModelsArgument,
    recipe: RecipesOption = None,
    detector: DetectorOption = None,
    decoder: DecoderOption = None,
    input_size: SizesOption = None,
    inputs: InputOption = None,
    fixed_batch: BatchOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in a timed or trained step.")] = 1,
    latency: Annotated[bool, typer.Option("--latency", help="Time inference and training steps.")] = False,
    rounds: Annotated[int, typer.Option(min=2, help="Timings of each network, taken in turns.")] = 30,
    memory: Annotated[bool, typer.Option("--memory", help="What a training step keeps in memory.")] = False,
    gib: Annotated[float, typer.Option(help="Device memory that the largest batch is for.")] = 16.0,
    per: Annotated[
        Literal["stage", "module"] | None, typer.Option(help="Where it is spent: by stage, or by module.")
    ] = None,
    drawings: Annotated[
        bool, typer.Option("--drawings", help="Draw each network on the page, and keep it in the JSON.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N: where steps run.")] = "cpu",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16", "float64"] | None, typer.Option(help="Of weights, images.")
    ] = None,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Run on NHWC memory.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="Run through torch.compile.")] = False,
    how: FormatOption = None,
    json: JsonOption = False,
    output: OutputOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Compare what networks cost: parameters, MACs, training memory, latency; plain and with recipes, side by side.

    Counts are for one image. Δ is against the first network. Recipes are planned again at each size; a DIR stays as it
    was built.

    With --detector or --decoder, or for folders of detectors or segmenters, all of it is counted: backbone and heads.

    Example: `hmhsa-insert profile resnet50 --recipe stage3.yaml --memory --per stage`
    """
    from hmhsa_insert.commands.console import progress
    from hmhsa_insert.costs.latency import Timing

    chosen = format_asked_for(how, output, json)
    if drawings and chosen not in ("html", "json"):
        tip = "`output='costs.html'` writes a page"
        raise HmhsaInsertError(Problem(Argument("drawings"), f"'{chosen}' shows no drawings", tip))
    measure = {
        "batch": batch,
        "memory": memory,
        "device_gib": gib,
        # A page draws bars by stage, and a record may become a page.
        "per": per or ("stage" if chosen in ("html", "json") else None),
        "timing": Timing(("inference", "training"), rounds) if latency else None,
        "setting": _setting(device, dtype, channels_last, compiled),
    }
    asked = {"detector": detector, "decoder": decoder}
    if (whole := whole_asked(models, asked)) is not None:
        kind, folders = whole
        measured = {
            "latency": latency,
            "memory": memory,
            "batch": batch != 1,
            "dtype": dtype is not None,
        }
        run = {"device": device != "cpu", "channels_last": channels_last, "compiled": compiled}
        other = {
            "inputs": bool(inputs),
            "fixed_batch": fixed_batch is not None,
            "per module": per == "module",
            "drawings": drawings,
        }
        refuse_measuring(kind, measured | run | other)
        with progress.status("building the networks"):
            others = [spec for spec in models if spec not in folders]
            found = dict(zip(others, _networks(others, allow_code, meta=True), strict=True))
        name = asked[kind.option]
        records = whole_records(kind, models, found, recipe or [], input_size or [], name, allow_code)
        _show(records, chosen, output, parts=True)
        return
    is_run = latency or (memory and device != "cpu")
    with progress.status("building the networks"):
        # Shapes are enough to count.
        networks = _networks(models, allow_code, meta=not is_run)
    taken = [described(networks[0], text, inputs, fixed_batch) for text in input_size or (None,)]
    records = _records(networks, recipe or [], taken, measure, drawings)
    _show(records, chosen, output, parts=measure["per"] is not None)


def _setting(device: str, dtype: str | None, channels_last: bool, compiled: bool) -> Setting:
    import torch

    from hmhsa_insert.costs.steps import Setting

    return Setting(device, getattr(torch, dtype) if dtype else None, channels_last, compiled)


def _networks(specs: list[str], allow_code: bool, *, meta: bool) -> list[LoadedModel]:
    """Build every network, or report all that cannot be."""
    from hmhsa_insert.surgery.artifact.artifact import open_model

    found: list[LoadedModel] = []
    problems: list[Problem] = []
    for spec in specs:
        try:
            found.append(open_model(spec, allow_code=allow_code, meta=meta))
        except HmhsaInsertError as error:
            problems += error.problems
    if problems:
        raise ModelError(problems)
    return found


def _records(
    networks: list[LoadedModel],
    recipes: list[str],
    inputs: list[Inputs],
    measure: dict[str, Any],
    drawings: bool,
) -> list[dict[str, Any]]:
    from hmhsa_insert.commands.console import progress as shown
    from hmhsa_insert.costs.candidates import candidates
    from hmhsa_insert.costs.profile import profile_all
    from hmhsa_insert.drawing.draw import draw
    from hmhsa_insert.recipe import load_recipe

    read = [load_recipe(recipe) for recipe in recipes]
    records: list[dict[str, Any]] = []
    for each in inputs:
        with shown.status("planning"):
            found = candidates(networks, read, each)
        with _progress(bool(measure["timing"])) as progress:
            measured = [record.as_dict() for record in profile_all(found, each, progress=progress, **measure)]
        if drawings:
            with shown.status("drawing"):
                for record in measured:
                    name = record["name"]
                    record["drawing"] = draw(found[name], input_size=each, name=name).contents.as_dict()
        records += measured
    return records


@contextmanager
def _progress(timed: bool) -> Iterator[OnProgress | None]:
    """Show how far measuring is: a bar while steps are timed, else a line."""
    from rich import progress

    from hmhsa_insert.commands.console import progress as shown

    if not timed:
        with shown.status("counting"):
            yield None
        return
    columns = (
        progress.TextColumn("timing"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    disabled = shown.quiet or not shown.is_terminal
    with progress.Progress(*columns, console=shown, transient=True, disable=disabled) as bar:
        task = bar.add_task("timing", total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


def _show(records: list[dict[str, Any]], how: str, output: Path | None, *, parts: bool) -> None:
    from hmhsa_insert.commands.console import err
    from hmhsa_insert.reports.data import to_json
    from hmhsa_insert.reports.findings import findings
    from hmhsa_insert.reports.render import render, report_tables

    if how == "table" and output is None:
        print_parts(report_tables(records, parts=parts, sections=True))
        return
    if how == "json":
        text = to_json({"records": records})
    else:
        written = "md" if how == "table" else how
        text = render(records, written, title="Profile", parts=parts, sections=True)
    deliver(text, output)
    for finding in findings(records):
        err.print(visible(finding), soft_wrap=True)
