"""``hmhsa-insert stages MODEL``: the stages of a network, as a tree a person can read or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    DrawOption,
    JsonOption,
    ModelArgument,
    SizeOption,
)
from hmhsa_insert.tables import Table, left, right

if TYPE_CHECKING:
    from rich.tree import Tree

    from hmhsa_insert.surgery.base.load import LoadedModel
    from hmhsa_insert.surgery.locate.stages import CutPoint, Located


def stages(
    model: ModelArgument,
    input_size: SizeOption = None,
    inputs: InputOption = None,
    fixed_batch: BatchOption = None,
    allow_code: AllowCodeOption = False,
    draw: DrawOption = None,
    json: JsonOption = False,
    all_cut_points: Annotated[
        bool,
        typer.Option(
            "--all-cut-points", help="List every map that all paths pass through, with its fx node."
        ),
    ] = False,
) -> None:
    """Show the stages of a network, its blocks, and where an edit can be made.

    Stage k has stride 2^(k+1): stage 1 is 1/4, stage 4 is 1/32. What comes after the resolution has grown again, the
    neck of a detector or a decoder, has stages of its own, numbered in the order of the forward. Everything is
    measured; no weights are needed.
    """
    from hmhsa_insert.commands.console import out, print_json
    from hmhsa_insert.commands.printed import print_table, write_drawing
    from hmhsa_insert.surgery.artifact.artifact import open_model
    from hmhsa_insert.surgery.locate.no_maps import why_no_maps
    from hmhsa_insert.surgery.locate.stages import locate

    loaded = open_model(model, allow_code=allow_code, meta=True)
    located = locate(loaded.model, described(loaded, input_size, inputs, fixed_batch))
    if draw is not None:
        write_drawing(draw, loaded, inputs=located.trace.inputs)
    if json:
        print_json(_as_data(loaded, located, all_cut_points))
        return
    out.print(_tree(loaded, located))
    if all_cut_points:
        print_table(_cut_points(located))
    if not located.stages:
        out.print(f"There is no stage: {why_no_maps(located)}.", markup=False)
        if located.maps:
            out.print("Select modules by name or class instead.")


def _tree(loaded: LoadedModel, located: Located) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    from hmhsa_insert.commands.tables import headline

    tree = Tree(headline(loaded, located.trace.inputs))
    named = [str(stage) for stage in located.stages]
    named += [str(stage).replace("neck", f"neck {number}", 1) for number, stage in enumerate(located.neck, 1)]
    for name, stage in zip(named, (*located.stages, *located.neck), strict=True):
        branch = tree.add(Text(name, style="bold"))
        if stage.entry:
            branch.add(Text(f"enters by {_where(stage.entry)}", style="dim"))
        ends = ", ".join(_where(point) for point in stage.cut_points)
        branch.add(Text(f"ends of blocks: {ends}"))
    return tree


def _where(point: CutPoint) -> str:
    name = point.qualname or "(the network's own forward)"
    return name if point.host else f"{name} (inside its forward)"


def _cut_points(located: Located) -> Table:
    headers = [left("fx node"), right("stride"), right("map"), left("module"), left("edit")]
    rows = [
        (
            point.node,
            point.stride,
            f"{point.channels}×{point.height}×{point.width}",
            point.qualname or "(root)",
            "module tree" if point.host else "in forward",
        )
        for point in located.all_cut_points
    ]
    return Table.of("Every map that all paths pass through", headers, rows)


def _as_data(loaded: LoadedModel, located: Located, all_cut_points: bool) -> dict[str, Any]:
    from dataclasses import asdict

    data: dict[str, Any] = {
        "model": loaded.source.spec,
        "class": type(loaded.model).__name__,
        "input_size": located.trace.inputs.to_data(),
        "one_size_only": located.one_size_only,
        "stages": [asdict(stage) for stage in located.stages],
        "neck": [{"number": number} | asdict(stage) for number, stage in enumerate(located.neck, 1)],
    }
    if all_cut_points:
        data["cut_points"] = [asdict(point) for point in located.all_cut_points]
    return data
