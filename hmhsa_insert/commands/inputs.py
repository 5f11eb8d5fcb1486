"""Options that describe the inputs of a network."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from hmhsa_insert.commands.options import parse_size
from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem

if TYPE_CHECKING:
    from torch import nn

    from hmhsa_insert.surgery.base.inputs import Inputs
    from hmhsa_insert.surgery.base.load import LoadedModel

InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="INPUT",
        help="An input beside the image: [NAME:]SIZE[:DTYPE[<N]], such as timestep:int64 or tokens:77:int64<49408; "
        "repeatable. Without a name, or with that of the first argument, it replaces the image.",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--fixed-batch", metavar="N", min=1, help="The only batch size that the network takes; default: any."
    ),
]


def described(
    loaded: LoadedModel,
    input_size: str | None,
    given: list[str] | None,
    batch: int | None,
    option: str = "input_size",
) -> Inputs:
    """Return the inputs of a network: its own, changed by the options.

    Args:
        loaded: the network.
        input_size: the size of its image.
        given: texts of other inputs. One with a name is passed by that name; those without a name replace all
            positional inputs, and so does one with the name of the first argument.
        batch: the only batch size that it takes.
        option: the option that gave the size.

    Raises:
        HmhsaInsertError: a text describes no input, or two options describe the same one.
    """
    from hmhsa_insert.surgery.base.input import parse_input
    from hmhsa_insert.surgery.base.inputs import Inputs

    own = loaded.inputs
    parsed = [parse_input(text, Argument("inputs")) for text in given or []]
    by_place = [made for name, made in parsed if name is None]
    by_name = {name: made for name, made in parsed if name is not None}
    if len(by_name) + len(by_place) < len(parsed):
        raise HmhsaInsertError(Problem(Argument("inputs"), "two inputs have one name"))
    replaced = bool(by_place) or _first_argument(loaded.model) in by_name
    if replaced and input_size is not None:
        message = "the image is described twice"
        raise HmhsaInsertError(Problem(Argument(option), message, "give it or `inputs=INPUT`"))
    args = by_place if replaced else list(own.args)
    kwargs = {} if replaced and not by_place else dict(own.kwargs)
    made = Inputs(args, {**kwargs, **by_name}, batch or own.batch)
    if input_size is None:
        return made
    _, height, width = size = parse_size(input_size, loaded.input_size, option)
    if own.image_size[0] != size[0] and len(own.leaves) == 1:
        return Inputs.of(size, made.batch) if not by_name else Inputs([size], by_name, made.batch)
    return made.resized(lambda *_: (height, width))


def _first_argument(model: nn.Module) -> str | None:
    return next(iter(inspect.signature(model.forward).parameters), None)
