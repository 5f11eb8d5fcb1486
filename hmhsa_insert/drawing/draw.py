"""The drawing of a network, an edited network, or a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.drawing.contents import contents_of
from hmhsa_insert.drawing.data import Contents
from hmhsa_insert.drawing.layout import Layout
from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.files.whole import write_text
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.surgery.edit.undo import remove
from hmhsa_insert.surgery.plan import plan as make_plan
from hmhsa_insert.surgery.sites.site import Plan


@dataclass(frozen=True)
class Drawing:
    """A drawing of a network; a notebook shows it.

    Attributes:
        contents: what it shows, as plain data.
        svg: the text of its file.
    """

    contents: Contents = field(repr=False)
    svg: str = field(repr=False)

    def save(self, path: str | Path) -> Path:
        """Write the file, completely or not at all, and return its path.

        Raises:
            HmhsaInsertError: it cannot be written.
        """
        write_text(Path(path), self.svg, HmhsaInsertError)
        return Path(path)

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg


@reads_arguments
def draw(
    model: nn.Module,
    plan: Plan | str | Path | Mapping[str, Any] | None = None,
    input_size: InputSize = None,
    *,
    inputs: InputSize = None,
    name: str | None = None,
) -> Drawing:
    """Draw a network: its stages, their blocks, and where edits went in.

    Each stage is a column: its map (C×H×W), its blocks, its share of the MACs, and the receptive field of the map at
    its end; of an edited network both also before the edits. Nothing is computed and the model is not changed; weights
    may be on the meta device. The receptive field is that of the position at the centre, by structure: the smallest
    rectangle that holds every pixel on which it depends for weights of any value, not cut at the edge of the image.
    "Whole map" means every pixel, at any size; "not known" that an operation on the way has no rule.

    Args:
        model: any network, edited or not.
        plan: a plan from ``hi.plan``, or a recipe: the network is drawn as it would be with these edits.
        input_size: of one image: 96 for a square, ``(H, W)`` or ``(C, H, W)``; otherwise see :meth:`Inputs.of`. By
            default that of the plan or of the edits, else 3×224×224.
        inputs: in its place: example tensors, by position in a tuple, by name in a dict.
        name: the title; by default the name of the model's class.

    Returns:
        The drawing: ``svg`` is its text, ``save(path)`` writes it.

    Raises:
        ModelError: the model cannot be traced or copied.
        RecipeError, PlanError: as ``hi.plan``.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> drawing = hi.draw(timm.create_model("test_resnet"), "stage3.yaml", (3, 160, 160))
        >>> print(drawing.save("edit.svg"))
        edit.svg
        >>> for column in drawing.contents.columns[2:4]:
        ...     print(column.name, column.size, column.sees_before, "→", column.sees)
        stage 2 48×20×20 55 px → 55 px
        stage 3 192×10×10 71 px → whole map
    """
    given = None if input_size is None and inputs is None else inputs_of(model, input_size, inputs)
    if plan is not None and not isinstance(plan, Plan):
        plan = make_plan(model, plan, (3, 224, 224) if given is None else given)
    done = [plan] if plan is not None else [ledger.plan for ledger in ledgers(model)]
    if given is None:
        given = done[-1].inputs if done else Inputs.of((3, 224, 224))
    base = model if plan is not None else _before_edits(model)
    edited = model if plan is None else apply_plan(model, plan)
    contents = contents_of(edited, given, base, name or type(model).__name__)
    return Drawing(contents, Layout(contents).draw())


def _before_edits(model: nn.Module) -> nn.Module | None:
    """Return the network before its edits; None without edits, and for a GraphModule, which has lost it."""
    done = ledgers(model)
    return remove(model) if done and all(ledger.backend == "tree" for ledger in done) else None
