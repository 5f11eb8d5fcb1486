"""The format ``torchscript``: a trace by ``torch.jit``, for programs that have nothing newer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import ExportError, Problem
from hmhsa_insert.exporting.asked import Asked
from hmhsa_insert.exporting.format import Format, Run
from hmhsa_insert.surgery.base.inputs import Args, input_dtype, tensors_in


class TorchScript(Format):
    """A file that ``torch.jit.load`` reads, in Python and C++."""

    name, suffix, title = "torchscript", ".pt", "TorchScript"
    takes_detectors = True
    tip = "a trace keeps what was decided by the size it was made at: `to='pt2'` or onnx, or leave size out"

    def make(self, model: nn.Module, asked: Asked) -> bytes:
        """Return the saved trace."""
        args, kwargs = asked.inputs.drawn(input_dtype(model), "cpu", asked.batch)
        if args and kwargs:
            message = "a trace takes inputs by position or by name, not both"
            raise ExportError(Problem(self.title, message, "`to='pt2'` takes both"))
        example: dict[str, Any] = (
            {"example_kwarg_inputs": kwargs} if kwargs else {"example_inputs": tuple(args)}
        )
        traced = torch.jit.trace(model, **example, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        return buffer.getvalue()

    def open(self, path: Path) -> Run:
        """Return what runs the loaded trace."""
        loaded = cast(nn.Module, torch.jit.load(str(path)))  # type: ignore[no-untyped-call]

        def run(arguments: Args) -> list[Tensor]:
            args, kwargs = arguments
            return [tensor for _, tensor in tensors_in(loaded(*args, **kwargs))]

        return run
