"""What the arguments `input_size` and `inputs` of the public functions mean for one network."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from torch import nn

from hmhsa_insert.errors import Argument, ModelError, Problem
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize

SIZE_TIP = "write input_size=96 (a square), (96, 128) for H×W, or (3, 96, 128) for C×H×W"


def inputs_of(model: nn.Module, input_size: InputSize, inputs: InputSize = None) -> Inputs:
    """Return the description of a network's inputs from the two arguments that the public functions have.

    Args:
        model: the network, whose first convolution says how many channels an image has if `input_size` does not.
        input_size: 96 for a square image, ``(H, W)``, ``(C, H, W)``, or any other form of :meth:`Inputs.of`. Two
            numbers are a size H×W only where the network has a two-dimensional convolution.
        inputs: in its place, if it is not None.

    Raises:
        ModelError: they describe no inputs, or there is no convolution that says how many channels there are.
    """
    name, given = ("input_size", input_size) if inputs is None else ("inputs", inputs)
    try:
        return Inputs.of(_with_channels(model, given) if inputs is None else given)
    except ModelError as error:
        raise ModelError(
            Problem(
                Argument(name) if problem.where == "input" else problem.where, problem.message, problem.tip
            )
            for problem in error.problems
        ) from None


def _with_channels(model: nn.Module, given: Any) -> Any:
    """Return C×H×W for one or two whole numbers; anything else, and whole numbers of NumPy, as plain Python has it."""
    sides = _whole_numbers(given)
    if sides is None or len(sides) > 2 or (len(sides) == 1 and isinstance(given, Sequence)):
        return given if sides is None else tuple(sides)
    first = _first_convolution(model)
    if first is not None:
        return (first.in_channels, sides[0], sides[-1])
    if len(sides) == 2:
        return tuple(sides)
    message = (
        f"{sides[0]} is the side of an image, and no convolution of the network says how many channels it has"
    )
    raise ModelError(Problem("input", message, "give all of it: (C, H, W)"))


def image_tip(model: nn.Module, inputs: Inputs) -> str:
    """Return how to describe an image, where one axis was described and the network takes images; else nothing."""
    sizes = [leaf.size for leaf in inputs.leaves]
    first = _first_convolution(model)
    if first is None or len(sizes) != 1 or len(sizes[0]) != 1:
        return ""
    (side,) = sizes[0]
    forms = f"{side} (a square), ({side}, {side}) or ({first.in_channels}, {side}, {side})"
    return f"({side},) and '{side}' are one axis, not an image: write input_size={forms}"


def _first_convolution(model: nn.Module) -> nn.Conv2d | None:
    return next((each for each in model.modules() if isinstance(each, nn.Conv2d)), None)


def _whole_numbers(given: Any) -> list[int] | None:
    """Return the whole numbers that `given` is or holds; None if it is anything else."""
    items = list(given) if isinstance(given, tuple | list) else [given]
    if not items or any(isinstance(item, bool) or not hasattr(type(item), "__index__") for item in items):
        return None
    try:
        return [index(item) for item in items]
    except TypeError:  # a tensor or an array that is no single whole number
        return None
