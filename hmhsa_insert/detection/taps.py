"""Taps: read a feature map where it is made, without changing the network around it.

A tap is put where an edit would be: a child of the module whose output the map is, or of the one in whose forward the
expression stands that makes it. It has no parameters and passes the map on as it is.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hmhsa_insert.errors import PlanError, Problem
from hmhsa_insert.surgery.inserted import InsertedBlock, RunsChild
from hmhsa_insert.surgery.locate import CutPoint, Located
from hmhsa_insert.surgery.probe import Expressions
from hmhsa_insert.surgery.wrapping import wrap


class Tap(nn.Module):
    """Passes an N×C×H×W map on and keeps it until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        self.held = x
        return x

    def take(self) -> Tensor:
        """Return the map of the last forward, and let it go: a graph that is kept is memory that is kept."""
        held, self.held = self.held, None
        assert held is not None, "the network did not run"
        return held

    def __getstate__(self) -> dict[str, Any]:
        # A copy or a pickle goes without the map: one left by a forward that failed cannot be copied.
        return {**self.__dict__, "held": None}


def add_tap(model: nn.Module, located: Located, point: CutPoint) -> Tap:
    """Put a tap at a cut point of `model`, in place, behind whatever was inserted there.

    Args:
        model: the network.
        located: where its maps are; of this network or of one it is a copy of.
        point: the map.

    Raises:
        PlanError: the map is computed inside a forward that cannot be edited.
    """
    tap = Tap()
    child = InsertedBlock(tap)
    child.layout = point.layout
    child.train(model.training)
    name = f"tap_{point.stride}"
    if point.host is not None:
        host = model.get_submodule(point.host.qualname)
        host.add_module(name, child)
        host.register_forward_hook(RunsChild(name, point.host.path).on_output)
        return tap
    node = next(node for node in located.trace.nodes if node.name == point.node)
    for qualname, expression in Expressions(located.trace, model).of(node):
        wrap(model.get_submodule(qualname), name, child, expression, qualname or type(model).__name__)
        return tap
    message = "the map is computed by code that cannot be edited, or that runs more than once in one forward"
    raise PlanError(Problem(point.qualname, message))
