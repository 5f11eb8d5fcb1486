"""``hi.locate_stages``: the stages of a network, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.printed import Printed
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.locate.no_maps import why_no_maps
from hmhsa_insert.surgery.locate.stages import CutPoint, Part, Stage, locate
from hmhsa_insert.tables import Table, left, right


class Stages(Printed, tuple[Stage, ...]):
    """The stages of a network: a tuple that prints as a table.

    Args:
        stages: in the order of the forward.
        network: the network and its input, in words.
        why_none: why there are none; empty if there are some.
    """

    network: str
    why_none: str

    def __new__(cls, stages: Iterable[Stage] = (), network: str = "", why_none: str = "") -> Stages:
        """Make the tuple; see the class."""
        made = super().__new__(cls, stages)
        made.network, made.why_none = network, why_none
        return made

    def tables(self) -> Sequence[Table]:
        """Return one row per stage: its stride, its last map, its blocks, and the modules that end them."""
        headers = [left("stage"), right("stride"), right("map"), right("blocks"), left("ends of blocks")]
        names = [f"neck {n}" if stage.part == "neck" else stage.name for n, stage in enumerate(self, 1)]
        rows = [
            (name, stage.stride, stage.size, len(stage.cut_points), _ends(stage.cut_points))
            for name, stage in zip(names, self, strict=True)
        ]
        title = f"{len(self)} stage{'s' if len(self) != 1 else ''} of {self.network or 'a network'}"
        return [Table.of(title, headers, rows, [self.why_none] if self.why_none else [])]


def _ends(points: Sequence[CutPoint]) -> str:
    names = [point.qualname or "(the network's own forward)" for point in points]
    return ", ".join(names) if len(names) < 3 else f"{names[0]} … {names[-1]}"


@reads_arguments
def locate_stages(
    model: nn.Module,
    input_size: InputSize = (3, 224, 224),
    *,
    inputs: InputSize = None,
    part: Part = "backbone",
) -> Stages:
    """Find the stages of a convolutional model, by structure and measurement.

    Args:
        model: the model; it is neither run nor changed, and no memory is allocated for weights.
        input_size: of one image: 96 for a square, ``(H, W)`` or ``(C, H, W)``. For models with several inputs, see
            :meth:`Inputs.of`.
        inputs: example tensors, used instead of `input_size`: one, a tuple by position, or a dict by name.
        part: ``"neck"`` for the stages of a detector's neck or a decoder, which begin where the resolution has grown
            again; a recipe selects them by their number, from 1 (``at: {neck: 1}``).

    Returns:
        The stages in the order of the forward, a tuple that prints as a table; empty if no feature map lies on every
        path through the model.
        Stage k has stride 2^(k+1), so stage 1 is at 1/4 of the image and stage 4 at 1/32, as in the paper;
        channels, height and width are those of its last map, in pixels of that map.

    Raises:
        ModelError: the forward fails on this input, the model cannot be copied, is wrapped (DDP, compiled,
            scripted) or has lazy parameters, or the inputs are not described correctly.

    Source:
        arXiv 2106.03180: four stages at 1/4, 1/8, 1/16 and 1/32 of the image.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> for stage in hi.locate_stages(model, input_size=(3, 64, 64)):
        ...     print(stage.index, stage.stride, stage.channels, stage.cut_points[-1].qualname)
        0 2 32 act1
        1 4 32 layer1.0
        2 8 48 layer2.0
        3 16 192 layer3.0
        4 32 96 layer4.0
    """
    located = locate(model, inputs_of(model, input_size, inputs))
    found = located.neck if part == "neck" else located.stages
    return Stages(
        found, f"{type(model).__name__} at {located.trace.inputs}", "" if found else why_no_maps(located)
    )
