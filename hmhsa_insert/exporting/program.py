"""The format ``pt2``: the program of ``torch.export``."""

from __future__ import annotations

import copy
import inspect
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from hmhsa_insert.exporting.asked import BATCH, Asked
from hmhsa_insert.exporting.format import Format, Run
from hmhsa_insert.exporting.free import freed
from hmhsa_insert.surgery.base.input import Input
from hmhsa_insert.surgery.base.inputs import Args, input_dtype, tensors_in
from hmhsa_insert.torch_private import any_length, tree_map

# The largest batch of a program; a bound, because torch proves its inequalities for ranges.
_LARGEST_BATCH = 4096


class Program(Format):
    """A file that ``torch.export.load`` reads, and AOTInductor and ExecuTorch start from."""

    name, suffix, title = "pt2", ".pt2", "torch.export"

    def make(self, model: nn.Module, asked: Asked) -> bytes:
        """Return the saved program."""
        buffer = io.BytesIO()
        torch.export.save(exported(model, asked), buffer)
        return buffer.getvalue()

    def open(self, path: Path) -> Run:
        """Return what runs the loaded program, with its own checks of sizes."""
        loaded = torch.export.load(path).module()

        def run(arguments: Args) -> list[Tensor]:
            args, kwargs = arguments
            return [tensor for _, tensor in tensors_in(loaded(*args, **kwargs))]

        return run


def exported(model: nn.Module, asked: Asked) -> ExportedProgram:
    """Return the program of a network in eval mode, its free axes named batch, height and width."""
    args, kwargs = asked.inputs.drawn(input_dtype(model), _device(model), asked.batch)
    dims = _dims(asked)

    def free(leaf: Any) -> dict[int, Any] | None:
        return _axes(leaf, dims) if isinstance(leaf, Input) else None

    places = inspect.signature(model.forward).bind(
        *tree_map(free, list(asked.inputs.args)), **tree_map(free, dict(asked.inputs.kwargs))
    )
    if dims:
        model = freed(copy.deepcopy(model))
    with any_length():
        return torch.export.export(
            model, tuple(args), kwargs, dynamic_shapes=dict(places.arguments) if dims else None, strict=False
        )


def _dims(asked: Asked) -> dict[str, Any]:
    dims: dict[str, Any] = {}
    if BATCH in asked.dynamic:
        dims["batch"] = Dim("batch", min=1, max=_LARGEST_BATCH)
    if asked.sides is not None:
        low, high, step = asked.sides.low, asked.sides.high, asked.sides.step
        for name in ("height", "width"):
            if step == 1:
                dims[name] = Dim(name, min=low, max=high)
            else:
                dims[name] = step * Dim(f"{name}_steps", min=low // step, max=high // step)
    return dims


def _axes(leaf: Input, dims: dict[str, Any]) -> dict[int, Any]:
    """Return the free axes of one input: the batch, and height and width of an image."""
    axes: dict[int, Any] = {}
    if leaf.batched and "batch" in dims:
        axes[0] = dims["batch"]
    if leaf.batched and len(leaf.size) >= 3 and "height" in dims:
        axes[len(leaf.size) - 1], axes[len(leaf.size)] = dims["height"], dims["width"]
    return axes


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
