"""The format ``onnx``: torch's program translated by ``torch.onnx``, and run by onnxruntime."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import Argument, ExportError, Problem
from hmhsa_insert.exporting.asked import Asked
from hmhsa_insert.exporting.format import Format, Run
from hmhsa_insert.exporting.program import exported
from hmhsa_insert.surgery.base.inputs import Args, tensors_in

# The least opset that torch's exporter writes, and the largest file of protobuf, which ONNX is written in.
_LEAST_OPSET = 18
_MOST_BYTES = 2**31 - 1
_QUIET = 4  # onnxruntime's level of messages: nothing below what ends the program


class Onnx(Format):
    """One file with weights, without a second one beside it."""

    name, suffix, title = "onnx", ".onnx", "ONNX"
    modules, extra = ("onnx", "onnxscript", "onnxruntime"), "onnx"

    def make(self, model: nn.Module, asked: Asked) -> bytes:
        """Return the file of the optimized graph."""
        size = sum(tensor.nbytes for tensor in model.state_dict().values())
        if size > _MOST_BYTES:
            message = f"the weights take {size / 2**30:.1f} GiB, and an ONNX file holds 2"
            raise ExportError(Problem(self.title, message, "`to='pt2'` has no such bound"))
        program = torch.onnx.export(
            exported(model, asked), dynamo=True, opset_version=asked.opset, verbose=False
        )
        assert program is not None
        proto: Any = program.model_proto
        written = next(each.version for each in proto.opset_import if not each.domain)
        if asked.opset not in (None, written):
            message = f"torch writes opset {written} for this network and cannot convert it to {asked.opset}"
            raise ExportError(Problem(Argument("opset"), message, f"leave it out, or give {written}"))
        content: bytes = proto.SerializeToString()
        return content

    def open(self, path: Path) -> Run:
        """Return what runs the file in onnxruntime on the CPU, with as many threads as torch."""
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = _QUIET
        options.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]

        def run(arguments: Args) -> list[Tensor]:
            given = [tensor.cpu().numpy() for _, tensor in tensors_in(arguments)]
            if len(given) != len(names):
                message = (
                    f"the graph takes {len(names)} of the network's {len(given)} inputs: it uses no other"
                )
                raise ExportError(Problem(self.title, message))
            return [
                torch.from_numpy(each) for each in session.run(None, dict(zip(names, given, strict=True)))
            ]

        return run

    def check_opset(self, opset: int | None) -> None:
        """Refuse opsets that torch does not write or the installed onnx does not know."""
        onnx: Any = importlib.import_module("onnx")
        most = onnx.defs.onnx_opset_version()
        if opset is None or _LEAST_OPSET <= opset <= most:
            return
        if opset < _LEAST_OPSET:
            message = f"opset {opset} is too old: torch's exporter writes {_LEAST_OPSET} and newer"
        else:
            message = f"opset {opset} is newer than {most}, the newest of onnx {onnx.__version__}"
        raise ExportError(
            Problem(Argument("opset"), message, f"leave it out, or give {_LEAST_OPSET} to {most}")
        )
