"""The shape of a plan in a file, which is checked before anything is built from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.files.shapes import Count, Name, Shape, Share
from hmhsa_insert.surgery.base.inputs import Inputs

_Side = Annotated[int, Field(ge=1, le=1 << 20)]


def _sizes(value: Any) -> Any:
    """Check the inputs, in any of the forms in which they are written."""
    try:
        leaves = Inputs.from_data(value).leaves
    except (TypeError, ValueError, KeyError, HmhsaInsertError) as error:
        raise ValueError("'input_size' holds no sizes such as [3, 224, 224]") from error
    sides = [side for leaf in leaves for side in leaf.size]
    if not leaves or any(not 1 <= side <= 1 << 20 for side in sides) or any(len(x.size) > 8 for x in leaves):
        raise ValueError("'input_size' holds no sizes such as [3, 224, 224]")
    return value


class _Map(Shape):
    stride: Count
    channels: _Side
    height: _Side
    width: _Side
    layout: Literal["NCHW", "NHWC"]


class _Block(Shape):
    type: Name


class _Expression(Shape):
    owner: str
    method: str
    span: Annotated[list[Count], Field(min_length=4, max_length=4)]
    text: str
    digest: str
    target: str = ""
    turn: Count | None = None


class _Site(Shape):
    edit: Name
    action: Literal["hook_output", "hook_input", "expression", "graph", "rewrite", "swap", "drop", "unstride"]
    qualname: str
    key: str = ""
    inp: _Map | None
    out_channels: Count = 0
    block: _Block | None = None
    identity: bool = False
    residual: bool = False
    path: list[int | str]
    node: str = ""
    dtype: str | None = None
    device: str | None = None
    expression: _Expression | None = None
    operation: Annotated[list[int | str], Field(min_length=2, max_length=2)] | None
    lengths: dict[str, Count] = Field(default_factory=dict)
    num_params: Count = 0
    macs: Count = 0
    removed_params: Count = 0


class _Recipe(Shape):
    name: Name


class _Plan(Shape):
    recipe: _Recipe
    model: Name
    input_size: Annotated[Any, AfterValidator(_sizes)]
    sites: list[_Site]


class _Done(Shape):
    seed: int
    backend: Literal["tree", "graph"]
    plan: _Plan


class PlansShape(Shape):
    """The plans of ``plan.json``, and of ``detector.json``, which may have none."""

    plans: list[_Done]


class OptionsShape(Shape):
    """The options of a base network that a file may set."""

    num_classes: Count | None = None
    in_chans: Count | None = None
    drop_rate: Share | None = None
    drop_path_rate: Share | None = None
    img_size: _Side | None = None
    global_pool: str | None = None
    init_weights: bool | str | None = None
    # ultralytics
    nc: Count | None = None
    ch: Count | None = None
    inplace: bool | None = None
    # segmentation_models_pytorch
    classes: Count | None = None
    in_channels: Count | None = None
    encoder_depth: Count | None = None
    # transformers: JSON of a configuration, and what the model is for
    config: str | None = None
    head: Literal["classification", "backbone"] | None = None


class BaseShape(Shape):  # type: ignore[no-redef]  # its plugin takes an alias of this name for its own argument
    """What a file says about its base network; ``kwargs`` are checked when it is built."""

    source: str | None = None
    kind: str | None = Field(default=None, validation_alias="class")
    options: dict[str, Any] = Field(default_factory=dict, validation_alias="kwargs")
    aliases: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    training: bool = False
    channels_last: bool = False
    other_mode: list[str] = Field(default_factory=list)
    frozen: list[str] = Field(default_factory=list)
    weights: Name | None = None
