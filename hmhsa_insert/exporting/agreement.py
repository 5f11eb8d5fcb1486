"""Run a file and compare its outputs with the network's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import ExportError, ModelError, Problem, first_line
from hmhsa_insert.exporting.asked import Asked
from hmhsa_insert.exporting.format import Format, why
from hmhsa_insert.exporting.quiet import quiet
from hmhsa_insert.surgery.base.inputs import Args, Inputs, input_dtype, tensors_in

# The largest difference that a file may have from eager, relative to outputs larger than 1.
TOLERANCE = 1e-4
_SEED = 0


@dataclass(frozen=True)
class Compared:
    """A file and its network on one input.

    Attributes:
        inputs: what both ran on, as text.
        difference: the largest, over all numbers of all outputs.
        largest: the largest output of the network.
        numbers: how many were compared; a detector may find nothing.
    """

    inputs: str
    difference: float
    largest: float
    numbers: int

    @property
    def agrees(self) -> bool:
        """True if the difference is within :data:`TOLERANCE`."""
        return self.difference <= TOLERANCE * max(1.0, self.largest)


@dataclass(frozen=True)
class Expected:
    """What the network computes on one input."""

    named: str
    arguments: Args
    outputs: list[Tensor]


def expected(model: nn.Module, asked: Asked) -> list[Expected]:
    """Run the network on every input that the file will be compared on.

    Raises:
        ExportError: it does not run on one of them.
    """
    return [_expected(model, batch, inputs) for batch, inputs in asked.runs()]


def _expected(model: nn.Module, batch: int, inputs: Inputs) -> Expected:
    named = f"{batch}×({inputs})" if any(leaf.batched for leaf in inputs.leaves) else str(inputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED + batch)
        arguments = inputs.drawn(input_dtype(model), "cpu", batch)
    try:
        with torch.no_grad(), quiet():
            outputs = [tensor.clone() for _, tensor in tensors_in(model(*arguments[0], **arguments[1]))]
    except Exception as error:  # whatever the network raises
        tip = "give the size it takes with `input_size=SIZE`, or a smaller range with `size=RANGE`"
        raise ExportError(
            Problem("input", f"the network does not run on {named}: {first_line(error)}", tip)
        ) from error
    if not outputs:
        raise ModelError(Problem(type(model).__name__, "its output has no tensor that could be compared"))
    return Expected(named, arguments, outputs)


def compared(kind: Format, path: Path, cases: list[Expected]) -> Iterator[Compared]:
    """Yield how a file agrees with the network on each input.

    Raises:
        ExportError: it cannot be read or run, or does not agree.
    """
    with quiet():
        run = kind.open(path)
    for case in cases:
        try:
            with torch.no_grad(), quiet():
                found = run(case.arguments)
        except ExportError:
            raise
        except Exception as error:  # whatever a runtime raises
            message = f"the file does not run on {case.named}: {why(error)}"
            raise ExportError(Problem(kind.title, message, kind.tip)) from error
        result = _difference(kind, case, found)
        if not result.agrees:
            message = f"the file differs from the network by {result.difference:.1e} on {case.named}"
            raise ExportError(Problem(kind.title, message, kind.tip))
        yield result


def _difference(kind: Format, case: Expected, found: list[Tensor]) -> Compared:
    shapes = [[tuple(each.shape) for each in outputs] for outputs in (case.outputs, found)]
    if shapes[0] != shapes[1]:
        message = f"the file gives outputs of {shapes[1]} on {case.named}, and the network {shapes[0]}"
        raise ExportError(Problem(kind.title, message, kind.tip))
    pairs = [(a.double(), b.double()) for a, b in zip(case.outputs, found, strict=True) if a.numel()]
    # A difference that is not a number is infinite; equal infinities do not differ.
    differences = [torch.where(a == b, 0.0, (a - b).abs()).nan_to_num(nan=torch.inf).max() for a, b in pairs]
    largest = [a.abs().nan_to_num(posinf=0.0).max() for a, _ in pairs]
    return Compared(
        case.named,
        max((float(each) for each in differences), default=0.0),
        max((float(each) for each in largest), default=0.0),
        sum(a.numel() for a, _ in pairs),
    )
