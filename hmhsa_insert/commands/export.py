"""``hmhsa-insert export MODEL|DIR``: a network as a file for other programs, run and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmhsa_insert.commands.inputs import BatchOption, InputOption, described
from hmhsa_insert.commands.options import (
    AllowCodeOption,
    JsonOption,
    OverwriteOption,
    PretrainedOption,
    SizeOption,
    WeightsOption,
    open_with_weights,
)
from hmhsa_insert.commands.shared import shared
from hmhsa_insert.errors import Argument, ExportError, ModelError, Problem

if TYPE_CHECKING:
    from torch import nn

    from hmhsa_insert.surgery.base.inputs import InputSize


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL|DIR", help="A network, or a folder that `apply` or `train` wrote.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="onnx, pt2 or torchscript; default: by the ending of FILE, else onnx."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        shared(
            "--output",
            writes="the file",
            metavar="FILE",
            more="Default: the network's name with the ending.",
        ),
    ] = None,
    dynamic: Annotated[
        str | None,
        typer.Option(
            metavar="AXES",
            help="What stays free: batch, size (height and width), batch,size or none; default: batch.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="LOW..HIGH[:STEP]",
            help="With free sizes, their range in pixels, such as 64..512, or 64..512:32 for multiples of 32; "
            "default: half to twice the input's.",
        ),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="Of an ONNX file; default: the exporter's own.")] = None,
    input_size: SizeOption = None,
    inputs: InputOption = None,
    fixed_batch: BatchOption = None,
    weights: WeightsOption = None,
    pretrained: PretrainedOption = False,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
    allow_code: AllowCodeOption = False,
) -> None:
    """Write a network as one ONNX, torch.export or TorchScript file, run it, and keep it if it computes the same.

    The file is run at several batches and sizes, and its largest difference from the network is printed. A file that
    differs by more than 1e-4 is not kept.

    Example: `hmhsa-insert export resnet50 --to onnx --dynamic batch,size --size 64..512`
    """
    from hmhsa_insert.commands.console import notes, out, print_json, progress, wrote
    from hmhsa_insert.commands.printed import print_tables
    from hmhsa_insert.exporting.export import export as write
    from hmhsa_insert.exporting.formats import format_of
    from hmhsa_insert.files.whole import check_place

    kind = format_of(to, output)
    target = output or Path(_file_name(model) + kind.suffix)
    check_place(target, overwrite, ExportError)
    with progress.status("building the network") as status:
        network, taken = _opened(model, input_size, inputs, fixed_batch, weights, pretrained, allow_code)
        done = write(
            network,
            target,
            kind.name,
            dynamic=_axes(dynamic),
            input_size=taken,
            size=size,
            opset=opset,
            overwrite=overwrite,
            say=status.update,
        )
    print_tables(done, notes if json else out)
    mib = done.path.stat().st_size / 2**20
    wrote(done.path, f"{done.to}, {mib:.1f} MiB, largest difference from the network {done.difference:.1e}")
    if json:
        compared = [
            {"inputs": each.inputs, "difference": each.difference, "largest": each.largest}
            for each in done.compared
        ]
        print_json({"path": str(done.path), "to": done.to, "compared": compared})


def _file_name(model: str) -> str:
    """Return a name for the file: that of the network or the folder."""
    from hmhsa_insert.files.model_spec import ModelSpec

    return ModelSpec(model.rstrip("/")).label or "model"


def _axes(dynamic: str | None) -> list[str] | None:
    if dynamic is None:
        return None
    names = [name.strip() for name in dynamic.split(",")]
    return [] if names == ["none"] else names


def _opened(
    model: str,
    input_size: str | None,
    given: list[str] | None,
    fixed_batch: int | None,
    weights: Path | None,
    pretrained: bool,
    allow_code: bool,
) -> tuple[nn.Module, InputSize]:
    """Return the network and its inputs; None for a detector's or segmenter's own."""
    from hmhsa_insert.commands.options import parse_size
    from hmhsa_insert.detection.artifact import is_detector
    from hmhsa_insert.exporting.subject import artifact_of
    from hmhsa_insert.segmentation.artifact import is_segmenter
    from hmhsa_insert.tasks.artifact import load

    where = artifact_of(model)
    if is_detector(where) or is_segmenter(where):
        what = "detector" if is_detector(where) else "segmenter"
        for name, one in (("weights", weights), ("pretrained", pretrained)):
            if one:
                raise ModelError(Problem(Argument(name), f"a {what} has its own weights"))
        network = load(where, allow_code=allow_code)
        return network, parse_size(input_size, (3,)) if input_size else None
    loaded = open_with_weights(where, weights, pretrained, allow_code)
    return loaded.model, described(loaded, input_size, given, fixed_batch)
